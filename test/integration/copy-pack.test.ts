/** Packing a COPY natively: the bytes of the writer in JavaScript, whatever lies in the trees; files that change. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  closeSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { isTsbuildError } from '../../src/base/errors.ts';
import { LISTED_FILE, ListingCursor } from '../../src/layer/listing.ts';
import { openLayerStore } from '../../src/layer/layer-store.ts';
import { readTar } from '../../src/layer/tar-reader.ts';
import { emptyTree, openDirectoryTree } from '../../src/layer/open-tree.ts';
import { carryOut } from '../../src/solver/exec/copy/carry-out.ts';
import { readContents } from '../../src/solver/exec/copy/contents.ts';
import { openEarlierLayers } from '../../src/solver/exec/copy/earlier-layers.ts';
import type { EarlierLayer } from '../../src/solver/exec/copy/encode-plan.ts';
import { packBothWays, packedTrees, planOf, type CopyCase } from '../suites/copy-fixture.ts';
import { testHost } from '../suites/layer-fixture.ts';
import { createRandom, makeRandomTree, makeSocket } from '../suites/random-tree.ts';

let root: string;
const signal = new AbortController().signal;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'tsbuild-pack-'));
  for (const name of ['ctx', 'img']) mkdirSync(join(root, name));
});
afterEach(() => execFileSync('rm', ['-rf', root]));

/** The tar, which both ways must give. */
async function pack(wanted: CopyCase, maxMtime?: number): Promise<Buffer> {
  using source = openDirectoryTree(join(root, 'ctx'));
  using parent = openDirectoryTree(join(root, 'img'));
  const { plan } = await planOf(source, parent, wanted);
  return await packBothWays(plan, root, maxMtime === undefined ? {} : { maxMtime });
}

/** A file of its own for each name. */
const APART = 'cp -a "$0" "$0~" && mv "$0~" "$0"';

const RANDOM_CASES: readonly CopyCase[] = [
  { from: ['.'] },
  { from: ['.'], isContext: false },
  { from: ['.'], destination: '/deep/er/', uid: 70_000, chmod: 'u+x,go-w' },
  { from: ['.'], destination: '/x', chmod: '640' },
  { from: ['.'], destination: '/p/', parents: true, isContext: false },
  { from: ['.'], destination: '/x', excludes: ['**/a*', '!**/a.b'] },
  { from: ['.'], destination: '/x', ignore: ['name-1*', '**/name-2*', '.hidden', '!name-10*'] },
];

for (let seed = 1; seed <= 4; seed += 1)
  test(`random tree ${seed} gives the same bytes by both ways, however it is copied`, async () => {
    makeRandomTree(join(root, 'ctx'), createRandom(seed + 100), 150);
    makeSocket(join(root, 'ctx/socket'));
    const isWhole = seed % 2 === 0;
    // Trees with hard links are taken apart.
    if (isWhole)
      execFileSync('find', [
        join(root, 'ctx'),
        '-type',
        'f',
        '-links',
        '+1',
        '-exec',
        'sh',
        '-c',
        APART,
        '{}',
        ';',
      ]);
    const before = packedTrees.count;
    for (const wanted of RANDOM_CASES) await pack(wanted);
    await pack({ from: ['.'] }, 1_000_000_000);
    assert.equal(packedTrees.count - before >= 5, isWhole, `${packedTrees.count - before} whole trees`);
  });

for (let seed = 1; seed <= 4; seed += 1)
  test(`random tree ${seed} over another gives the same bytes, or the same refusal`, async () => {
    const [ctx, img] = [join(root, 'ctx'), join(root, 'img')];
    makeRandomTree(ctx, createRandom(seed), 60);
    makeRandomTree(img, createRandom(seed + 1), 40);
    // Without names that are a file here and a directory there.
    for (const name of readdirSync(ctx, 'latin1')) {
      const [here, there] = [ctx, img].map((at) =>
        statSync(Buffer.from(`${at}/${name}`, 'latin1'), { throwIfNoEntry: false }),
      );
      if (there !== undefined && here?.isDirectory() !== there.isDirectory())
        execFileSync('rm', ['-rf', '--', name], { cwd: img });
    }
    try {
      await pack({ from: ['.'], destination: '/' });
    } catch (error) {
      assert.ok(isTsbuildError(error, 'COPY_DESTINATION_INVALID'), String(error));
    }
    await pack({ from: ['.', 'nothing*'], destination: '/new/' });
  });

