/**
 * A plan for the native packing of a layer, as bytes (native/tree/pack-expand.h): entries in the order of the layer, and
 * whole trees from their listings.
 *
 * Of each entry first `entry`, then what it has of link, capability, device and digest, in this order, its source last.
 */
import { toText, type ByteString } from '../base/byte-string.ts';
import { ioError, type TsbuildError } from '../base/errors.ts';
import { changed } from './changed.ts';
import { callTree } from '../../native/tree.ts';
import { copyDigest, type DiffID } from '../base/digest.ts';
import type { Listing, ListingCursor } from './listing.ts';
import { tooLong, type TarEntryType } from './tar-header.ts';
import type { EntryStat } from './tree.ts';

const TYPE_FLAGS: Readonly<Record<TarEntryType, number>> = {
  file: 0x30,
  hardlink: 0x31,
  symlink: 0x32,
  char: 0x33,
  block: 0x34,
  directory: 0x35,
  fifo: 0x36,
};
const SOURCE_FILE = 1;
const SOURCE_RANGE = 2;
const SOURCE_INLINE = 3;
const DIGEST = 4;
const LINK = 8;
const CAPABILITY = 16;
const DEVICE = 32;
const KNOWN = 64;
/** type, flags, mode, uid, gid, mtime, size, keep, more. */
const HEAD = 32;
const MAX_PATH = 65535;
const BLOCK_ENTRIES = 0;
const BLOCK_TREE = 1;
const BLOCK_EARLIER = 2;
const BLOCK_CHECKPOINTS = 3;
const TREE_OWNER = 1;
const TREE_MODE = 2;
const TREE_DIGESTS = 4;
const DIGEST_SIZE = 32;
/** Of the call. */
const WRITES = 1;
const TELLS_GROWTH = 2;
const MAX_I64 = (1n << 63n) - 1n;
/** why: memory that is new is what costs most, so nothing is copied into a larger buffer. */
const FIRST_CHUNK = 1 << 14;
const CHUNK = 1 << 18;
const TWO_32 = 2 ** 32;
const NS_PER_S = 1_000_000_000n;

/** A listing as a whole, none of whose files has several names. */
export interface PackTree {
  /** Of `PackPlan.root`. */
  readonly root: number;
  /** Where its entries go: with a slash at the end, or empty. */
  readonly target: ByteString;
  readonly listing: Listing;
  /** Of all entries; undefined: each has its own. */
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
  /** The same, but for symlinks and sockets. */
  readonly mode: number | undefined;
  /** Seconds; later ones become this. */
  readonly maxMtime: number | undefined;
  /** By the number of a file: 1 where its digest is known, and 32 bytes each. */
  readonly known: Uint8Array;
  readonly digests: Uint8Array;
  /** Whether digests that are not known are wanted. */
  readonly wantsDigests: boolean;
  /** Files that are in memory. */
  readonly contents: ReadonlyMap<number, Uint8Array>;
}

/** Bytes of a content of `PackPlan.earlier`. */
export const EARLIER_SIZE = 48;
/** And of a checkpoint. */
export const CHECKPOINT_SIZE = 40;

/** Numbers that do not fit are refused by RangeError: see `fitsPlan`. */
export class PackPlan {
  /** What the plan's descriptors are; the caller's. */
  readonly descriptors: number[] = [];
  /** How many entries that are no tree's have a source. */
  sources = 0;
  /** Blocks that are complete. */
  readonly #blocks: Uint8Array[] = [];
  #blockCount = 0;
  /** Of the last block: its entries, what is full, and the rest in `#bytes`. */
  #entries = 0;
  #chunks: Buffer[] = [];
  #bytes = Buffer.allocUnsafeSlow(FIRST_CHUNK);
  #view = new DataView(this.#bytes.buffer);
  #used = 0;
  /** Where the entry's flags are. */
  #flags: Buffer = this.#bytes;
  #flagsAt = 0;
  readonly #path = new Uint8Array(MAX_PATH);
  #pathLength = 0;
  readonly #roots: Buffer[] = [];

