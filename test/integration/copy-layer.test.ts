/** COPY, ADD and WORKDIR on real trees: what their layers hold, entry by entry. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { digestOf } from '../../src/base/digest.ts';
import { isTsbuildError, type ErrorCode } from '../../src/base/errors.ts';
import type { CopyOp } from '../../src/graph/ops.ts';
import { createIgnoreMatcher, type IgnoreMatcher } from '../../src/layer/ignore-patterns.ts';
import { emptyTree, openDirectoryTree } from '../../src/layer/open-tree.ts';
import { readTar } from '../../src/layer/tar-reader.ts';
import type { Tree } from '../../src/layer/tree.ts';
import { readArchive } from '../../src/solver/exec/copy/archive.ts';
import { readContents } from '../../src/solver/exec/copy/contents.ts';
import { digestSelection } from '../../src/solver/exec/copy/digest.ts';
import type { Gathered } from '../../src/solver/exec/copy/gathered.ts';
import { createLayerPlan } from '../../src/solver/exec/copy/layer-plan.ts';
import { placeArchive } from '../../src/solver/exec/copy/place-archive.ts';
import { openBelow } from '../../src/solver/exec/copy/plan-sources.ts';
import { createPlacing } from '../../src/solver/exec/copy/place.ts';
import { gatherFrom, type OpenedSource } from '../../src/solver/exec/copy/sources.ts';
import { entriesOf as entriesIn, type Listing } from '../../src/solver/listing.ts';
import { OP, packBothWays, type CopyCase } from '../suites/copy-fixture.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'tsbuild-copy-'));
  for (const name of ['ctx', 'img']) mkdirSync(join(root, name));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const TIME = 1_500_000_000;

function put(path: string, content = path, mode = 0o644): void {
  const at = join(root, path);
  mkdirSync(dirname(at), { recursive: true });
  writeFileSync(at, content);
  chmodSync(at, mode);
  utimesSync(at, TIME, TIME);
}

/** `path type mode uid:gid [→ link | = content]` per entry of the layer, in order. */
async function copy(wanted: CopyCase): Promise<string[]> {
  using source = openDirectoryTree(join(root, 'ctx'));
  using parent = wanted.link === true ? emptyTree() : openDirectoryTree(join(root, 'img'));
  const op: CopyOp = { ...OP, ...wanted };
  const ignore = wanted.ignore === undefined ? undefined : createIgnoreMatcher(wanted.ignore);
  const gathered = await gatherPaths(source, wanted.from, op, wanted.isContext ?? true, ignore);
  const plan = createLayerPlan(parent);
  const owner =
    op.owner === undefined
      ? undefined
      : { uid: Number(op.owner.user), gid: Number(op.owner.group ?? op.owner.user) };
  const placing = createPlacing({ op, plan, parent, owner, defaultMtime: TIME });
  for (const each of gathered)
    placing.placeGathered({ tree: source, isContext: wanted.isContext ?? true }, each);
  return await entriesOf(plan);
}

const { signal } = new AbortController();