test('two directories that meet in one destination are merged, the later one winning', async () => {
  for (const path of ['a/sub', 'b/sub', 'c/sub']) mkdirSync(join(root, 'ctx', path), { recursive: true });
  for (const path of ['a/f', 'b/f', 'a/sub/x', 'b/sub/y', 'c/sub/x'])
    writeFileSync(join(root, 'ctx', path), path);
  const tar = await pack({ from: ['a', 'b', 'c'], destination: '/d/' });
  for (const [content, isThere] of [
    ['a/f', false],
    ['b/f', true],
    ['a/sub/x', false],
    ['c/sub/x', true],
    ['b/sub/y', true],
  ] as const)
    assert.equal(tar.includes(Buffer.from(`${content}\0`)), isThere, content);
});

test('files around the size of a buffer, and larger than all of them, are whole', async () => {
  const slot = 512 << 10;
  for (const [index, size] of [
    slot - 513,
    slot - 512,
    slot - 511,
    slot,
    slot + 1,
    9 * slot,
    23 << 20,
  ].entries())
    writeFileSync(join(root, 'ctx', `f${index}`), Buffer.alloc(size, `content ${index} `));
  const fd = openSync(join(root, 'ctx/sparse'), 'w');
  ftruncateSync(fd, 30 << 20);
  writeSync(fd, 'something', 20_000_000);
  closeSync(fd);
  await pack({ from: ['.'] });
});

test('three thousand files of one directory, and a path of nearly 4,000 bytes, are packed', async () => {
  mkdirSync(join(root, 'ctx/many'));
  for (let index = 0; index < 3000; index += 1)
    writeFileSync(join(root, 'ctx/many', `f${index}`), Buffer.alloc(index % 700, `${index}`));
  const name = 'n'.repeat(180);
  execFileSync('sh', [
    '-c',
    `cd "$0" && for i in $(seq 22); do mkdir ${name} && cd ${name}; done; echo x > f`,
    root + '/ctx',
  ]);
  await pack({ from: ['.'] });
});

test('files that have to come from the disk, for which more and more readers wait, give the same tar', async () => {
  const random = createRandom(77);
  for (let directory = 0; directory < 40; directory += 1) {
    mkdirSync(join(root, `ctx/d${directory}`));
    for (let file = 0; file < 100; file += 1)
      writeFileSync(
        join(root, `ctx/d${directory}/f${file}`),
        Buffer.alloc(random.below(16_000), `${directory} ${file}`),
      );
  }
  execFileSync('sync', [root, '-f']);
  writeFileSync('/proc/sys/vm/drop_caches', '1');
  assert.ok((await pack({ from: ['.'], destination: '/x' })).byteLength > 30 << 20);
});

test('names of one file are hard links within an argument, and copies between two', async () => {
  for (const path of ['a', 'b']) mkdirSync(join(root, 'ctx', path));
  writeFileSync(join(root, 'ctx/a/one'), 'content');
  for (const path of ['a/two', 'b/three', 'zero']) linkSync(join(root, 'ctx/a/one'), join(root, 'ctx', path));
  const linksIn = (tar: Buffer): number => {
    let links = 0;
    for (let at = 0; at + 512 <= tar.byteLength; at += 512)
      if (tar.toString('latin1', at + 257, at + 262) === 'ustar' && tar[at + 156] === 0x31) links += 1;
    return links;
  };
  assert.equal(linksIn(await pack({ from: ['.'], destination: '/x/' })), 3);
  assert.equal(linksIn(await pack({ from: ['a', 'b', 'zero'], destination: '/x/' })), 1);
});

test('files that are hashed side by side have their own digests, whatever their sizes', async () => {
  const sizes = [...Array(300).keys(), 4095, 4096, 4097, 65_535, 65_536, 300_000, 700_000];
  for (const size of sizes)
    writeFileSync(join(root, 'ctx', `s${size}`), Buffer.alloc(size, `${size} bytes, `));
  using source = openDirectoryTree(join(root, 'ctx'));
  const { plan, gathered } = await planOf(source, emptyTree(), { from: ['.'] });
  using writer = openLayerStore(join(root, 'layers'), testHost).create();
  await carryOut(plan, writer, { signal, source: () => ({}) });
  let seen = 0;
  for (const { listing, contents } of gathered) {
    const cursor = new ListingCursor(listing);
    while (cursor.next()) {
      if (cursor.type !== LISTED_FILE || cursor.size === 0) continue;
      const bytes = Buffer.alloc(cursor.size, `${cursor.size} bytes, `);
      const digest = contents.digests.subarray(32 * cursor.file, 32 * cursor.file + 32);
      assert.equal(
        digest.toString('hex'),
        createHash('sha256').update(bytes).digest('hex'),
        cursor.pathText(),
      );
      seen += 1;
    }
  }
  assert.equal(seen, sizes.length - 1);
});

