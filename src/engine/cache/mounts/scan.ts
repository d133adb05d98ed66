/**
 * What lies in the directory of a cache mount: its entries, files as chunks. Files that are as they were when they
 * were read last are not read again.
 *
 * Steps may write there meanwhile. A file that changes while it is read is left out; whoever scans next gets it.
 * Sockets, devices and fifos are nobody's cache, and extended attributes are not looked at.
 */
import { createHash } from 'node:crypto';
import { closeSync, fstatSync, readSync } from 'node:fs';
import type { ByteString } from '../../../base/byte-string.ts';
import { errnoOf } from '../../../base/errors.ts';
import { LISTED_DIRECTORY, LISTED_FILE, LISTED_SYMLINK, ListingCursor } from '../../../layer/listing.ts';
import { openDirectoryTree } from '../../../layer/open-tree.ts';
import type { Directory, Tree } from '../../../layer/tree.ts';
import { walkTree } from '../../../layer/walk.ts';
import { cutOf, MAX_CHUNK } from './chunker.ts';
import type { Chunk, MountDirectory, MountFile, MountLink, MountSymlink } from './mount-index.ts';

/** As MountEntry, but nobody knows yet where the chunks are kept. */
export type ScannedEntry = MountDirectory | MountFile<Chunk> | MountSymlink | MountLink;

/** A file as it was when its chunks were found. */
export interface KnownFile {
  /** Inode, size, and times to the nanosecond. */
  readonly key: string;
  readonly chunks: readonly Chunk[];
}

export interface Scanned {
  readonly entries: readonly ScannedEntry[];
  readonly files: ReadonlyMap<ByteString, KnownFile>;
}

export interface ScanOptions {
  readonly signal: AbortSignal;
  /**
   * Milliseconds since the epoch: files that changed later are not remembered, since another change could leave the
   * same times.
   */
  readonly settledAt: number;
  /** What was found before. */
  readonly known: ReadonlyMap<ByteString, KnownFile>;
  /** Whether a file must be read though it is as it was: its chunks are wanted. */
  readonly mustRead?: (chunks: readonly Chunk[]) => boolean;
  /** Told of each chunk that was read; the bytes are lent until the promise settles. */
  readonly onChunk?: (chunk: Chunk, bytes: Buffer, isCompressed: boolean) => Promise<void>;
}

const READ = 4 * MAX_CHUNK;

export async function scanMount(directory: string, options: ScanOptions): Promise<Scanned> {
  using tree = openDirectoryTree(directory);
  using opener = createOpener(tree);
  const [listing] = await walkTree(tree, [{ path: '', pruned: [] }], {
    capabilities: false,
    signal: options.signal,
  });
  const entries: ScannedEntry[] = [];
  const files = new Map<ByteString, KnownFile>();
  if (listing === undefined) return { entries, files };
  const names = new Map<string, ByteString>();
  const cursor = new ListingCursor(listing);
  const buffer = Buffer.allocUnsafeSlow(READ);
  while (cursor.next()) {
    options.signal.throwIfAborted();
    const path = cursor.pathText();
    const { mode, uid, gid } = cursor;
    const owned = { path, uid, gid, mtimeNs: BigInt(cursor.mtime) * 1_000_000_000n + BigInt(cursor.mtimeNs) };
    if (cursor.type === LISTED_DIRECTORY) entries.push({ kind: 'directory', ...owned, mode });
    else if (cursor.type === LISTED_SYMLINK) entries.push({ kind: 'symlink', ...owned, target: cursor.link });
    else if (cursor.type === LISTED_FILE) {
      const { inode, nlink, size } = cursor;
      const first = nlink > 1 ? names.get(inode) : undefined;
      if (first !== undefined) {
        entries.push({ kind: 'link', path, target: first });
        continue;
      }
      const file = await chunksOf(path, keyOf(cursor), opener, buffer, options);
      if (file === undefined) continue;
      names.set(inode, path);
      if (cursor.ctime * 1000 + cursor.ctimeNs / 1e6 < options.settledAt) files.set(path, file);
      entries.push({ kind: 'file', ...owned, mode: mode & 0o777, size, chunks: file.chunks });
    }
  }
  return { entries, files };
}

