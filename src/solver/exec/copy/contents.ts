/**
 * Digests of the files that a COPY gathered: from the cache, from reading a few of them here, or from one native call
 * for many.
 */
import { createHash } from 'node:crypto';
import { closeSync, fstatSync, readSync } from 'node:fs';
import { toText, type ByteString } from '../../../base/byte-string.ts';
import { copyDigest } from '../../../base/digest.ts';
import { errnoOf, ioError } from '../../../base/errors.ts';
import { changed } from '../../../layer/changed.ts';
import { LISTED_FILE, ListingCursor } from '../../../layer/listing.ts';
import { hasMany, type Unknown } from '../../../layer/listing-calls.ts';
import { EARLIER_SIZE, PackPlan, packPlan } from '../../../layer/pack-plan.ts';
import type { Tree } from '../../../layer/tree.ts';
import type { StatCache } from '../context/stat-cache.ts';
import { DIGEST_SIZE, prefixOf, sourcePath, type Gathered } from './gathered.ts';
import { nameOf, parentOf } from './selected.ts';

/** A source whose files are wanted. */
export interface ContentSource {
  readonly tree: Tree;
  readonly statCache?: StatCache;
}

const EMPTY = createHash('sha256').digest();

/** Fills in what is known without reading; tells what is not. */
export function lookUpDigests(source: ContentSource, selection: readonly Gathered[]): Unknown {
  let [files, bytes, haveNames] = [0, 0, false];
  for (const gathered of selection) {
    const { listing, contents } = gathered;
    const unknown =
      source.statCache !== undefined && hasMany(listing)
        ? source.statCache.findAll(listing, { ...contents, empty: EMPTY })
        : lookUpEach(source, gathered);
    contents.haveNames = unknown.haveNames;
    files += unknown.files;
    bytes += unknown.bytes;
    haveNames ||= unknown.haveNames;
  }
  return { files, bytes, haveNames };
}

function lookUpEach(source: ContentSource, { listing, contents: { digests, known } }: Gathered): Unknown {
  let [files, bytes, haveNames] = [0, 0, false];
  const cursor = new ListingCursor(listing);
  while (cursor.next()) {
    if (cursor.type !== LISTED_FILE) continue;
    haveNames ||= cursor.nlink > 1;
    if (known[cursor.file] === 1) continue;
    const { size } = cursor;
    const at = cursor.file * DIGEST_SIZE;
    if (size === 0) copyDigest(EMPTY, 0, digests, at);
    else if (source.statCache?.find(cursor, digests, at) !== true) {
      files += 1;
      bytes += size;
      continue;
    }
    known[cursor.file] = 1;
  }
  return { files, bytes, haveNames };
}

/** Notes the digest of a file that was read as it was listed; `cursor` is on its record. */
export function learn(
  { statCache }: Pick<ContentSource, 'statCache'>,
  { contents }: Gathered,
  cursor: ListingCursor,
  file: number,
): void {
  contents.known[file] = 1;
  statCache?.put(cursor, contents.digests, file * DIGEST_SIZE);
}

/** Gives all names of a file the digest that one of them has. */
function shareDigests(selection: readonly Gathered[]): void {
  const known = new Map<string, Buffer>();
  const each = (visit: (cursor: ListingCursor, contents: Gathered['contents']) => void): void => {
    for (const { listing, contents } of selection) {
      const cursor = new ListingCursor(listing);
      while (cursor.next()) if (cursor.type === LISTED_FILE && cursor.nlink > 1) visit(cursor, contents);
    }
  };
  each((cursor, contents) => {
    const at = cursor.file * DIGEST_SIZE;
    if (contents.known[cursor.file] === 1)
      known.set(cursor.inode, contents.digests.subarray(at, at + DIGEST_SIZE));
  });
  if (known.size === 0) return;
  each((cursor, contents) => {
    const digest = known.get(cursor.inode);
    if (digest === undefined || contents.known[cursor.file] === 1) return;
    contents.digests.set(digest, cursor.file * DIGEST_SIZE);
    contents.known[cursor.file] = 1;
  });
}

/** Calls `visit` for every file whose digest is not known: so many, after which nothing is looked at. */
function forEachUnknown(
  selection: readonly Gathered[],
  files: number,
  visit: (gathered: Gathered, cursor: ListingCursor) => void,
): void {
  let left = files;
  for (const gathered of selection) {
    const cursor = new ListingCursor(gathered.listing);
    while (left > 0 && cursor.next()) {
      if (cursor.type !== LISTED_FILE || gathered.contents.known[cursor.file] === 1) continue;
      left -= 1;
      visit(gathered, cursor);
    }
  }
}

/** Below both, files are read here. */
const FEW_FILES = 64;
const FEW_BYTES = 1 << 20;

export function isLittle({ files, bytes }: Pick<Unknown, 'files' | 'bytes'>): boolean {
  return files <= FEW_FILES && bytes <= FEW_BYTES;
}