test('contents that an earlier layer has come from there, to the same bytes', async () => {
  using source = openDirectoryTree(join(root, 'ctx'));
  makeRandomTree(join(root, 'ctx'), createRandom(7), 150);
  for (let index = 0; index < 300; index += 1)
    writeFileSync(join(root, 'ctx', `more-${index}`), `content ${index}`);
  const layers = openLayerStore(join(root, 'layers'), testHost);
  const earlier = openEarlierLayers(join(root, 'copies'), testHost, layers);
  const identity = { which: 'this one' };
  const wanted: CopyCase = { from: ['.'], destination: '/x/' };
  const first = await planOf(source, emptyTree(), wanted);
  using writer = layers.create();
  const carriedOut = await carryOut(first.plan, writer, { signal, source: () => ({}), earlier, identity });
  carriedOut.keep(writer.commit().diffID);

  writeFileSync(join(root, 'ctx/more-7'), 'changed');
  writeFileSync(join(root, 'ctx/a new one'), 'new');
  const { plan, gathered } = await planOf(source, emptyTree(), wanted);
  await readContents({ tree: source }, gathered, signal);
  using found = earlier.find(identity);
  assert.ok(found !== undefined);
  let taken = 0;
  const counting: EarlierLayer = {
    fd: found.fd,
    contents: found.contents,
    checkpoints: found.checkpoints,
    find(digests, at, size) {
      const offset = found.find(digests, at, size);
      if (offset !== undefined) taken += 1;
      return offset;
    },
  };
  await packBothWays(plan, root, { earlier: counting });
  assert.ok(taken >= 600, `${taken} contents were taken, in two packings`);
  assert.equal(earlier.find({ which: 'another' }), undefined);
});

test('a thousand directories that are named one by one are packed again from an earlier layer', async () => {
  for (let index = 0; index < 1000; index += 1) {
    mkdirSync(join(root, `ctx/p/${index}`), { recursive: true });
    for (let file = 0; file < 5; file += 1)
      writeFileSync(join(root, `ctx/p/${index}/f${file}`), `${index} ${file}`);
  }
  using source = openDirectoryTree(join(root, 'ctx'));
  const layers = openLayerStore(join(root, 'layers'), testHost);
  const earlier = openEarlierLayers(join(root, 'copies'), testHost, layers);
  const wanted: CopyCase = { from: ['p/*'], destination: '/x/', parents: true };
  const packOnce = async (): Promise<number> => {
    const { plan, gathered } = await planOf(source, emptyTree(), wanted);
    await readContents({ tree: source }, gathered, signal);
    using writer = layers.create();
    const carriedOut = await carryOut(plan, writer, { signal, source: () => ({}), earlier, identity: 1 });
    const { diffID, size } = writer.commit();
    carriedOut.keep(diffID);
    using found = earlier.find(1);
    assert.equal(found?.contents.byteLength, 5000 * 48);
    return size;
  };
  const size = await packOnce();
  writeFileSync(join(root, 'ctx/p/7/f0'), 'other');
  assert.equal(await packOnce(), size);
  const { plan } = await planOf(source, emptyTree(), wanted);
  using found = earlier.find(1);
  assert.ok(found !== undefined);
  await packBothWays(plan, root, { earlier: found });
});

test('an earlier layer that was removed, or whose notes are torn, is none', async () => {
  using source = openDirectoryTree(join(root, 'ctx'));
  for (let index = 0; index < 300; index += 1)
    writeFileSync(join(root, 'ctx', `f${index}`), `content ${index}`);
  const layers = openLayerStore(join(root, 'layers'), testHost);
  const copies = join(root, 'copies');
  const earlier = openEarlierLayers(copies, testHost, layers);
  const { plan } = await planOf(source, emptyTree(), { from: ['.'] });
  using writer = layers.create();
  const carriedOut = await carryOut(plan, writer, { signal, source: () => ({}), earlier, identity: 1 });
  const { diffID } = writer.commit();
  carriedOut.keep(diffID);
  const [name = ''] = readdirSync(copies);
  const path = join(copies, name);
  earlier.find(1)?.[Symbol.dispose]();
  const fd = openSync(path, 'r+');
  writeSync(fd, 'x', 200);
  closeSync(fd);
  assert.equal(earlier.find(1), undefined);
  carriedOut.keep(diffID);
  assert.ok(earlier.find(1) !== undefined);
  layers.remove(diffID);
  assert.equal(earlier.find(1), undefined);
});

/** What happens between the walk and the reading. */
const RACES: Readonly<Record<string, (path: string) => void>> = {
  'was appended to': (path) => appendFileSync(path, 'more'),
  'was written anew, as long as before': (path) => writeFileSync(path, 'NEW'),
  'was replaced by another': (path) => {
    writeFileSync(`${path}.new`, 'old');
    renameSync(`${path}.new`, path);
  },
  'was removed': (path) => rmSync(path),
  'became a link to a file outside': (path) => {
    rmSync(path);
    symlinkSync('/etc/passwd', path);
  },
  'became a directory': (path) => {
    rmSync(path);
    mkdirSync(path);
  },
  'became a fifo': (path) => {
    rmSync(path);
    execFileSync('mkfifo', [path]);
  },
  'got another time': (path) => utimesSync(path, 1, 1),
};

