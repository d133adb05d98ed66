/** Chunks, segments and packs of cache mounts: what is cut where, and what is hostile. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  existsSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, test } from 'node:test';
import fc from '../suites/properties.ts';
import { digestOf, type Digest } from '../../src/base/digest.ts';
import { isTsbuildError } from '../../src/base/errors.ts';
import { cutOf, MAX_CHUNK, MIN_CHUNK } from '../../src/engine/cache/mounts/chunker.ts';
import { fetchChunks } from '../../src/engine/cache/mounts/fetch-chunks.ts';
import {
  checkTree,
  parseSegment,
  serializeSegment,
  splitEntries,
  type MountEntry,
  type PlacedChunk,
} from '../../src/engine/cache/mounts/mount-index.ts';
import { createPackWriter } from '../../src/engine/cache/mounts/pack-writer.ts';
import { restoreTree } from '../../src/engine/cache/mounts/restore-tree.ts';
import { createDirectoryPlace } from '../../src/engine/cache/directory-place.ts';
import type { Descriptor } from '../../src/oci/documents.ts';
import { bytesOf, host, signal } from '../registry/fixture.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tsbuild-mount-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function cuts(bytes: Buffer): readonly Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0; at < bytes.byteLength; ) {
    const size = cutOf(bytes.subarray(at, at + MAX_CHUNK));
    chunks.push(bytes.subarray(at, at + size));
    at += size;
  }
  return chunks;
}

const shaOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('base64');

function noise(size: number, seed: string): Buffer {
  const parts: Buffer[] = [];
  for (let n = 0; n * 32 < size; n += 1) parts.push(createHash('sha256').update(`${seed} ${n}`).digest());
  return Buffer.concat(parts).subarray(0, size);
}

test('chunks are of the sizes that were promised, whatever the bytes', () => {
  for (const bytes of [noise(6_000_000, 'a'), Buffer.alloc(3_000_000), bytesOf(3_000_000, 3)]) {
    const chunks = cuts(bytes);
    assert.ok(
      chunks.slice(0, -1).every((each) => each.byteLength > MIN_CHUNK && each.byteLength <= MAX_CHUNK),
    );
    assert.deepEqual(Buffer.concat(chunks), bytes);
  }
  const average = 6_000_000 / cuts(noise(6_000_000, 'a')).length;
  assert.ok(average > 64 << 10 && average < 256 << 10, `${average}`);
  assert.equal(cutOf(Buffer.alloc(0)), 0);
});

test('what is inserted or removed moves the cuts around it alone', () => {
  const bytes = noise(4_000_000, 'b');
  const known = new Set(cuts(bytes).map(shaOf));
  const counts: number[] = [];
  fc.assert(
    fc.property(fc.nat(bytes.byteLength), fc.nat(5000), fc.nat(5000), (at, removed, inserted) => {
      const changed = Buffer.concat([
        bytes.subarray(0, at),
        noise(inserted, 'x'),
        bytes.subarray(at + removed),
      ]);
      const fresh = cuts(changed).filter((chunk) => !known.has(shaOf(chunk)));
      counts.push(fresh.length);
      // Of some thirty-five: nearly always one, and each further one is a tenth as likely.
      assert.ok(fresh.length <= 12, `${fresh.length} chunks are new`);
    }),
    { numRuns: 60 },
  );
  const sum = counts.reduce((all, each) => all + each, 0);
  assert.ok(sum <= 3 * counts.length, `${sum} new chunks of ${counts.length} changes`);
});

const pack = digestOf('pack');
const chunk = (digest: string, size: number, offset = 0, stored = size): PlacedChunk => ({
  digest: shaOf(Buffer.from(digest)),
  size,
  pack,
  offset,
  stored,
});
const owned = { uid: 1, gid: 2, mtimeNs: -5_000_000_001n };

const entries: readonly MountEntry[] = [
  { kind: 'directory', path: 'd', mode: 0o1777, ...owned },
  {
    kind: 'file',
    path: 'd/f\u00ff',
    mode: 0o640,
    ...owned,
    size: 9,
    chunks: [chunk('a', 4), chunk('b', 5, 4, 3)],
  },
  { kind: 'file', path: 'd/empty', mode: 0o600, ...owned, size: 0, chunks: [] },
  { kind: 'symlink', path: 'd/l', ...owned, target: '../../etc/passwd' },
  { kind: 'link', path: 'h', target: 'd/f\u00ff' },
];

test('a segment is read as it was written, and the same entries are the same bytes', () => {
  assert.deepEqual(parseSegment(serializeSegment(entries)), entries);
  assert.deepEqual(serializeSegment(entries), serializeSegment(entries));
});

test('entries are cut by their names: what is added changes one segment', () => {
  const many = Array.from(
    { length: 5000 },
    (_, n): MountEntry => ({
      kind: 'directory',
      path: `d${String(n).padStart(5, '0')}`,
      mode: 0o755,
      ...owned,
    }),
  );
  const before = splitEntries(many);
  assert.ok(before.length > 4 && before.length < 30, `${before.length}`);
  const more = [...many.slice(0, 2500), { ...many[0], path: 'd02499x' } as MountEntry, ...many.slice(2500)];
  const known = new Set(before.map((each) => digestOf(serializeSegment(each))));
  const fresh = splitEntries(more).filter((each) => !known.has(digestOf(serializeSegment(each))));
  assert.ok(fresh.length <= 2);
  assert.deepEqual(splitEntries(many).flat(), many);
});

function refuses(work: () => unknown, message = /./): void {
  assert.throws(work, (error) => isTsbuildError(error, 'CACHE_INVALID') && message.test(error.message));
}

const segment = (...rows: readonly unknown[]): Buffer =>
  gzipSync(JSON.stringify({ version: 1, packs: [pack], entries: rows }));

test('paths that lead elsewhere are refused', () => {
  for (const path of [
    '',
    '/',
    '/etc',
    '..',
    'a/../b',
    './a',
    'a//b',
    'a/',
    'a/.',
    'a\0b',
    'a\u0100',
    'x'.repeat(256),
    7,
  ])
    refuses(() => parseSegment(segment(['d', path, 0o755, 0, 0, '1'])));
  refuses(() => parseSegment(segment(['h', 'a', '../b'])));
});

test('numbers, chunks and kinds that make no sense are refused', () => {
  const file = (...rest: readonly unknown[]): Buffer => segment(['f', 'a', 0o644, 0, 0, '1', ...rest]);
  refuses(() => parseSegment(segment(['d', 'a', 0o10000, 0, 0, '1'])));
  refuses(() => parseSegment(segment(['d', 'a', 0o755, -1, 0, '1'])));
  refuses(() => parseSegment(segment(['d', 'a', 0o755, 0, 0, 'now'])));
  refuses(() => parseSegment(segment(['b', 'a', 0o755, 0, 0, '1'])), /no kind/);
  refuses(() => parseSegment(file(5, [])), /not as large/);
  refuses(() => parseSegment(file(5, [['x', 5, 0, 0, 5]])), /no digest/);
  refuses(() => parseSegment(file(5, [[shaOf(Buffer.of(1)), 5, 1, 0, 5]])), /no pack/);
  refuses(() => parseSegment(file(5, [[shaOf(Buffer.of(1)), 5, 0, 0, 6]])), /larger than it is/);
  refuses(() => parseSegment(file(1e9, [[shaOf(Buffer.of(1)), 1e9, 0, 0, 5]])), /out of its range/);
  refuses(() => parseSegment(gzipSync(Buffer.alloc(130 << 20))), /decompressed/);
  const parsed = parseSegment(segment(['f', 'a', 0o6755, 0, 0, '1', 0, []]));
  assert.equal(parsed[0]?.kind === 'file' ? parsed[0].mode : undefined, 0o755, 'no setuid');
});

test('entries that make no tree are refused', () => {
  checkTree(entries);
  const [directoryEntry] = entries;
  assert.ok(directoryEntry !== undefined);
  refuses(() => checkTree([{ ...directoryEntry, path: 'a/b' }]), /no directory/);
  refuses(() => checkTree([directoryEntry, directoryEntry]), /twice/);
  refuses(() => checkTree([{ kind: 'link', path: 'h', target: 'none' }]), /no file/);
  // A symlink is no directory: nothing is written through it.
  refuses(() =>
    checkTree([
      { kind: 'symlink', path: 'a', ...owned, target: '/etc' },
      { kind: 'file', path: 'a/passwd', mode: 0o644, ...owned, size: 0, chunks: [] },
    ]),
  );
});

interface Packed {
  readonly place: ReturnType<typeof createDirectoryPlace>;
  readonly packs: Map<Digest, Descriptor>;
  readonly placed: ReadonlyMap<string, PlacedChunk>;
}

async function packAll(chunks: readonly Buffer[]): Promise<Packed> {
  const place = createDirectoryPlace(join(directory, 'place'), 'latest', host);
  const packs = new Map<Digest, Descriptor>();
  let names = 0;
  using writer = createPackWriter({
    spool: () => join(directory, `spool-${(names += 1)}`),
    inFlight: 2,
    async onPack(descriptor, path) {
      packs.set(descriptor.digest, descriptor);
      const bytes = readFileSync(path);
      await place.sink.put(
        descriptor,
        async function* () {
          yield await Promise.resolve(bytes);
        },
        { signal },
      );
    },
  });
  for (const bytes of chunks)
    await writer.add({ digest: shaOf(bytes), size: bytes.byteLength }, bytes, false);
  return { place, packs, placed: await writer.finish() };
}

test('chunks come out of packs as they went in, in any selection', async () => {
  const chunks = [...Array(60).keys()].map((n) =>
    n % 3 === 0 ? Buffer.alloc(20_000 + n, n) : noise(300_000 + 1000 * n, `${n}`),
  );
  const { place, packs, placed } = await packAll([...chunks, chunks[4] ?? Buffer.alloc(0)]);
  assert.equal(placed.size, 60);
  assert.equal(packs.size, 2);
  for (const wanted of [chunks, chunks.filter((_, n) => n % 7 === 0), chunks.slice(59)]) {
    const got = new Map<string, Buffer>();
    await fetchChunks(
      place,
      packs,
      wanted.map((each) => placed.get(shaOf(each)) as PlacedChunk),
      {
        signal,
        onMoved: () => undefined,
        onChunk: ({ digest }, bytes) => void got.set(digest, Buffer.from(bytes)),
      },
    );
    assert.equal(got.size, wanted.length);
    for (const each of wanted) assert.deepEqual(got.get(shaOf(each)), each);
  }
});

test('a pack that was exchanged, cut, or is asked beyond its end is refused', async () => {
  const { place, packs, placed } = await packAll([noise(50_000, 'p'), Buffer.alloc(50_000, 5)]);
  const [only] = [...packs.values()];
  const all = [...placed.values()];
  const fetchAll = (chunks: readonly PlacedChunk[]): Promise<void> =>
    fetchChunks(place, packs, chunks, { signal, onMoved: () => undefined, onChunk: () => undefined });
  const refusesAll = (chunks: readonly PlacedChunk[]): Promise<void> =>
    assert.rejects(fetchAll(chunks), (error) => isTsbuildError(error, 'CACHE_INVALID'));
  await refusesAll(all.map((each) => ({ ...each, offset: each.offset + 1 })));
  await refusesAll(all.map((each) => ({ ...each, offset: only?.size ?? 0 })));
  await refusesAll(all.map((each) => ({ ...each, pack: digestOf('another') })));
  const path = join(directory, 'place/blobs/sha256', (only?.digest ?? '').slice(7));
  const bytes = readFileSync(path);
  writeFileSync(
    path,
    bytes.map((byte, at) => (at === 49_000 ? byte ^ 1 : byte)),
  );
  await refusesAll(all);
});

test('a restored tree takes what lies here by another name, and follows no link of the old directory', async () => {
  const old = join(directory, 'old');
  mkdirSync(join(old, 'd'), { recursive: true });
  writeFileSync(join(old, 'd/same'), 'same');
  symlinkSync('/etc/passwd', join(old, 'd/evil'));
  const { mode, uid, gid, mtimeMs, ino } = statSync(join(old, 'd/same'));
  const mtimeNs = BigInt(Math.floor(mtimeMs)) * 1_000_000n;
  const file = { mode: mode & 0o777, uid, gid, mtimeNs, size: 4, chunks: [chunk('same', 4)] };
  const evil = { ...file, size: 5, chunks: [chunk('other', 5)] };
  const fetched: string[] = [];
  const target = join(directory, 'new');
  mkdirSync(target);
  await restoreTree({
    old: {
      directory: old,
      entries: [
        { kind: 'directory', path: 'd', mode: 0o755, ...owned },
        { kind: 'file', path: 'd/same', ...file },
        // The listing is older than the link that took the file's place.
        { kind: 'file', path: 'd/evil', ...evil },
      ],
    },
    entries: [
      { kind: 'directory', path: 'd', mode: 0o700, uid: 0, gid: 0, mtimeNs: 1_000_000_001n },
      { kind: 'file', path: 'd/copy', ...file, mtimeNs: 7n },
      { kind: 'file', path: 'd/other', ...evil },
      { kind: 'file', path: 'd/same', ...file },
    ],
    target,
    fetch(chunks, onChunk) {
      for (const each of chunks) {
        fetched.push(each.digest);
        onChunk(each, Buffer.from('other'));
      }
      return Promise.resolve();
    },
  });
  assert.equal(statSync(join(target, 'd/same')).ino, ino, 'a second name');
  assert.equal(readFileSync(join(target, 'd/copy'), 'utf8'), 'same');
  assert.equal(readFileSync(join(target, 'd/other'), 'utf8'), 'other');
  assert.deepEqual(fetched, [shaOf(Buffer.from('other'))]);
  assert.equal(statSync(join(target, 'd'), { bigint: true }).mtimeNs, 1_000_000_001n);
  assert.ok(!existsSync(join(target, 'd/evil')));
});
