/** Walking a tree by a native call: what it tells is what the walk in JavaScript tells, byte for byte. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { isTsbuildError } from '../../src/base/errors.ts';
import { FdDirectory } from '../../src/layer/fd-directory.ts';
import { ListingCursor, typeName, type Listing } from '../../src/layer/listing.ts';
import { openDirectoryTree } from '../../src/layer/open-tree.ts';
import { walkTree, type WalkRoot } from '../../src/layer/walk.ts';
import { createRandom, makeRandomTree, makeSocket } from '../suites/random-tree.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'tsbuild-walk-'));
});
// Node cannot remove paths that are too long.
afterEach(() => execFileSync('rm', ['-rf', root]));

const signal = new AbortController().signal;
const whole: WalkRoot = { path: '', pruned: [] };

async function walk(
  few: number,
  roots: readonly WalkRoot[] = [whole],
  capabilities = true,
): Promise<readonly Listing[]> {
  using tree = openDirectoryTree(root);
  return await walkTree(tree, roots, { capabilities, signal, few });
}

/** Descriptions of file systems are told by both, but not in the same depth. */
function bytesOf(listings: readonly Listing[]): readonly Buffer[] {
  return listings.map(({ segments, entries }) => Buffer.concat([...segments, Buffer.of(entries)]));
}

function pathsOf(listing: Listing | undefined): string[] {
  assert.ok(listing !== undefined);
  const cursor = new ListingCursor(listing);
  const paths: string[] = [];
  while (cursor.next()) paths.push(`${cursor.pathText()} ${typeName(cursor.type)}`);
  return paths;
}

for (let seed = 1; seed <= 12; seed += 1)
  test(`random tree ${seed} is told the same by both walks`, async () => {
    makeRandomTree(root, createRandom(seed), 120);
    makeSocket(join(root, 'socket'));
    const [native, here] = [await walk(0), await walk(Infinity)];
    assert.deepEqual(bytesOf(native), bytesOf(here));
    assert.ok(pathsOf(native[0]).length > 50);
    assert.deepEqual(bytesOf(await walk(0, [whole], false)), bytesOf(await walk(Infinity, [whole], false)));
  });

test('siblings come in the order of their stored names', async () => {
  for (const path of ['a', 'a/z', 'a.b', 'a0']) mkdirSync(join(root, path));
  writeFileSync(join(root, 'a-'), '');
  const expected = ['a- file', 'a.b directory', 'a directory', 'a/z directory', 'a0 directory'];
  assert.deepEqual(pathsOf((await walk(0))[0]), expected);
  assert.deepEqual(pathsOf((await walk(Infinity))[0]), expected);
});

test('several roots are told one after the other, an empty one too', async () => {
  for (const path of ['a', 'a/b', 'c', 'empty']) mkdirSync(join(root, path));
  writeFileSync(join(root, 'c/f'), 'f');
  const roots = ['c', 'empty', 'a', 'a/b', 'c'].map((path) => ({ path, pruned: [] }));
  const listings = await walk(0, roots);
  assert.deepEqual(listings.map(pathsOf), [['f file'], [], ['b directory'], [], ['f file']]);
  assert.deepEqual(bytesOf(listings), bytesOf(await walk(Infinity, roots)));
});

test('what is pruned is not walked: a path, or a name anywhere', async () => {
  for (const path of ['x', 'a', 'a/x', 'a/x/y', 'a/xx', 'b', 'b/a', 'b/a/x']) mkdirSync(join(root, path));
  writeFileSync(join(root, 'a/y'), '');
  const cases: readonly (readonly [WalkRoot['pruned'], readonly string[]])[] = [
    [
      [{ path: 'x', anywhere: true, below: false }],
      ['a directory', 'a/xx directory', 'a/y file', 'b directory', 'b/a directory'],
    ],
    [
      [
        { path: 'a/x', anywhere: false, below: false },
        { path: 'b', anywhere: false, below: false },
      ],
      ['a directory', 'a/xx directory', 'a/y file', 'x directory'],
    ],
    [[{ path: 'a', anywhere: true, below: false }], ['b directory', 'x directory']],
    [
      [
        { path: 'x', anywhere: true, below: true },
        { path: 'b', anywhere: false, below: true },
      ],
      ['a directory', 'a/x directory', 'a/xx directory', 'a/y file', 'b directory', 'x directory'],
    ],
  ];
  for (const [pruned, expected] of cases)
    for (const few of [0, Infinity])
      assert.deepEqual(pathsOf((await walk(few, [{ path: '', pruned }]))[0]), expected);
});