for (const [what, race] of Object.entries(RACES))
  test(`a file that ${what} before it is packed is refused by its name, and nothing stays`, async () => {
    mkdirSync(join(root, 'ctx/d'));
    for (let index = 0; index < 300; index += 1) writeFileSync(join(root, 'ctx/d', `f${index}`), 'old');
    using source = openDirectoryTree(join(root, 'ctx'));
    const { plan, gathered } = await planOf(source, emptyTree(), { from: ['d'], destination: '/x/' });
    race(join(root, 'ctx/d/f250'));
    const refused = (error: unknown): boolean =>
      isTsbuildError(error, 'CONTEXT_INVALID') && error.message.includes('"d/f250" changed');
    const layers = openLayerStore(join(root, 'layers'), testHost);
    {
      using writer = layers.create();
      await assert.rejects(carryOut(plan, writer, { signal, source: () => ({}) }), refused);
    }
    await assert.rejects(readContents({ tree: source }, gathered, signal), refused);
    assert.deepEqual(readdirSync(join(root, 'layers/partial')), []);
  });

for (const files of [1, 300])
  test(`a name that no reader of layers takes is not written (${files} files)`, async () => {
    mkdirSync(join(root, 'ctx/d'));
    for (let index = 0; index < files; index += 1)
      writeFileSync(join(root, 'ctx/d', String(index).padStart(4, '0')), '');
    using source = openDirectoryTree(join(root, 'ctx'));
    const carry = async (above: number): Promise<void> => {
      // Of directories of one letter each, and `/`; the files' names have five bytes.
      const destination = `/${'x/'.repeat(above / 2)}`;
      const { plan } = await planOf(source, emptyTree(), { from: ['d'], destination });
      using writer = openLayerStore(join(root, 'layers'), testHost).create();
      await carryOut(plan, writer, { signal });
      let longest = 0;
      for await (const { entry } of readTar(writer.commit().tar()))
        longest = Math.max(longest, entry.path.length);
      assert.equal(longest, above + 4);
    };
    await carry(4092);
    await assert.rejects(
      carry(4094),
      (error) => isTsbuildError(error, 'ARCHIVE_INVALID') && error.message.includes('a name of 4098 bytes'),
    );
  });

test('a directory on the way that became a link is refused too', async () => {
  mkdirSync(join(root, 'ctx/d/sub'), { recursive: true });
  for (let index = 0; index < 300; index += 1) writeFileSync(join(root, 'ctx/d/sub', `f${index}`), 'old');
  using source = openDirectoryTree(join(root, 'ctx'));
  const { plan } = await planOf(source, emptyTree(), { from: ['d'], destination: '/x/' });
  renameSync(join(root, 'ctx/d/sub'), join(root, 'elsewhere'));
  symlinkSync(join(root, 'elsewhere'), join(root, 'ctx/d/sub'));
  using writer = openLayerStore(join(root, 'layers'), testHost).create();
  await assert.rejects(carryOut(plan, writer, { signal }), (error) =>
    isTsbuildError(error, 'CONTEXT_INVALID'),
  );
});

test('an abort in the middle ends the packing, and nothing stays', async () => {
  const fd = openSync(join(root, 'ctx/large'), 'w');
  ftruncateSync(fd, 4 * 2 ** 30);
  closeSync(fd);
  using source = openDirectoryTree(join(root, 'ctx'));
  const { plan } = await planOf(source, emptyTree(), { from: ['.'] });
  const abort = new AbortController();
  setTimeout(() => abort.abort(), 100);
  const layers = openLayerStore(join(root, 'layers'), testHost);
  {
    using writer = layers.create();
    await assert.rejects(carryOut(plan, writer, { signal: abort.signal }), (error) =>
      isTsbuildError(error, 'ABORTED'),
    );
  }
  assert.deepEqual(readdirSync(join(root, 'layers/partial')), []);
  assert.deepEqual([...layers.list()], []);
});

test('a disk that is full is said to be, and nothing stays', async () => {
  writeFileSync(join(root, 'ctx/f'), Buffer.alloc(6 << 20));
  const disk = join(root, 'disk');
  mkdirSync(disk);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'none', disk]);
  try {
    using source = openDirectoryTree(join(root, 'ctx'));
    const { plan } = await planOf(source, emptyTree(), { from: ['.'] });
    const layers = openLayerStore(join(disk, 'layers'), testHost);
    {
      using writer = layers.create();
      await assert.rejects(carryOut(plan, writer, { signal }), (error) => isTsbuildError(error, 'DISK_FULL'));
    }
    assert.deepEqual(readdirSync(join(disk, 'layers/partial')), []);
  } finally {
    execFileSync('umount', [disk]);
  }
});
