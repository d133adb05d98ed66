/**
 * Where the contents of files lie in the layer that the same COPY made last, so that a layer of which a few files
 * changed is made from that one and from these.
 *
 * One file per COPY, replaced by rename: a head with the layer's diffID, the number of contents and what its file was
 * when it was made (whatever has changed it since, it is not taken from), 48 bytes for each content, 40 for each checkpoint of the layer's SHA-256, and the SHA-256 of all that. A short cut, as the stat cache is
 * one.
 */
import { createHash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readFileSync, statSync, type BigIntStats } from 'node:fs';
import { join } from 'node:path';
import { writeFileAtomic } from '../../../base/atomic-file.ts';
import { digestOf, hexOf, type DiffID } from '../../../base/digest.ts';
import type { Host } from '../../../base/host.ts';
import { canonicalJson, type Json } from '../../../base/json.ts';
import { keepNewest } from '../../../base/keep-newest.ts';
import type { LayerStore } from '../../../layer/layer.ts';
import { CHECKPOINT_SIZE, EARLIER_SIZE } from '../../../layer/pack-plan.ts';
import type { EarlierLayer } from './encode-plan.ts';
import { DIGEST_SIZE } from './gathered.ts';

const MAGIC = 'tsbuild copied layer 3\n';
/** Magic, number of contents, diffID, stamp. */
const HEAD = 96;
const COUNT_AT = 24;
const STAMP_AT = 64;
const STAMP = 32;
const TAIL = 32;
/** Digest, offset and size as doubles. */
const ENTRY = EARLIER_SIZE;
const MAX_ENTRIES = 500_000;
const MAX_CHECKPOINTS = 1 << 16;
/** All of them together. */
const MAX_BYTES = 64 << 20;

export interface EarlierLayers {
  /** The layer that was noted last for `identity`, where it is still there. */
  find(identity: Json): (EarlierLayer & Disposable) | undefined;
  note(identity: Json, layer: NotedLayer): void;
}

export interface NotedLayer {
  readonly diffID: DiffID;
  /** As `PackPlan.earlier` takes them, in the order of the layer. */
  readonly contents: Uint8Array;
  /** Of `Packed`. */
  readonly checkpoints: Uint8Array;
}

export function openEarlierLayers(root: string, host: Host, layers: Pick<LayerStore, 'get'>): EarlierLayers {
  const place = (identity: Json): string => join(root, hexOf(digestOf(canonicalJson(identity))).slice(0, 32));
  return {
    find(identity) {
      const bytes = readIfWhole(place(identity));
      if (bytes === undefined) return undefined;
      const diffID = `sha256:${bytes.toString('hex', 32, 64)}` as DiffID;
      const path = layers.get(diffID)?.path;
      return path === undefined ? undefined : openIfSame(path, bytes);
    },
    note(identity, layer) {
      const file = layers.get(layer.diffID)?.path;
      if (file === undefined) return;
      const path = place(identity);
      writeFileAtomic(host, path, encode(layer, stampOf(statSync(file, { bigint: true }))));
      keepNewest(root, MAX_BYTES, path);
    },
  };
}

/** Inode, size, and times that whoever writes to a file changes. */
function stampOf({ ino, size, mtimeNs, ctimeNs }: BigIntStats): Buffer {
  const stamp = Buffer.alloc(STAMP);
  for (const [index, value] of [ino, size, mtimeNs, ctimeNs].entries())
    stamp.writeBigUInt64LE(BigInt.asUintN(64, value), 8 * index);
  return stamp;
}

function encode({ diffID, contents, checkpoints }: NotedLayer, stamp: Buffer): Buffer {
  const parts = [
    contents.subarray(0, MAX_ENTRIES * ENTRY),
    checkpoints.subarray(0, MAX_CHECKPOINTS * CHECKPOINT_SIZE),
  ] as const;
  const head = Buffer.alloc(HEAD);
  head.write(MAGIC, 0);
  head.writeDoubleLE(parts[0].byteLength / ENTRY, COUNT_AT);
  head.write(hexOf(diffID), 32, 'hex');
  stamp.copy(head, STAMP_AT);
  const hash = createHash('sha256').update(head);
  for (const part of parts) hash.update(part);
  return Buffer.concat([head, ...parts, hash.digest()]);
}

function readIfWhole(path: string): Buffer | undefined {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch {
    return undefined;
  }
  const end = bytes.byteLength - TAIL;
  if (end < HEAD || bytes.toString('latin1', 0, MAGIC.length) !== MAGIC) return undefined;
  const checkpoints = end - HEAD - ENTRY * countOf(bytes);
  if (!(countOf(bytes) <= MAX_ENTRIES && checkpoints >= 0 && checkpoints % CHECKPOINT_SIZE === 0))
    return undefined;
  const digest = createHash('sha256').update(bytes.subarray(0, end)).digest();
  return digest.compare(bytes, end) === 0 ? bytes.subarray(0, end) : undefined;
}

function countOf(bytes: Buffer): number {
  return bytes.readDoubleLE(COUNT_AT);
}

function openIfSame(path: string, bytes: Buffer): (EarlierLayer & Disposable) | undefined {
  const fd = openSync(path, 'r');
  if (stampOf(fstatSync(fd, { bigint: true })).compare(bytes, STAMP_AT, STAMP_AT + STAMP) === 0)
    return earlierLayer(fd, bytes);
  closeSync(fd);
  return undefined;
}

function earlierLayer(fd: number, bytes: Buffer): EarlierLayer & Disposable {
  const count = countOf(bytes);
  const end = HEAD + count * ENTRY;
  const isOf = (entry: number, digests: Buffer, at: number, size: number): boolean =>
    sameDigest(bytes, HEAD + entry * ENTRY, digests, at) &&
    bytes.readDoubleLE(HEAD + entry * ENTRY + 40) === size;
  let index: ((digests: Buffer, at: number) => number) | undefined;
  /** why: contents are mostly asked for in the order in which they lie there. */
  let next = 0;
  return {
    fd,
    contents: bytes.subarray(HEAD, end),
    checkpoints: bytes.subarray(end),
    find(digests, at, size) {
      let entry = next;
      if (entry >= count || !isOf(entry, digests, at, size)) {
        entry = (index ??= indexOf(bytes, count))(digests, at);
        if (entry < 0 || !isOf(entry, digests, at, size)) return undefined;
      }
      next = entry + 1;
      return bytes.readDoubleLE(HEAD + entry * ENTRY + 32);
    },
    [Symbol.dispose]: () => closeSync(fd),
  };
}

/** Finds the last entry of a digest; -1 where there is none. */
function indexOf(bytes: Buffer, count: number): (digests: Buffer, at: number) => number {
  let slots = 1024;
  while (slots < 2 * count + 2) slots *= 2;
  const index = new Int32Array(slots).fill(-1);
  const slotOf = (digests: Buffer, at: number): number => {
    for (let slot = digests.readUInt32LE(at) & (slots - 1); ; slot = (slot + 1) & (slots - 1)) {
      const known = index[slot] ?? -1;
      if (known < 0 || sameDigest(bytes, HEAD + known * ENTRY, digests, at)) return slot;
    }
  };
  for (let entry = 0; entry < count; entry += 1) index[slotOf(bytes, HEAD + entry * ENTRY)] = entry;
  return (digests, at) => index[slotOf(digests, at)] ?? -1;
}

function sameDigest(a: Buffer, at: number, b: Buffer, other: number): boolean {
  for (let index = 0; index < DIGEST_SIZE; index += 1) if (a[at + index] !== b[other + index]) return false;
  return true;
}