/**
 * Makes the digests of all files known. `found`: what a look just now did not find. Throws CONTEXT_INVALID where one is
 * not as it was listed.
 */
export async function readContents(
  source: ContentSource,
  selection: readonly Gathered[],
  signal: AbortSignal,
  found: Unknown = lookUpDigests(source, selection),
): Promise<void> {
  if (found.haveNames) shareDigests(selection);
  const unknown = found.haveNames ? lookUpDigests(source, selection) : found;
  if (unknown.files === 0) return;
  if (isLittle(unknown)) readHere(source, selection, unknown.files);
  else await hashNatively(source, selection, unknown.files, signal);
}

/** Reads what is not known into memory, which keeps it for the layer. */
function readHere(source: ContentSource, selection: readonly Gathered[], files: number): void {
  forEachUnknown(selection, files, (gathered, cursor) => {
    const bytes = readWhole(source.tree, sourcePath(gathered, cursor), cursor);
    createHash('sha256')
      .update(bytes)
      .digest()
      .copy(gathered.contents.digests, cursor.file * DIGEST_SIZE);
    gathered.contents.bytes.set(cursor.file, bytes);
    learn(source, gathered, cursor, cursor.file);
  });
}

function readWhole(tree: Tree, path: ByteString, listed: ListingCursor): Uint8Array {
  try {
    using directory = tree.directory(parentOf(path));
    const fd = directory.open(nameOf(path));
    try {
      checkListed(fd, listed, path);
      const bytes = Buffer.allocUnsafe(listed.size);
      for (let at = 0; at < bytes.byteLength; ) {
        const n = readSync(fd, bytes, at, bytes.byteLength - at, null);
        if (n === 0) throw changed(path);
        at += n;
      }
      checkListed(fd, listed, path);
      return bytes;
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT' || errno === 'ELOOP' || errno === 'ENOTDIR') throw changed(path);
    throw ioError(`read ${JSON.stringify(toText(path))}`, error);
  }
}

/** Throws CONTEXT_INVALID where the open file is not the one that was listed, or has changed since. */
export function checkListed(
  fd: number,
  listed: { readonly ctime: number; readonly ctimeNs: number; readonly size: number },
  path: ByteString,
): void {
  const stat = fstatSync(fd, { bigint: true });
  const ctimeNs = BigInt(listed.ctime) * 1_000_000_000n + BigInt(listed.ctimeNs);
  if (!stat.isFile() || stat.ctimeNs !== ctimeNs || Number(stat.size) !== listed.size) throw changed(path);
}

/** Reads what is not known by one native call. Throws CONTEXT_INVALID, IO_FAILED, ABORTED. */
async function hashNatively(
  source: ContentSource,
  selection: readonly Gathered[],
  files: number,
  signal: AbortSignal,
): Promise<void> {
  const { descriptor } = source.tree;
  if (descriptor === undefined) return;
  const plan = new PackPlan();
  const roots = new Map<Gathered, number>();
  const hashed: (readonly [Gathered, number])[] = [];
  const inodes = new Set<string>();
  forEachUnknown(selection, files, (gathered, cursor) => {
    if (cursor.nlink > 1 && inodes.has(cursor.inode)) return;
    if (cursor.nlink > 1) inodes.add(cursor.inode);
    let root = roots.get(gathered);
    if (root === undefined) roots.set(gathered, (root = plan.root(descriptor, prefixOf(gathered), 0)));
    plan.entry('file', 0, 0, 0, 0, cursor.size, cursor.path, cursor.pathLength);
    plan.file(root, cursor, true);
    hashed.push([gathered, cursor.file]);
  });
  const digests = createReceived(plan.sources);
  await packPlan(plan, { signal, what: 'read the files to copy', onContents: digests.onContents });
  let next = 0;
  forEachUnknown(selection, files, (gathered, cursor) => {
    const [whose, file] = hashed[next] ?? [];
    // Another name of a file that was hashed.
    if (whose !== gathered || file !== cursor.file) return;
    digests.copy(next, gathered.contents.digests, cursor.file * DIGEST_SIZE);
    learn(source, gathered, cursor, cursor.file);
    next += 1;
  });
  shareDigests(selection);
}

/** What a pack call tells of contents, to be believed once the call has ended well. */
export interface Received {
  /** How many there were. */
  readonly count: number;
  /** As `PackPlan.earlier` takes them. */
  readonly contents: Uint8Array;
  readonly onContents: (contents: Uint8Array) => void;
  copy(index: number, to: Buffer, at: number): void;
}

/** For at most `most`. */
export function createReceived(most: number): Received {
  const all = Buffer.allocUnsafeSlow(most * EARLIER_SIZE);
  let used = 0;
  return {
    get count() {
      return used / EARLIER_SIZE;
    },
    get contents() {
      return all.subarray(0, used);
    },
    onContents(contents) {
      all.set(contents, used);
      used += contents.byteLength;
    },
    copy: (index, to, at) => copyDigest(all, index * EARLIER_SIZE, to, at),
  };
}