test('a path longer than PATH_MAX is walked', async () => {
  let directory = new FdDirectory(openSync(root, 'r'));
  const name = 'd'.repeat(200);
  for (let depth = 0; depth < 60; depth += 1) {
    directory.makeDirectory(name, 0o755);
    const next = directory.directory(name);
    directory[Symbol.dispose]();
    directory = next;
  }
  directory.makeFile('file', 0o644);
  directory[Symbol.dispose]();
  const native = await walk(0);
  assert.deepEqual(bytesOf(native), bytesOf(await walk(Infinity)));
  assert.equal(pathsOf(native[0]).at(-1), `${`${name}/`.repeat(60)}file file`);
});

test('a directory that was exchanged for a link is not entered', async () => {
  mkdirSync(join(root, 'dir'));
  symlinkSync('dir', join(root, 'link'));
  await assert.rejects(walk(0, [{ path: 'link', pruned: [] }]), (error) =>
    isTsbuildError(error, 'CONTEXT_INVALID'),
  );
  mkdirSync(join(root, 'dir/sub'));
  // Not on the way either, though it stays inside.
  await assert.rejects(walk(0, [{ path: 'link/sub', pruned: [] }]), (error) => isTsbuildError(error));
  for (const path of ['..', 'dir/../..'])
    await assert.rejects(walk(0, [{ path, pruned: [] }]), (error) => isTsbuildError(error, 'IO_FAILED'));
});

test('what is not there any more is told by its name', async () => {
  await assert.rejects(
    walk(0, [{ path: 'gone', pruned: [] }]),
    (error) => isTsbuildError(error, 'CONTEXT_INVALID') && error.message.includes('"gone" changed'),
  );
});

test('names of one file have one inode, and a cursor passes over what was left out', async () => {
  mkdirSync(join(root, 'b'));
  for (const name of ['a', 'b/x', 'c']) writeFileSync(join(root, name), name);
  linkSync(join(root, 'a'), join(root, 'd'));
  chmodSync(join(root, 'c'), 0o400);
  const [listing] = await walk(0);
  assert.ok(listing !== undefined);
  const first = new ListingCursor(listing);
  const inodes = new Map<string, string>();
  while (first.next()) {
    inodes.set(first.pathText(), first.inode);
    if (first.pathText() === 'b') first.skipBelow();
    if (first.pathText() === 'c') first.leaveOut();
  }
  assert.deepEqual([...inodes.keys()], ['a', 'b', 'c', 'd']);
  assert.equal(inodes.get('a'), inodes.get('d'));
  assert.deepEqual(pathsOf(listing), ['a file', 'b directory', 'b/x file', 'd file']);
});

test('a walk that is aborted says so', async () => {
  using tree = openDirectoryTree('/proc/self');
  const abort = new AbortController();
  abort.abort();
  await assert.rejects(
    walkTree(tree, [whole], { capabilities: false, signal: abort.signal, few: 0 }),
    (error) => isTsbuildError(error, 'ABORTED'),
  );
});

test('a file system is told by its type, and a mount in memory by an id of its own', async () => {
  writeFileSync(join(root, 'f'), '');
  using tree = openDirectoryTree('/dev/shm');
  const inMemory = mkdtempSync('/dev/shm/tsbuild-walk-');
  try {
    const path = inMemory.slice('/dev/shm/'.length);
    writeFileSync(join(inMemory, 'f'), '');
    const told = await Promise.all(
      [0, Infinity].map((few) =>
        walkTree(tree, [{ path, pruned: [] }], { capabilities: false, signal, few }),
      ),
    );
    const [native, here] = told.map(([listing]) => listing?.fileSystems[0]);
    assert.deepEqual(native, here);
    assert.equal(native?.type, 0x01021994);
    assert.match(native.id, /[1-9a-f]/);
  } finally {
    rmSync(inMemory, { recursive: true });
  }
});
