/** What is asked of all entries of a listing natively, against the same asked of one after the other. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import type { FileSystem } from '../../src/layer/file-system.ts';
import { entriesText, lookUpStats } from '../../src/layer/listing-calls.ts';
import {
  encodeListed,
  LISTED_CHAR,
  LISTED_FILE,
  LISTED_BLOCK,
  LISTED_SYMLINK,
  ListingCursor,
  SEGMENT,
  typeName,
  type Listing,
} from '../../src/layer/listing.ts';
import type { EntryStat } from '../../src/layer/tree.ts';
import { openStatCache } from '../../src/solver/exec/context/stat-cache.ts';
import { entryPiece } from '../../src/solver/listing.ts';

const EXT: FileSystem = { major: 8, minor: 1, type: 0xef53, id: '', mount: '', mountIsUnique: false };
const FUSE: FileSystem = { ...EXT, major: 0, minor: 30, type: 0x65735546 };
const LONG_AGO = 1_600_000_000_000_000_123n;
const EMPTY = createHash('sha256').digest();

interface Drawn {
  /** Towards the deepest that is possible here. */
  readonly deeper: number;
  readonly name: string;
  readonly stat: Pick<EntryStat, 'type' | 'mode' | 'uid' | 'size' | 'nlink' | 'major' | 'minor'>;
  readonly link: string;
  readonly capability: Uint8Array | undefined;
  readonly isOut: boolean;
  readonly ino: number;
  readonly fileSystem: number;
}

const TYPES = ['file', 'file', 'file', 'directory', 'symlink', 'char', 'block', 'fifo', 'socket'] as const;

const drawn: fc.Arbitrary<Drawn> = fc.record({
  deeper: fc.nat(3),
  name: fc.oneof(
    fc.constantFrom('a', 'b.c', '\xff\xfe', 'new\nline'),
    fc.integer({ min: 1, max: 700 }).map((length) => 'n'.repeat(length)),
  ),
  stat: fc.record({
    type: fc.constantFrom(...TYPES),
    mode: fc.constantFrom(0o644, 0o755, 0, 0o4711),
    uid: fc.constantFrom(0, 1000, 0xfffffffe),
    size: fc.constantFrom(0, 5, 2 ** 33 + 7),
    nlink: fc.constantFrom(1, 1, 2),
    major: fc.nat(500),
    minor: fc.nat(2 ** 20),
  }),
  link: fc.constantFrom('', 'to', '../\xff'),
  capability: fc.option(fc.uint8Array({ minLength: 1, maxLength: 24 }), { nil: undefined, freq: 3 }),
  isOut: fc.boolean(),
  ino: fc.nat(30),
  fileSystem: fc.nat(1),
});

/** A listing as a walk makes them, in segments of some records. */
function listingOf(all: readonly Drawn[], perSegment: number): Listing {
  const records: Buffer[] = [];
  let [depth, out] = [0, -1];
  for (const { deeper, name, stat, link, capability, isOut, ino, fileSystem } of all) {
    const at = Math.max(0, depth - deeper);
    if (at <= out) out = -1;
    const isBelow = out >= 0;
    const isDirectory = stat.type === 'directory';
    const listed: EntryStat = {
      ...stat,
      gid: 7,
      mtimeNs: LONG_AGO,
      ctimeNs: LONG_AGO,
      bornNs: 0n,
      dev: 1,
      ino,
    };
    const record = encodeListed({
      depth: at,
      name,
      stat: listed,
      link: stat.type === 'symlink' ? link : '',
      capability: stat.type === 'file' ? capability : undefined,
      fileSystem,
    });
    // As src/solver/exec/copy/leave-out.ts does: what is below is left out too.
    if (isOut || isBelow) record.writeUInt32LE(1, 68);
    if (isOut && !isBelow && isDirectory) out = at;
    records.push(record);
    depth = isDirectory ? at + 1 : at;
  }
  const segments: Buffer[] = [];
  for (let first = 0; first < records.length; first += perSegment)
    segments.push(Buffer.concat(records.slice(first, first + perSegment)));
  return { segments, entries: records.length, fileSystems: [EXT, FUSE] };
}

function contentOf(cursor: ListingCursor, digests: Buffer, isShort: boolean): string {
  if (cursor.type === LISTED_SYMLINK) return cursor.link;
  if (cursor.type === LISTED_CHAR || cursor.type === LISTED_BLOCK) return `${cursor.major}:${cursor.minor}`;
  if (cursor.type !== LISTED_FILE) return '';
  const digest = digests.toString('hex', 32 * cursor.file, 32 * cursor.file + (isShort ? 8 : 32));
  const capability =
    cursor.capability === undefined ? '' : ` ${Buffer.from(cursor.capability).toString('hex')}`;
  return `${isShort ? '' : 'sha256:'}${digest}${capability}`;
}