function keyOf(cursor: ListingCursor): string {
  const { inodeNumber, size, mtime, mtimeNs, ctime, ctimeNs } = cursor;
  return `${inodeNumber}:${size}:${mtime}.${mtimeNs}:${ctime}.${ctimeNs}`;
}

async function chunksOf(
  path: ByteString,
  key: string,
  opener: Opener,
  buffer: Buffer,
  { known, mustRead, onChunk }: ScanOptions,
): Promise<KnownFile | undefined> {
  const before = known.get(path);
  if (before?.key === key && mustRead?.(before.chunks) !== true) return before;
  const fd = opener.open(path);
  if (fd === undefined) return undefined;
  try {
    const chunks: Chunk[] = [];
    let isPacked = false;
    for (const bytes of chunksIn(fd, buffer)) {
      const chunk = { digest: createHash('sha256').update(bytes).digest('base64'), size: bytes.byteLength };
      if (chunks.length === 0) isPacked = looksPacked(bytes);
      await onChunk?.(chunk, bytes, isPacked);
      chunks.push(chunk);
    }
    return statKey(fd) === key ? { key, chunks } : undefined;
  } finally {
    closeSync(fd);
  }
}

/** The chunks of a file, in `buffer`; each is good until the next. */
function* chunksIn(fd: number, buffer: Buffer): Generator<Buffer> {
  let [from, to] = [0, 0];
  let isEnded = false;
  for (;;) {
    if (!isEnded && to - from < MAX_CHUNK) {
      buffer.copyWithin(0, from, to);
      [from, to] = [0, to - from];
      while (!isEnded && to < buffer.byteLength) {
        const got = readSync(fd, buffer, to, buffer.byteLength - to, null);
        isEnded = got === 0;
        to += got;
      }
    }
    if (from === to) return;
    const size = cutOf(buffer.subarray(from, to));
    yield buffer.subarray(from, from + size);
    from += size;
  }
}

/** Beginnings of files that hold compressed bytes: gzip, zstd, xz, bzip2, zip, brotli has none. */
const PACKED = ['1f8b', '28b52ffd', 'fd377a58', '425a68', '504b0304'];

function looksPacked(bytes: Uint8Array): boolean {
  const head = Buffer.from(bytes.subarray(0, 4)).toString('hex');
  return PACKED.some((magic) => head.startsWith(magic));
}

export interface Opener extends Disposable {
  /** A file of the tree, to be closed by the caller; undefined where it is there no more, or is something else. */
  open(path: ByteString): number | undefined;
  /** The directory that holds it, to be used at once, and its name there. */
  holder(path: ByteString): { readonly directory: Directory; readonly name: ByteString } | undefined;
}

/** Opens files one after the other; the directory of the last one stays open. */
export function createOpener(tree: Tree): Opener {
  let last: { readonly path: ByteString; readonly directory: Directory } | undefined;
  function holder(path: ByteString): ReturnType<Opener['holder']> {
    const slash = path.lastIndexOf('/');
    const parent = slash < 0 ? '' : path.slice(0, slash);
    if (last?.path !== parent) {
      last?.directory[Symbol.dispose]();
      last = undefined;
      try {
        last = { path: parent, directory: tree.directory(parent) };
      } catch {
        return undefined;
      }
    }
    return { directory: last.directory, name: path.slice(slash + 1) };
  }
  return {
    holder,
    open(path) {
      const found = holder(path);
      try {
        const fd = found?.directory.open(found.name);
        if (fd === undefined || fstatSync(fd).isFile()) return fd;
        closeSync(fd);
        return undefined;
      } catch (error) {
        if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ELOOP' || errnoOf(error) === 'ENXIO')
          return undefined;
        throw error;
      }
    },
    [Symbol.dispose]: () => last?.directory[Symbol.dispose](),
  };
}

/** Of a descriptor, as `keyOf` makes them. */
export function statKey(fd: number): string {
  const { ino, size, mtimeNs, ctimeNs } = fstatSync(fd, { bigint: true });
  return keyOfStat({ ino, size, mtimeNs, ctimeNs });
}

export function keyOfStat(stat: {
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}): string {
  const time = (ns: bigint): string => {
    const rest = ((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
    return `${(ns - rest) / 1_000_000_000n}.${rest}`;
  };
  return `${stat.ino}:${stat.size}:${time(stat.mtimeNs)}:${time(stat.ctimeNs)}`;
}
