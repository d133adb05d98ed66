/**
 * A plan for the native packing of a layer, as bytes (native/tree/pack-plan.h): entries in the order of the layer.
 *
 * Of each entry first `entry`, then what it has of link, capability and device, in this order, its source last.
 */
import { toText, type ByteString } from '../base/byte-string.ts';
import { ioError, type TsbuildError } from '../base/errors.ts';
import { changed } from './changed.ts';
import { callTree } from '../../native/tree.ts';
import type { DiffID } from '../base/digest.ts';
import type { ListingCursor } from './listing.ts';
import type { TarEntryType } from './tar-header.ts';
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
/** type, flags, mode, uid, gid, mtime, size, keep, more. */
const HEAD = 32;
const MAX_PATH = 65535;
/** why: memory that is new is what costs most, so nothing is copied into a larger buffer. */
const FIRST_CHUNK = 1 << 14;
const CHUNK = 1 << 18;
const TWO_32 = 2 ** 32;
const NS_PER_S = 1_000_000_000n;

/** Numbers that do not fit are refused by RangeError: see `fitsPlan`. */
export class PackPlan {
  /** What the plan's descriptors are; the caller's. */
  readonly descriptors: number[] = [];
  entries = 0;
  /** How many of them have a source. */
  sources = 0;
  /** What is full; the rest is in `#bytes`. */
  readonly #chunks: Buffer[] = [];
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
    this.entries += 1;
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
  encode(writes: boolean): readonly Uint8Array[] {
    const head = Buffer.alloc(8);
    head.writeUInt32LE(writes ? 1 : 0, 0);
    head.writeUInt32LE(this.#roots.length, 4);
    const count = Buffer.alloc(4);
    count.writeUInt32LE(this.entries);
    return [head, Buffer.concat(this.#roots), count, ...this.#chunks, this.#bytes.subarray(0, this.#used)];
  }
}

export interface PackCall {
  /** Descriptor of an empty file, which becomes the tar; undefined: only digests are made. */
  readonly out?: number;
  readonly signal: AbortSignal;
  /** For messages: `pack a layer`. */
  readonly what: string;
  /**
   * Told of each entry that has a source, in order: where its content begins in the tar, and its digest as 32 bytes
   * at `at` of `bytes`, which are valid during the call. Zeros: it was not wanted.
   */
  readonly onContent: (offset: number, bytes: Buffer, at: number) => void;
}

export interface Packed {
  readonly diffID: DiffID;
  /** Bytes of the tar. */
  readonly size: number;
}

const CONTENT = 40;

/** Throws CONTEXT_INVALID where a file is not as it was planned, DISK_FULL, IO_FAILED, ABORTED. */
export async function packPlan(plan: PackPlan, call: PackCall): Promise<Packed> {
  const { out, signal, what, onContent } = call;
  const done = await callTree({
    job: 'pack',
    what,
    request: plan.encode(out !== undefined),
    descriptors: out === undefined ? plan.descriptors : [out, ...plan.descriptors],
    signal,
    refused,
    onData(payload) {
      for (let at = 0; at + CONTENT <= payload.byteLength; at += CONTENT) {
        const offset = payload.readUInt32LE(at) + payload.readUInt32LE(at + 4) * TWO_32;
        onContent(offset, payload, at + 8);
      }
    },
  });
  return {
    diffID: `sha256:${done.toString('hex', 0, 32)}` as DiffID,
    size: Number(done.readBigUInt64LE(32)),
  };
}

function refused(errno: string, text: string): TsbuildError | undefined {
  if (errno === 'ESTALE') return changed(text);
  const path = /^read (.*)$/s.exec(text)?.[1];
  return path === undefined
    ? undefined
    : ioError(`read ${JSON.stringify(toText(path))}`, Object.assign(new Error(errno), { code: errno }));
}