  /** Where files of the plan lie: in the directory `fd`, `prefix` and an entry's path without its first `cut` bytes. */
  root(fd: number, prefix: ByteString, cut: number): number {
    const bytes = Buffer.alloc(12 + prefix.length);
    bytes.writeUInt32LE(this.#descriptor(fd), 0);
    bytes.writeUInt32LE(cut, 4);
    bytes.writeUInt32LE(prefix.length, 8);
    bytes.write(prefix, 12, 'latin1');
    return this.#roots.push(bytes) - 1;
  }

  #descriptor(fd: number): number {
    const known = this.descriptors.indexOf(fd);
    return known >= 0 ? known : this.descriptors.push(fd) - 1;
  }

  #room(size: number): number {
    if (this.#used + size > this.#bytes.byteLength) {
      this.#chunks.push(this.#bytes.subarray(0, this.#used));
      this.#bytes = Buffer.allocUnsafeSlow(Math.max(CHUNK, size));
      this.#view = new DataView(this.#bytes.buffer);
      this.#used = 0;
    }
    const at = this.#used;
    this.#used = at + size;
    return at;
  }

  /** `path`: its first `length` bytes. A hard link's `size` is 0. */
  entry(
    type: TarEntryType,
    mode: number,
    uid: number,
    gid: number,
    mtime: number,
    size: number,
    path: Uint8Array,
    length: number,
  ): void {
    if (length > MAX_PATH) throw new RangeError('the path is too long for a plan');
    const last = this.#path;
    const most = Math.min(length, this.#pathLength);
    let keep = 0;
    while (keep < most && path[keep] === last[keep]) keep += 1;
    const more = length - keep;
    const at = this.#room(HEAD + more);
    const view = this.#view;
    const bytes = this.#bytes;
    for (let index = 0; index < more; index += 1)
      bytes[at + HEAD + index] = last[keep + index] = path[keep + index] ?? 0;
    this.#pathLength = length;
    this.#flags = bytes;
    this.#flagsAt = at + 1;
    view.setUint16(at, TYPE_FLAGS[type], true);
    view.setUint16(at + 2, mode, true);
    view.setUint32(at + 4, uid, true);
    view.setUint32(at + 8, gid, true);
    const seconds = Math.floor(mtime / TWO_32);
    view.setUint32(at + 12, mtime - seconds * TWO_32, true);
    view.setInt32(at + 16, seconds, true);
    view.setUint32(at + 20, size % TWO_32, true);
    view.setUint32(at + 24, Math.floor(size / TWO_32), true);
    view.setUint16(at + 28, keep, true);
    view.setUint16(at + 30, more, true);
    this.#entries += 1;
  }

  #flag(flag: number): void {
    this.#flags[this.#flagsAt] = (this.#flags[this.#flagsAt] ?? 0) | flag;
  }

  link(target: ByteString): void {
    this.#flag(LINK);
    const at = this.#room(2 + target.length);
    this.#view.setUint16(at, target.length, true);
    this.#bytes.write(target, at + 2, 'latin1');
  }

  capability(value: Uint8Array): void {
    this.#flag(CAPABILITY);
    const at = this.#room(1 + value.byteLength);
    this.#bytes[at] = value.byteLength;
    this.#bytes.set(value, at + 1);
  }

  device(major: number, minor: number): void {
    this.#flag(DEVICE);
    const at = this.#room(8);
    this.#view.setUint32(at, major, true);
    this.#view.setUint32(at + 4, minor, true);
  }

  /** The digest of its content, 32 bytes at `from`. */
  known(digests: Uint8Array, from: number): void {
    this.#flag(KNOWN);
    const at = this.#room(DIGEST_SIZE);
    copyDigest(digests, from, this.#bytes, at);
  }

  #source(source: number, wantsDigest: boolean): void {
    this.#flag(source | (wantsDigest ? DIGEST : 0));
    this.sources += 1;
  }

  /** A file of `root`, which must be as `listed` says when it is read. */
  file(root: number, listed: ListingCursor, wantsDigest: boolean): void {
    this.#source(SOURCE_FILE, wantsDigest);
    const at = this.#room(24);
    const view = this.#view;
    view.setUint32(at, root, true);
    view.setUint32(at + 4, listed.word(14), true);
    view.setUint32(at + 8, listed.word(15), true);
    view.setUint32(at + 12, listed.word(10), true);
    view.setUint32(at + 16, listed.word(11), true);
    view.setUint32(at + 20, listed.ctimeNs, true);
  }

  /** As `file`, where no listing was made. */
  looked(root: number, { ino, ctimeNs }: Pick<EntryStat, 'ino' | 'ctimeNs'>): void {
    this.#source(SOURCE_FILE, false);
    const at = this.#room(24);
    const view = this.#view;
    const nanoseconds = BigInt.asUintN(64, ((ctimeNs % NS_PER_S) + NS_PER_S) % NS_PER_S);
    view.setUint32(at, root, true);
    view.setBigUint64(at + 4, BigInt(ino), true);
    view.setBigInt64(at + 12, (ctimeNs - nanoseconds) / NS_PER_S, true);
    view.setUint32(at + 20, Number(nanoseconds), true);
  }

  range(fd: number, offset: number): void {
    this.#source(SOURCE_RANGE, false);
    const at = this.#room(12);
    this.#view.setUint32(at, this.#descriptor(fd), true);
    this.#view.setUint32(at + 4, offset % TWO_32, true);
    this.#view.setUint32(at + 8, Math.floor(offset / TWO_32), true);
  }

  /** As many bytes as the entry's size says. */
  inline(bytes: Uint8Array): void {
    this.#source(SOURCE_INLINE, false);
    const at = this.#room(bytes.byteLength);
    this.#bytes.set(bytes, at);
  }

  /** The request of the call. */
  encode(writes: boolean, tellsGrowth = false): readonly Uint8Array[] {
    const head = Buffer.alloc(8);
    head.writeUInt32LE((writes ? WRITES : 0) | (tellsGrowth ? TELLS_GROWTH : 0), 0);
    head.writeUInt32LE(this.#roots.length, 4);
    this.#endBlock();
    return [head, Buffer.concat(this.#roots), words(this.#blockCount), ...this.#blocks];
  }

  /** What lies in an open tar, where the trees that follow need not read it: a digest, place and size as doubles each. */
  earlier(fd: number, contents: Uint8Array): void {
    this.#endBlock();
    this.#blockCount += 1;
    const count = contents.byteLength / EARLIER_SIZE;
    this.#blocks.push(words(BLOCK_EARLIER, this.#descriptor(fd), count), contents);
  }

  /**
   * An open tar that entries of the plan may lie in as they are, headers and all, with what `Packed.checkpoints` was when
   * it was made. What both have in common at the beginning is not hashed again.
   */
  earlierTar(fd: number, checkpoints: Uint8Array): void {
    this.#endBlock();
    this.#blockCount += 1;
    const count = Math.floor(checkpoints.byteLength / CHECKPOINT_SIZE);
    this.#blocks.push(words(BLOCK_CHECKPOINTS, this.#descriptor(fd), count), checkpoints);
  }

  /** After all entries so far. Its files with content are sources that `sources` does not count. */
  tree(tree: PackTree): void {
    const { root, target, owner, mode, maxMtime, known, digests, contents, listing } = tree;
    this.#endBlock();
    this.#pathLength = 0;
    this.#blockCount += 1;
    const flags =
      (owner === undefined ? 0 : TREE_OWNER) |
      (mode === undefined ? 0 : TREE_MODE) |
      (tree.wantsDigests ? TREE_DIGESTS : 0);
    const latest = Buffer.alloc(8);
    latest.writeBigInt64LE(maxMtime === undefined ? MAX_I64 : BigInt(maxMtime));
    const files = [...contents].filter(([, { byteLength }]) => byteLength > 0).sort(([a], [b]) => a - b);
    const records = listing.segments.reduce((sum, { byteLength }) => sum + byteLength, 0);
    this.#blocks.push(
      words(BLOCK_TREE, root, flags, owner?.uid ?? 0, owner?.gid ?? 0, mode ?? 0),
      ...[latest, words(target.length), Buffer.from(target, 'latin1'), words(listing.entries)],
      known.subarray(0, listing.entries),
      digests.subarray(0, listing.entries * DIGEST_SIZE),
      words(files.length),
      ...files.flatMap(([file, bytes]) => [words(file, bytes.byteLength), bytes]),
      ...[words(records), ...listing.segments],
    );
  }

  #endBlock(): void {
    if (this.#entries === 0) return;
    const chunks = [...this.#chunks, this.#bytes.subarray(0, this.#used)];
    const size = chunks.reduce((sum, { byteLength }) => sum + byteLength, 0);
    this.#blocks.push(words(BLOCK_ENTRIES, this.#entries, size), ...chunks);
    this.#blockCount += 1;
    this.#entries = 0;
    this.#chunks = [];
    this.#bytes = this.#bytes.subarray(this.#used);
    this.#view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset);
    this.#used = 0;
  }
}

function words(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [index, value] of values.entries()) bytes.writeUInt32LE(value, 4 * index);
  return bytes;
}

export interface PackCall {
  /** Descriptor of an empty file, which becomes the tar; undefined: only digests are made. */
  readonly out?: number;
  readonly signal: AbortSignal;
  /** For messages: `pack a layer`. */
  readonly what: string;
  /**
   * Told of entries that have a source, in order: EARLIER_SIZE bytes each, as `PackPlan.earlier` takes them, which are
   * valid during the call. A digest of zeros is neither known nor wanted.
   */
  readonly onContents: (contents: Buffer) => void;
  /** So many bytes of the tar can be read already: every MiB or so. */
  readonly onGrown?: ((size: number) => void) | undefined;
}

export interface Packed {
  readonly diffID: DiffID;
  /** Bytes of the tar. */
  readonly size: number;
  /** The state of its SHA-256 every few MiB: u64 where, eight u32. */
  readonly checkpoints: Uint8Array;
}

/** Throws ARCHIVE_INVALID where a name is too long, CONTEXT_INVALID where a file is not as it was planned, DISK_FULL, IO_FAILED, ABORTED. */
export async function packPlan(plan: PackPlan, call: PackCall): Promise<Packed> {
  const { out, signal, what, onContents, onGrown } = call;
  const done = await callTree({
    job: 'pack',
    what,
    request: plan.encode(out !== undefined, onGrown !== undefined),
    descriptors: out === undefined ? plan.descriptors : [out, ...plan.descriptors],
    signal,
    refused,
    onData: onContents,
    ...(onGrown === undefined ? {} : { onProgress: onGrown }),
  });
  return {
    diffID: `sha256:${done.toString('hex', 0, 32)}` as DiffID,
    size: Number(done.readBigUInt64LE(32)),
    checkpoints: done.subarray(40),
  };
}

function refused(errno: string, text: string): TsbuildError | undefined {
  if (errno === 'ESTALE') return changed(text);
  if (errno === 'ENAMETOOLONG' && /^\d+$/.test(text)) return tooLong(Number(text));
  const path = /^read (.*)$/s.exec(text)?.[1];
  return path === undefined
    ? undefined
    : ioError(`read ${JSON.stringify(toText(path))}`, Object.assign(new Error(errno), { code: errno }));
}
