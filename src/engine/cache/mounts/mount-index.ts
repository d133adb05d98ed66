/**
 * What lies in a cache mount, as it travels: entries in the order of a layer, cut into segments where the entries
 * themselves say so; files as chunks, and where each chunk lies in which pack. A change touches one segment.
 *
 * A segment is compressed JSON:
 *
 *   { "version": 1, "packs": ["sha256:…"], "entries": [
 *     ["d", path, mode, uid, gid, mtime],
 *     ["f", path, mode, uid, gid, mtime, size, [[digest, size, pack, offset, stored], …]],
 *     ["l", path, uid, gid, mtime, target],
 *     ["h", path, target] ] }
 *
 * Paths are byte strings, times nanoseconds as text, digests base64 of sha256. `stored` is the length in the pack; as
 * large as the chunk: its bytes; smaller: deflated (RFC 1951). Hostile as everything that comes from a cache: a path
 * leads through directories that were named before, and nowhere else.
 */
import { gunzipSync, gzipSync } from 'node:zlib';
import { isDiffID, type Digest } from '../../../base/digest.ts';
import type { ByteString } from '../../../base/byte-string.ts';
import { invalid, parseCacheJson } from '../step-document.ts';
import { MAX_CHUNK } from './chunker.ts';

export const MOUNT_TYPE = 'application/vnd.tsbuild.cache.mount.v1+json';
export const SEGMENT_TYPE = 'application/vnd.tsbuild.cache.mount.segment.v1+gzip';
export const PACK_TYPE = 'application/vnd.tsbuild.cache.mount.pack.v1';

export const MAX_SEGMENT = 16 << 20;
const MAX_SEGMENT_TEXT = 128 << 20;
const MAX_ENTRIES = 1 << 14;
/** About so many entries, by their paths; at most so many, whatever they are called. */
const SEGMENT_BITS = 9;
const SEGMENT_MOST = 1 << 12;
const MAX_PATH = 4095;
const MAX_NAME = 255;

export interface Chunk {
  /** Base64 of its sha256. */
  readonly digest: string;
  readonly size: number;
}

export interface PlacedChunk extends Chunk {
  readonly pack: Digest;
  readonly offset: number;
  readonly stored: number;
}

interface Owned {
  readonly path: ByteString;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeNs: bigint;
}

export interface MountDirectory extends Owned {
  readonly kind: 'directory';
  readonly mode: number;
}

export interface MountFile<C extends Chunk = PlacedChunk> extends Owned {
  readonly kind: 'file';
  readonly mode: number;
  readonly size: number;
  readonly chunks: readonly C[];
}

export interface MountSymlink extends Owned {
  readonly kind: 'symlink';
  readonly target: ByteString;
}

/** Another name of a file that came before. */
export interface MountLink {
  readonly kind: 'link';
  readonly path: ByteString;
  readonly target: ByteString;
}

export type MountEntry = MountDirectory | MountFile | MountSymlink | MountLink;

/** Cuts entries where a segment ends. The same entries are cut in the same places. */
export function splitEntries(entries: readonly MountEntry[]): readonly (readonly MountEntry[])[] {
  const segments: MountEntry[][] = [];
  let segment: MountEntry[] = [];
  for (const entry of entries) {
    segment.push(entry);
    if (!endsSegment(entry.path) && segment.length < SEGMENT_MOST) continue;
    segments.push(segment);
    segment = [];
  }
  if (segment.length > 0) segments.push(segment);
  return segments;
}

/** FNV-1a: any function of the path alone does. */
function endsSegment(path: ByteString): boolean {
  let hash = 0x811c9dc5;
  for (let at = 0; at < path.length; at += 1) hash = Math.imul(hash ^ path.charCodeAt(at), 0x01000193);
  return hash >>> (32 - SEGMENT_BITS) === 0;
}

export function serializeSegment(entries: readonly MountEntry[]): Buffer {
  const packs: Digest[] = [];
  const numbers = new Map<Digest, number>();
  const packNumber = (pack: Digest): number => {
    const number = numbers.get(pack) ?? packs.push(pack) - 1;
    numbers.set(pack, number);
    return number;
  };
  const rows = entries.map((entry) => {
    switch (entry.kind) {
      case 'directory':
        return ['d', entry.path, entry.mode, entry.uid, entry.gid, `${entry.mtimeNs}`];
      case 'file':
        return [
          'f',
          entry.path,
          entry.mode,
          entry.uid,
          entry.gid,
          `${entry.mtimeNs}`,
          entry.size,
          entry.chunks.map(({ digest, size, pack, offset, stored }) => [
            digest,
            size,
            packNumber(pack),
            offset,
            stored,
          ]),
        ];
      case 'symlink':
        return ['l', entry.path, entry.uid, entry.gid, `${entry.mtimeNs}`, entry.target];
      case 'link':
        return ['h', entry.path, entry.target];
    }
  });
  return gzipSync(JSON.stringify({ version: 1, packs, entries: rows }), { level: 6 });
}

