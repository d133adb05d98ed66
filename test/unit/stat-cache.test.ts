/** Digests of files by what stat(2) says: what is known again, and what must not be. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { Host } from '../../src/base/host.ts';
import { trustOf, type FileSystem } from '../../src/layer/file-system.ts';
import { encodeListed, ListingCursor } from '../../src/layer/listing.ts';
import type { EntryStat } from '../../src/layer/tree.ts';
import { openStatCache, type StatCache } from '../../src/solver/exec/context/stat-cache.ts';

let root: string;
let names = 0;
const NOW = Date.parse('2026-01-01T00:00:00Z');
const host: Host = { now: () => NOW, unique: () => `t${(names += 1)}` };
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'tsbuild-stat-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const EXT: FileSystem = { major: 8, minor: 1, type: 0xef53, id: '', mount: '', mountIsUnique: false };
const TMPFS: FileSystem = {
  major: 0,
  minor: 30,
  type: 0x01021994,
  id: '0011223344556677',
  mount: '77',
  mountIsUnique: true,
};
const NFS: FileSystem = { ...TMPFS, type: 0x6969, id: '0000000000000000' };
const FUSE: FileSystem = { ...TMPFS, type: 0x65735546 };
const OVERLAY: FileSystem = { ...TMPFS, type: 0x794c7630 };

const LONG_AGO = BigInt(NOW - 3_600_000) * 1_000_000n + 123n;

function file(more: Partial<EntryStat> = {}, fileSystem = EXT): ListingCursor {
  const stat: EntryStat = {
    type: 'file',
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: 5,
    mtimeNs: LONG_AGO,
    ctimeNs: LONG_AGO,
    bornNs: 0n,
    dev: 1,
    ino: 2,
    nlink: 1,
    major: 0,
    minor: 0,
    ...more,
  };
  const bytes = encodeListed({ depth: 0, name: 'f', stat, link: '', capability: undefined, fileSystem: 0 });
  const cursor = new ListingCursor({ segments: [bytes], entries: 1, fileSystems: [fileSystem] });
  assert.ok(cursor.next());
  return cursor;
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function put(cache: StatCache, text: string, at: ListingCursor): void {
  cache.put(at, digest(text), 0);
}

function found(cache: StatCache, at: ListingCursor): string | undefined {
  const into = Buffer.alloc(40);
  return cache.find(at, into, 4) ? into.toString('hex', 4, 36) : undefined;
}

const hex = (text: string): string => digest(text).toString('hex');
const open = (directory = '/ctx', now = NOW): StatCache =>
  openStatCache(join(root, 'stat'), directory, { ...host, now: () => now });
/** What a later build finds. */
function later(at: ListingCursor, text: string, now = NOW): string | undefined {
  const cache = open('/ctx', now);
  put(cache, text, at);
  cache.save();
  return found(open('/ctx', now), at);
}

test('a file that did not change is known again, and none of which anything differs', () => {
  assert.equal(later(file(), 'a'), hex('a'));
  const second = open();
  const big = 2 ** 40;
  const changes: Partial<EntryStat>[] = [
    { size: 6 },
    { size: 5 + 2 ** 32 },
    { mtimeNs: LONG_AGO + 1n },
    { ctimeNs: LONG_AGO - 1n },
    { mtimeNs: -1n },
    { ino: 9 },
    { ino: 2 + big },
  ];
  for (const change of changes) assert.equal(found(second, file(change)), undefined);
  assert.equal(found(second, file({}, { ...EXT, minor: 2 })), undefined);
  assert.equal(found(open('/other'), file()), undefined);
});

test('a file that changed so recently that a change could leave no trace is not remembered', () => {
  const ago = (ms: number): bigint => BigInt(NOW - ms) * 1_000_000n + 5n;
  assert.equal(later(file({ ctimeNs: ago(99) }), 'a'), undefined);
  assert.equal(later(file({ ctimeNs: ago(-5_000) }), 'a'), undefined);
  assert.equal(later(file({ ctimeNs: ago(101) }), 'a'), hex('a'));
});