function gatherPaths(
  tree: Tree,
  patterns: readonly string[],
  { parents, excludes }: Pick<CopyOp, 'parents' | 'excludes'>,
  isContext = true,
  ignore?: IgnoreMatcher,
): Promise<readonly Gathered[]> {
  const source: OpenedSource = {
    tree,
    isContext,
    where: 'the build context',
    ...(ignore === undefined ? {} : { ignore }),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  return gatherFrom(source, patterns, { parents, excludes }, signal);
}

async function entriesOf(plan: ReturnType<typeof createLayerPlan>): Promise<string[]> {
  const tar = await packBothWays(plan, root);
  const shown: string[] = [];
  async function* bytes(): AsyncGenerator<Uint8Array> {
    yield await Promise.resolve(tar);
  }
  for await (const { entry, body } of readTar(bytes())) {
    let text = '';
    for await (const chunk of body()) text += Buffer.from(chunk).toString();
    const rest =
      entry.linkname !== undefined ? ` → ${entry.linkname}` : entry.type === 'file' ? ` = ${text}` : '';
    shown.push(`${entry.path} ${entry.type} ${entry.mode.toString(8)} ${entry.uid}:${entry.gid}${rest}`);
  }
  return shown;
}

async function refused(wanted: CopyCase, code: ErrorCode, message: RegExp): Promise<void> {
  await assert.rejects(
    copy(wanted),
    (error) => isTsbuildError(error, code) && message.test(`${error.message} ${error.hint ?? ''}`),
  );
}

test('a file goes to a name, into a directory, or into one that is made', async () => {
  put('ctx/f', 'F', 0o640);
  mkdirSync(join(root, 'img/d'), { mode: 0o711 });
  assert.deepEqual(await copy({ from: ['f'], destination: '/g' }), ['g file 640 0:0 = F']);
  assert.deepEqual(await copy({ from: ['f'], destination: '/d' }), [
    'd directory 711 0:0',
    'd/f file 640 0:0 = F',
  ]);
  assert.deepEqual(await copy({ from: ['f'], destination: '/new/' }), [
    'new directory 755 0:0',
    'new/f file 640 0:0 = F',
  ]);
  assert.deepEqual(await copy({ from: ['../../f'], destination: '/a/b' }), [
    'a directory 755 0:0',
    'a/b file 640 0:0 = F',
  ]);
});

test('a directory gives its content, dot files too, and nested directories take its modes', async () => {
  put('ctx/d/.dot', 'D');
  put('ctx/d/sub/x', 'X');
  chmodSync(join(root, 'ctx/d/sub'), 0o700);
  mkdirSync(join(root, 'img/t/sub'), { recursive: true, mode: 0o755 });
  chownSync(join(root, 'img/t'), 5, 6);
  assert.deepEqual(await copy({ from: ['d'], destination: '/t' }), [
    't directory 755 5:6',
    't/.dot file 644 0:0 = D',
    't/sub directory 700 0:0',
    't/sub/x file 644 0:0 = X',
  ]);
  assert.deepEqual((await copy({ from: ['d/.'], destination: '/n' }))[0], 'n directory 755 0:0');
});

test('owners: 0:0 from the context, kept from a stage, replaced by --chown', async () => {
  put('ctx/d/f', 'F');
  chownSync(join(root, 'ctx/d/f'), 7, 8);
  assert.deepEqual(await copy({ from: ['d'], destination: '/x' }), [
    'x directory 755 0:0',
    'x/f file 644 0:0 = F',
  ]);
  assert.deepEqual(
    (await copy({ from: ['d'], destination: '/x', isContext: false }))[1],
    'x/f file 644 7:8 = F',
  );
  assert.deepEqual(await copy({ from: ['d'], destination: '/p/x', owner: { user: '3', group: '4' } }), [
    'p directory 755 3:4',
    'p/x directory 755 3:4',
    'p/x/f file 644 3:4 = F',
  ]);
});

test('--chmod: octal for everything, symbolic per entry, never for symlinks', async () => {
  put('ctx/d/f', 'F', 0o644);
  symlinkSync('f', join(root, 'ctx/d/l'));
  assert.deepEqual(await copy({ from: ['d'], destination: '/x', chmod: '0700' }), [
    'x directory 700 0:0',
    'x/f file 700 0:0 = F',
    'x/l symlink 777 0:0 → f',
  ]);
  assert.deepEqual(
    (await copy({ from: ['d/f'], destination: '/f', chmod: 'u+s,go=,a+X' }))[0],
    'f file 4600 0:0 = F',
  );
});

test('wildcards match dot names, never cross a directory, and may match nothing', async () => {
  put('ctx/a.txt', 'A');
  put('ctx/.b.txt', 'B');
  put('ctx/d/c.txt', 'C');
  assert.deepEqual(await copy({ from: ['*.txt'], destination: '/w/' }), [
    'w directory 755 0:0',
    'w/.b.txt file 644 0:0 = B',
    'w/a.txt file 644 0:0 = A',
  ]);
  assert.deepEqual(await copy({ from: ['*.none'], destination: '/w/' }), []);
  assert.deepEqual((await copy({ from: ['?'], destination: '/w/' })).slice(1), ['w/c.txt file 644 0:0 = C']);
});

test('a source that is a symlink is followed inside its root, links within a directory are kept', async () => {
  put('ctx/real/f', 'F');
  symlinkSync('/real', join(root, 'ctx/abs'));
  symlinkSync('../../../../etc/passwd', join(root, 'ctx/out'));
  symlinkSync('real/f', join(root, 'ctx/file'));
  assert.deepEqual((await copy({ from: ['abs'], destination: '/x' }))[1], 'x/f file 644 0:0 = F');
  assert.deepEqual(await copy({ from: ['file'], destination: '/y/' }), [
    'y directory 755 0:0',
    'y/file file 644 0:0 = F',
  ]);
  await refused(
    { from: ['out'], destination: '/z' },
    'COPY_SOURCE_NOT_FOUND',
    /symbolic link to .*which is not there/,
  );
  assert.deepEqual(
    (await copy({ from: ['.'], destination: '/all' })).filter((line) => line.includes('out')),
    ['all/out symlink 777 0:0 → ../../../../etc/passwd'],
  );
});

test('symlinks of the destination are followed inside the image', async () => {
  put('ctx/f', 'F');
  mkdirSync(join(root, 'img/t'));
  symlinkSync('t', join(root, 'img/s'));
  symlinkSync('/../../etc', join(root, 'img/escape'));
  mkdirSync(join(root, 'img/etc'));
  assert.deepEqual(await copy({ from: ['f'], destination: '/s/' }), [
    't directory 755 0:0',
    't/f file 644 0:0 = F',
  ]);
  assert.deepEqual(await copy({ from: ['f'], destination: '/escape/' }), [
    'etc directory 755 0:0',
    'etc/f file 644 0:0 = F',
  ]);
});

test('files and directories do not replace each other', async () => {
  put('ctx/d/x', 'X');
  put('ctx/f', 'F');
  put('img/file', 'I');
  mkdirSync(join(root, 'img/dir/f'), { recursive: true });
  await refused({ from: ['d'], destination: '/file' }, 'COPY_DESTINATION_INVALID', /"\/file"/);
  await refused({ from: ['f'], destination: '/dir/' }, 'COPY_DESTINATION_INVALID', /directory "\/dir\/f"/);
  await refused(
    { from: ['f'], destination: '/file/sub/x' },
    'COPY_DESTINATION_INVALID',
    /"\/file" is not a directory/,
  );
  await refused({ from: ['f'], destination: '/file/' }, 'COPY_DESTINATION_INVALID', /not a directory/);
});

test('hard links are kept within one source, sockets become empty files', async () => {
  put('ctx/d/b', 'B');
  linkSync(join(root, 'ctx/d/b'), join(root, 'ctx/d/a'));
  const server = createServer().listen(join(root, 'ctx/d/sock'));
  await new Promise((resolve) => server.once('listening', resolve));
  assert.deepEqual(await copy({ from: ['d'], destination: '/x' }), [
    'x directory 755 0:0',
    'x/a file 644 0:0 = B',
    'x/b hardlink 644 0:0 → x/a',
    'x/sock file 755 0:0 = ',
  ]);
  server.close();
});

test('--exclude and .dockerignore leave out, "!" takes back', async () => {
  for (const name of ['keep', 'drop', 'sub/keep', 'sub/drop']) put(`ctx/d/${name}`, name);
  assert.deepEqual(
    (await copy({ from: ['d'], destination: '/x', excludes: ['**/drop'] })).map((line) => line.split(' ')[0]),
    ['x', 'x/keep', 'x/sub', 'x/sub/keep'],
  );
  assert.deepEqual(
    (await copy({ from: ['d'], destination: '/x', ignore: ['d', '!d/sub/keep'] })).map(
      (line) => line.split(' ')[0],
    ),
    ['x', 'x/sub', 'x/sub/keep'],
  );
  await refused(
    { from: ['d/drop'], destination: '/x', ignore: ['**/drop'] },
    'COPY_SOURCE_NOT_FOUND',
    /dockerignore/,
  );
});

test('a missing source suggests what is near', async () => {
  put('ctx/dir/config.json', '{}');
  await refused(
    { from: ['dir/confg.json'], destination: '/x' },
    'COPY_SOURCE_NOT_FOUND',
    /did you mean "dir\/config.json"/,
  );
});

test('--parents keeps the path, from the pivot on', async () => {
  put('ctx/a/b/f', 'F');
  assert.deepEqual(
    (await copy({ from: ['a/b/f'], destination: '/p/', parents: true })).map((line) => line.split(' ')[0]),
    ['p', 'p/a', 'p/a/b', 'p/a/b/f'],
  );
  assert.deepEqual(
    (await copy({ from: ['a/./b/f'], destination: '/p/', parents: true })).map((line) => line.split(' ')[0]),
    ['p', 'p/b', 'p/b/f'],
  );
  assert.deepEqual(
    (await copy({ from: ['**/f'], destination: '/p/', parents: true })).at(-1),
    'p/a/b/f file 644 0:0 = F',
  );
});

test('a file that changes after its key was made is refused, not stored under it', async () => {
  put('ctx/f', 'old');
  using source = openDirectoryTree(join(root, 'ctx'));
  const [gathered] = await gatherPaths(source, ['f'], OP);
  assert.ok(gathered !== undefined);
  const op = { ...OP, destination: '/f' };
  const plan = createLayerPlan(emptyTree());
  createPlacing({ op, plan, parent: emptyTree(), owner: undefined, defaultMtime: 0 }).placeGathered(
    { tree: source, isContext: true },
    gathered,
  );
  writeFileSync(join(root, 'ctx/f'), 'new');
  await assert.rejects(
    entriesOf(plan),
    (error) => isTsbuildError(error, 'CONTEXT_INVALID') && error.message.includes('"f" changed'),
  );
});

test('the key holds content, modes and names, not times', async () => {
  put('ctx/d/f', 'F');
  const digest = async (op: Partial<CopyOp> = {}): Promise<string> => (await listingOf(['d'], op)).digest;
  const first = await digest();
  utimesSync(join(root, 'ctx/d/f'), 1, 1);
  chownSync(join(root, 'ctx/d/f'), 9, 9);
  assert.equal(await digest(), first);
  chmodSync(join(root, 'ctx/d/f'), 0o600);
  assert.notEqual(await digest(), first);
  const fixed = await digest({ chmod: '644' });
  chmodSync(join(root, 'ctx/d/f'), 0o666);
  assert.equal(await digest({ chmod: '644' }), fixed);
  mkdirSync(join(root, 'ctx/d/sub'));
  const withSub = await digest();
  chmodSync(join(root, 'ctx/d/sub'), 0o700);
  assert.notEqual(await digest(), withSub);
});

async function listingOf(patterns: readonly string[], op: Partial<CopyOp> = {}): Promise<Listing> {
  using tree = openDirectoryTree(join(root, 'ctx'));
  const gathered = await gatherPaths(tree, patterns, { ...OP, ...op });
  await readContents({ tree }, gathered, signal);
  return digestSelection(tree, gathered, op, { isContext: true });
}

test('a listing is kept as its text is, with the digests cut', async () => {
  put('ctx/d/f', 'F');
  put('ctx/d/s/empty', '');
  symlinkSync('f', join(root, 'ctx/d/l'));
  const { text, short } = await listingOf(['d', '.'], { parents: true });
  assert.ok(short !== undefined);
  const kept = Array.from(short(), (part) => part.toString('latin1')).join('');
  assert.equal(kept, text.replace(/sha256:([0-9a-f]{16})[0-9a-f]{48}/g, '$1'));
  assert.ok(kept.includes(digestOf('F').slice(7, 23)));
});

test('a newline in a name or a link does not make two trees look the same', async () => {
  mkdirSync(join(root, 'ctx/d'), { recursive: true });
  symlinkSync('t\nb', join(root, 'ctx/d/a'));
  writeFileSync(join(root, 'ctx/d/c'), '');
  const first = (await listingOf(['d'])).digest;
  rmSync(join(root, 'ctx/d'), { recursive: true });
  mkdirSync(join(root, 'ctx/d'));
  symlinkSync('t', join(root, 'ctx/d/a'));
  writeFileSync(join(root, 'ctx/d/b\nc'), '');
  assert.notEqual((await listingOf(['d'])).digest, first);
});

test('with --parents the modes of directories that come along are part of the key', async () => {
  put('ctx/a/b/f', 'F');
  const parents = { parents: true };
  const [file, directory] = [
    (await listingOf(['a/b/f'], parents)).digest,
    (await listingOf(['a/b'], parents)).digest,
  ];
  const plain = (await listingOf(['a/b/f'])).digest;
  chmodSync(join(root, 'ctx/a'), 0o700);
  assert.notEqual((await listingOf(['a/b/f'], parents)).digest, file);
  assert.notEqual((await listingOf(['a/b'], parents)).digest, directory);
  assert.equal((await listingOf(['a/b/f'])).digest, plain);
  const before = (await listingOf(['a/b'], parents)).digest;
  chmodSync(join(root, 'ctx/a/b'), 0o700);
  assert.notEqual((await listingOf(['a/b'], parents)).digest, before);
});

test('what --exclude leaves out is no part of the key', async () => {
  put('ctx/d/f', 'F');
  put('ctx/d/log/x', 'X');
  const excludes = ['log', 'log/**'];
  const before = (await listingOf(['d'], { excludes })).digest;
  put('ctx/d/log/x', 'Y');
  assert.equal((await listingOf(['d'], { excludes })).digest, before);
  put('ctx/d/f', 'G');
  assert.notEqual((await listingOf(['d'], { excludes })).digest, before);
});

test('a listing names every entry from the root of the context', async () => {
  put('ctx/d/sub/f', 'F');
  put('ctx/x', 'X');
  chmodSync(join(root, 'ctx/x'), 0o640);
  const entries = entriesIn((await listingOf(['d', 'x'])).text);
  assert.deepEqual([...entries.keys()], ['d/sub', 'd/sub/f', 'x']);
  const content = digestOf('X');
  assert.deepEqual(entries.get('x'), { type: 'file', mode: '640', owner: '', content });
});

async function addTar(
  make: (directory: string) => readonly string[],
  owner?: { uid: number; gid: number },
  left: readonly string[] = [],
): Promise<string[]> {
  const directory = join(root, 'tar');
  mkdirSync(directory);
  execFileSync('tar', [
    '-C',
    directory,
    '-cf',
    join(root, 'a.tar'),
    '--owner=3',
    '--group=4',
    '--numeric-owner',
    ...make(directory),
  ]);
  if (left.length > 0) execFileSync('tar', ['--delete', '-f', join(root, 'a.tar'), ...left]);
  const { openSync, closeSync } = await import('node:fs');
  const below: number[] = [];
  const fd = openSync(join(root, 'a.tar'), 'r');
  using parent = openDirectoryTree(join(root, 'img'));
  const plan = createLayerPlan(parent);
  try {
    using archive = await readArchive(fd, join(root, 'spool'), new AbortController().signal);
    placeArchive(archive, {
      plan,
      destination: 'to',
      created: { owner: owner ?? { uid: 0, gid: 0 }, mode: 0o755, mtime: 0 },
      owner,
      identity: 'a',
      fileBelow: (path) => openBelow(parent, path, below),
    });
    return await entriesOf(plan);
  } finally {
    for (const each of [fd, ...below]) closeSync(each);
  }
}

test('an archive keeps its owners, --chown forces them, implied directories are plain', async () => {
  const make = (directory: string): readonly string[] => {
    mkdirSync(join(directory, 'd'));
    writeFileSync(join(directory, 'd/f'), 'F', { mode: 0o640 });
    return ['d/f'];
  };
  assert.deepEqual(await addTar(make), [
    'to directory 755 0:0',
    'to/d directory 755 0:0',
    'to/d/f file 640 3:4 = F',
  ]);
  rmSync(join(root, 'tar'), { recursive: true });
  assert.deepEqual(await addTar(make, { uid: 1, gid: 2 }), [
    'to directory 755 1:2',
    'to/d directory 755 0:0',
    'to/d/f file 640 1:2 = F',
  ]);
});

test('nothing of an archive leaves the destination: names with .. and symlinks on the way', async () => {
  const entries = await addTar((directory) => {
    symlinkSync('../../..', join(directory, 'l'));
    writeFileSync(join(directory, 'evil'), 'E');
    return ['--transform', 's,^evil,l/evil,', '--transform', 's,^x,../../x,', '-P', 'l', 'evil'];
  });
  assert.deepEqual(
    entries.filter((line) => line.includes('evil')),
    ['to/evil file 644 3:4 = E'],
  );
});

test('an archive with whiteout names is refused', async () => {
  await assert.rejects(
    addTar((directory) => {
      writeFileSync(join(directory, '.wh.x'), '');
      return ['.wh.x'];
    }),
    (error) => isTsbuildError(error, 'ARCHIVE_INVALID') && /deletion/.test(error.message),
  );
});

test('hard links of an archive stay links, whichever name comes first in the layer', async () => {
  assert.deepEqual(
    (
      await addTar((directory) => {
        writeFileSync(join(directory, 'z'), 'Z');
        linkSync(join(directory, 'z'), join(directory, 'a'));
        return ['z', 'a'];
      })
    ).slice(1),
    ['to/a file 644 3:4 = Z', 'to/z hardlink 644 3:4 → to/a'],
  );
});

test('a hard link of an archive to a file of the image takes that along', async () => {
  put('img/to/d/z', 'below', 0o640);
  chownSync(join(root, 'img/to/d/z'), 7, 8);
  const make = (directory: string): readonly string[] => {
    mkdirSync(join(directory, 'd'));
    writeFileSync(join(directory, 'd/z'), 'Z');
    linkSync(join(directory, 'd/z'), join(directory, 'a'));
    linkSync(join(directory, 'd/z'), join(directory, 'zz'));
    return ['d/z', 'a', 'zz'];
  };
  assert.deepEqual(await addTar(make, undefined, ['d/z']), [
    'to directory 755 0:0',
    'to/a file 640 7:8 = below',
    'to/d directory 755 0:0',
    'to/d/z hardlink 640 7:8 → to/a',
    'to/zz hardlink 640 7:8 → to/a',
  ]);
  rmSync(join(root, 'tar'), { recursive: true });
  rmSync(join(root, 'img/to/d/z'));
  await assert.rejects(
    addTar(make, undefined, ['d/z']),
    (error) =>
      isTsbuildError(error, 'ARCHIVE_INVALID') && /neither in the archive nor in/.test(error.message),
  );
});