/** The entries of one segment; that their parents exist is checked by `checkTree`. Throws CACHE_INVALID. */
export function parseSegment(bytes: Uint8Array): readonly MountEntry[] {
  const { version, packs, entries } = parseCacheJson(decompressed(bytes), MAX_SEGMENT_TEXT);
  if (version !== 1 || !Array.isArray(packs) || !Array.isArray(entries)) throw invalid('it is no segment');
  if (entries.length > MAX_ENTRIES) throw invalid(`a segment has ${entries.length} entries`);
  const known = (packs as readonly unknown[]).map((pack): Digest => {
    if (typeof pack !== 'string' || !isDiffID(pack)) throw invalid('a pack is no digest');
    return pack;
  });
  return (entries as readonly unknown[]).map((row) => parseRow(row, known));
}

function decompressed(bytes: Uint8Array): Uint8Array {
  if (bytes.byteLength > MAX_SEGMENT) throw invalid(`a segment has ${bytes.byteLength} bytes`);
  try {
    return gunzipSync(bytes, { maxOutputLength: MAX_SEGMENT_TEXT });
  } catch {
    throw invalid('a segment cannot be decompressed');
  }
}

function parseRow(row: unknown, packs: readonly Digest[]): MountEntry {
  if (!Array.isArray(row)) throw invalid('an entry is no list');
  const [type, path, ...rest] = row as readonly unknown[];
  const name = parsePath(path);
  switch (type) {
    case 'd': {
      const [mode, uid, gid, mtime] = rest;
      return { kind: 'directory', path: name, mode: numberIn(mode, 0o7777), ...owned(uid, gid, mtime) };
    }
    case 'f': {
      const [mode, uid, gid, mtime, size, chunks] = rest;
      if (!Array.isArray(chunks)) throw invalid('a file has no chunks');
      const parsed = (chunks as readonly unknown[]).map((chunk) => parseChunk(chunk, packs));
      const whole = numberIn(size, Number.MAX_SAFE_INTEGER);
      if (parsed.reduce((sum, each) => sum + each.size, 0) !== whole)
        throw invalid('the chunks of a file are not as large as it is');
      // No cache needs programs that run as somebody else.
      const bits = numberIn(mode, 0o7777) & 0o777;
      return { kind: 'file', path: name, mode: bits, ...owned(uid, gid, mtime), size: whole, chunks: parsed };
    }
    case 'l': {
      const [uid, gid, mtime, target] = rest;
      if (typeof target !== 'string' || target === '' || target.length > MAX_PATH || !isBytes(target))
        throw invalid('a symlink leads nowhere');
      return { kind: 'symlink', path: name, ...owned(uid, gid, mtime), target };
    }
    case 'h':
      return { kind: 'link', path: name, target: parsePath(rest[0]) };
    default:
      throw invalid('an entry is of no kind that is known');
  }
}

function parsePath(value: unknown): ByteString {
  if (typeof value !== 'string' || value.length > MAX_PATH || !isBytes(value))
    throw invalid('a path is none');
  for (const name of value.split('/'))
    if (name === '' || name === '.' || name === '..' || name.length > MAX_NAME)
      throw invalid(`a path is ${JSON.stringify(value.slice(0, 200))}`);
  return value;
}

/** A byte string without NUL. */
function isBytes(text: string): boolean {
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === 0 || code > 255) return false;
  }
  return true;
}

function owned(uid: unknown, gid: unknown, mtime: unknown): Pick<Owned, 'uid' | 'gid' | 'mtimeNs'> {
  if (typeof mtime !== 'string' || !/^-?\d{1,19}$/.test(mtime)) throw invalid('a time is none');
  return { uid: numberIn(uid, 2 ** 32 - 2), gid: numberIn(gid, 2 ** 32 - 2), mtimeNs: BigInt(mtime) };
}

function numberIn(value: unknown, most: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > most)
    throw invalid('a number is out of its range');
  return value;
}

function parseChunk(value: unknown, packs: readonly Digest[]): PlacedChunk {
  const [digest, size, number, offset, stored] = Array.isArray(value) ? (value as readonly unknown[]) : [];
  if (typeof digest !== 'string' || !/^[A-Za-z0-9+/]{43}=$/.test(digest))
    throw invalid('a chunk has no digest');
  const pack = packs[numberIn(number, packs.length)];
  if (pack === undefined) throw invalid('a chunk is in no pack');
  const whole = numberIn(size, MAX_CHUNK);
  const length = numberIn(stored, MAX_CHUNK);
  if (length > whole || length === 0) throw invalid('a chunk is larger than it is');
  return { digest, size: whole, pack, offset: numberIn(offset, 2 ** 40), stored: length };
}

/**
 * That entries make a tree: each in a directory that was named before, each name once, hard links to files that were
 * named before. Throws CACHE_INVALID.
 */
export function checkTree(entries: readonly MountEntry[]): void {
  const kinds = new Map<ByteString, MountEntry['kind']>();
  for (const { kind, path, ...entry } of entries) {
    const slash = path.lastIndexOf('/');
    if (slash >= 0 && kinds.get(path.slice(0, slash)) !== 'directory')
      throw invalid(`${JSON.stringify(path.slice(0, 200))} lies in no directory`);
    if (kinds.has(path)) throw invalid(`${JSON.stringify(path.slice(0, 200))} is there twice`);
    if (kind === 'link' && kinds.get((entry as MountLink).target) !== 'file')
      throw invalid('a hard link leads to no file');
    kinds.set(path, kind);
  }
}