test('where times are whole seconds, a file must be older', () => {
  const ago = (ms: number): bigint => BigInt(NOW - ms) * 1_000_000n;
  assert.equal(later(file({ ctimeNs: ago(2_000) }), 'a'), undefined);
  assert.equal(later(file({ ctimeNs: ago(3_000) }), 'a'), hex('a'));
});

test('a time in the future that somebody has set is no reason to read a file again and again', () => {
  assert.equal(later(file({ mtimeNs: LONG_AGO * 2n }), 'a'), hex('a'));
});

test('on NFS the clock of the server may be behind, and ctime no more than mtime', () => {
  const ago = (ms: number): bigint => BigInt(NOW - ms) * 1_000_000n + 5n;
  assert.equal(trustOf(NFS), 'remote');
  assert.equal(later(file({ ctimeNs: ago(30_000) }, NFS), 'a'), undefined);
  assert.equal(later(file({ mtimeNs: ago(30_000) }, NFS), 'a'), undefined);
  assert.equal(later(file({}, NFS), 'a'), hex('a'));
});

test('an inode number that a server gives to another file is told by the times', () => {
  assert.equal(later(file({}, NFS), 'a'), hex('a'));
  assert.equal(found(open(), file({ ctimeNs: LONG_AGO + 1_000_000_000n }, NFS)), undefined);
});

for (const [what, fileSystem] of [
  ['tmpfs', TMPFS],
  ['an overlay', OVERLAY],
  ['NFS', NFS],
] as const)
  test(`after ${what} was mounted anew, nothing of the old one is believed, though it has its device number`, () => {
    assert.equal(later(file({}, fileSystem), 'a'), hex('a'));
    for (const change of [{ id: 'ff' }, { mount: '78' }, { mountIsUnique: false }])
      assert.equal(found(open(), file({}, { ...fileSystem, ...change })), undefined);
  });

test('where a file system makes times up, nothing is remembered', () => {
  assert.equal(later(file({}, FUSE), 'a'), undefined);
});

test('a cache that is torn, or of another kind, is empty', () => {
  assert.equal(later(file(), 'a'), hex('a'));
  const [name = ''] = readdirSync(join(root, 'stat'));
  const path = join(root, 'stat', name);
  const whole = readFileSync(path);
  for (const [index, torn] of [
    whole.subarray(0, -1),
    whole.subarray(0, 70),
    Buffer.alloc(whole.byteLength),
    Buffer.from('tsbuild stat cache 1\n'),
    Buffer.from(whole).fill(7, 100, 104),
    Buffer.alloc(0),
  ].entries()) {
    writeFileSync(path, torn);
    assert.equal(found(open(), file()), undefined, `case ${index}`);
  }
  assert.equal(later(file(), 'b'), hex('b'));
});

test('what another process has learnt meanwhile is kept', () => {
  const [one, other] = [open(), open()];
  put(one, 'one', file({ ino: 1 }));
  put(other, 'other', file({ ino: 2 }));
  put(one, 'mine', file({ ino: 3, size: 1 }));
  put(other, 'theirs', file({ ino: 3, size: 2 }));
  // Both have read what was there before either wrote.
  found(one, file());
  found(other, file());
  one.save();
  other.save();
  const third = open();
  assert.equal(found(third, file({ ino: 1 })), hex('one'));
  assert.equal(found(third, file({ ino: 2 })), hex('other'));
  assert.equal(found(third, file({ ino: 3, size: 2 })), hex('theirs'));
});

test('ten thousand files are found again, each with its own digest', () => {
  const cache = open();
  for (let ino = 1; ino <= 10_000; ino += 1) put(cache, `${ino}`, file({ ino: ino * 4096 }));
  cache.save();
  const second = open();
  for (let ino = 1; ino <= 10_000; ino += 1)
    assert.equal(found(second, file({ ino: ino * 4096 })), hex(`${ino}`));
});

test('what is used is touched once a day, and nothing is written where nothing was learnt', () => {
  assert.equal(later(file(), 'a'), hex('a'));
  const [name = ''] = readdirSync(join(root, 'stat'));
  const path = join(root, 'stat', name);
  utimesSync(path, 1, 1);
  const cache = open();
  found(cache, file());
  assert.equal(statSync(path).mtimeMs, NOW);
  const before = statSync(path).ino;
  cache.save();
  assert.equal(statSync(path).ino, before);
});