test('the text of many entries is that of one after the other', () => {
  const entries = fc.array(drawn, { maxLength: 60 });
  const flags = fc.tuple(fc.boolean(), fc.boolean(), fc.boolean(), fc.boolean());
  fc.assert(
    fc.property(entries, fc.integer({ min: 1, max: 9 }), flags, (all, perSegment, drawnFlags) => {
      const [keepsMode, keepsOwner, isBelow, isShort] = drawnFlags;
      const listing = listingOf(all, perSegment);
      const digests = Buffer.from(Array.from({ length: 32 * all.length }, (_, index) => (index * 37) & 255));
      const pieces: string[] = [];
      // why: a cursor expects segments to be full, which these are not, only for places that nobody asks for here.
      const cursor = new ListingCursor(listing);
      while (cursor.next()) {
        const mode = keepsMode && cursor.type !== LISTED_SYMLINK ? cursor.mode.toString(8) : '';
        const owner = keepsOwner ? `${cursor.uid}:${cursor.gid}` : '';
        const path = isBelow ? cursor.pathText() : '';
        const content = contentOf(cursor, digests, isShort);
        pieces.push(entryPiece(path, typeName(cursor.type), mode, owner, content));
      }
      const text = entriesText(listing, { keepsMode, keepsOwner, isBelow, isShort }, digests);
      const parts: string[] = [];
      for (const part of text) parts.push(part.toString('latin1'));
      assert.equal(parts.join(''), pieces.join(''));
      // Each part is of whole pieces.
      for (const part of parts) assert.ok(part.split('\0').length % 5 === 1, JSON.stringify(part));
    }),
    { numRuns: 2000 },
  );
});

test('digests of many files are those that each of them has, whatever came, went or changed meanwhile', () => {
  const root = mkdtempSync(join(tmpdir(), 'tsbuild-calls-'));
  const host = { now: () => Date.parse('2026-01-01T00:00:00Z'), unique: () => 't' };
  let contexts = 0;
  const states = fc.tuple(fc.array(drawn, { maxLength: 40 }), fc.array(drawn, { maxLength: 10 }), fc.nat(40));
  try {
    fc.assert(
      fc.property(states, fc.nat(1), ([before, more, cut], isSaved) => {
        const cache = openStatCache(root, `context ${(contexts += 1)}`, host);
        const cursor = new ListingCursor(listingOf(before, 7));
        while (cursor.next())
          if (cursor.type === LISTED_FILE)
            cache.put(cursor, createHash('sha256').update(`${cursor.inode} ${cursor.size}`).digest(), 0);
        if (isSaved === 1) cache.save();
        const listing = listingOf([...before.slice(0, cut), ...more, ...before.slice(cut + 1)], 5);
        const expected = {
          digests: Buffer.alloc(32 * listing.entries),
          known: new Uint8Array(listing.entries),
        };
        let [files, bytes, haveNames] = [0, 0, false];
        const each = new ListingCursor(listing);
        while (each.next()) {
          if (each.type !== LISTED_FILE) continue;
          haveNames ||= each.nlink > 1;
          const at = 32 * each.file;
          if (each.size === 0) EMPTY.copy(expected.digests, at);
          else if (!cache.find(each, expected.digests, at)) {
            files += 1;
            bytes += each.size;
            continue;
          }
          expected.known[each.file] = 1;
        }
        const found = { digests: Buffer.alloc(32 * listing.entries), known: new Uint8Array(listing.entries) };
        const unknown = cache.findAll(listing, { ...found, empty: EMPTY });
        assert.deepEqual(unknown, { files, bytes, haveNames });
        assert.deepEqual(found, expected);
      }),
      { numRuns: 1000 },
    );
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});

test('what is no listing is refused, and nothing is read behind it', () => {
  const { segments, ...rest } = listingOf(
    [
      {
        deeper: 0,
        name: 'f',
        stat: { type: 'file', mode: 0, uid: 0, size: 1, nlink: 1, major: 0, minor: 0 },
        link: '',
        capability: undefined,
        isOut: false,
        ino: 1,
        fileSystem: 9,
      },
    ],
    1,
  );
  const [record = Buffer.alloc(0)] = segments;
  const fields = { keepsMode: true, keepsOwner: true, isBelow: true, isShort: false };
  const changed = (offset: number, value: number): Listing => {
    const copy = Buffer.from(record);
    copy[offset] = value;
    return { ...rest, segments: [copy] };
  };
  const digests = Buffer.alloc(32);
  // Longer than it is, deeper than what came before, of no type, without a name, cut off.
  const wrong = [changed(0, 200), changed(4, 1), changed(6, 8), changed(6, 0), changed(0, 0)];
  for (const listing of [...wrong, { ...rest, segments: [record.subarray(0, 71)] }])
    assert.throws(() => [...entriesText(listing, fields, digests)], { code: 'EINVAL' });
  assert.throws(() => [...entriesText({ ...rest, segments }, fields, Buffer.alloc(0))], { code: 'EINVAL' });
  const entries = {
    places: new Uint32Array(0),
    entries: new Uint32Array(0),
    count: 0,
    used: new Uint8Array(0),
  };
  const found = { digests, known: new Uint8Array(1), empty: EMPTY };
  // A file system that nobody told of is trusted with nothing.
  assert.deepEqual(lookUpStats({ ...rest, segments }, entries, found), {
    files: 1,
    bytes: 1,
    haveNames: false,
  });
  assert.throws(() => lookUpStats({ ...rest, segments }, entries, { ...found, known: new Uint8Array(0) }), {
    code: 'EINVAL',
  });
  assert.ok(record.byteLength < SEGMENT);
});
