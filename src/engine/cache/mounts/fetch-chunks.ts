/**
 * Chunks out of packs: neighbours by one request, everything checked against its digest.
 */
import { createHash } from 'node:crypto';
import pLimit from 'p-limit';
import { inflateRawSync } from 'node:zlib';
import type { Digest } from '../../../base/digest.ts';
import { allOrAbort } from '../../../content/copy-image.ts';
import type { IoOptions } from '../../../content/roles.ts';
import type { Descriptor } from '../../../oci/documents.ts';
import type { CachePlace } from '../cache-place.ts';
import { invalid } from '../step-document.ts';
import type { PlacedChunk } from './mount-index.ts';

const PARALLEL = 4;
/** Bytes that are cheaper to read than to ask again. */
const GAP = 64 << 10;
const MOST = 16 << 20;

export interface FetchOptions extends Pick<IoOptions, 'signal' | 'onNotice'> {
  readonly onChunk: (chunk: PlacedChunk, bytes: Uint8Array) => void;
  /** Bytes that arrived, of the range that is on its way. */
  readonly onMoved: (bytes: number) => void;
}

/** Throws CACHE_INVALID where a chunk is not what it should be; REGISTRY_*. */
export async function fetchChunks(
  place: CachePlace,
  packs: ReadonlyMap<Digest, Descriptor>,
  chunks: readonly PlacedChunk[],
  options: FetchOptions,
): Promise<void> {
  const limit = pLimit(PARALLEL);
  await allOrAbort(rangesOf(chunks), options, (range, inner) =>
    limit(() => fetchRange(place, packs, range, inner)),
  );
}

interface PackRange {
  readonly pack: Digest;
  readonly from: number;
  readonly to: number;
  readonly chunks: readonly PlacedChunk[];
}

function rangesOf(chunks: readonly PlacedChunk[]): readonly PackRange[] {
  const sorted = [...chunks].sort((a, b) =>
    a.pack < b.pack ? -1 : a.pack > b.pack ? 1 : a.offset - b.offset,
  );
  const ranges: { pack: Digest; from: number; to: number; chunks: PlacedChunk[] }[] = [];
  for (const chunk of sorted) {
    const last = ranges.at(-1);
    const end = chunk.offset + chunk.stored;
    const isNear =
      last?.pack === chunk.pack &&
      chunk.offset <= last.to + GAP &&
      chunk.offset >= last.to &&
      end - last.from <= MOST;
    if (last === undefined || !isNear)
      ranges.push({ pack: chunk.pack, from: chunk.offset, to: end, chunks: [chunk] });
    else {
      last.to = end;
      last.chunks.push(chunk);
    }
  }
  return ranges;
}

async function fetchRange(
  place: CachePlace,
  packs: ReadonlyMap<Digest, Descriptor>,
  { pack, from, to, chunks }: PackRange,
  options: FetchOptions,
): Promise<void> {
  const { signal, onNotice, onChunk, onMoved } = options;
  const descriptor = packs.get(pack);
  if (descriptor === undefined || to > descriptor.size) throw invalid('a chunk lies outside of its pack');
  const waiting = [...chunks];
  let held: Buffer[] = [];
  let heldSize = 0;
  let at = from;
  for await (const part of place.openRange(descriptor, { from, size: to - from }, { signal, onNotice })) {
    onMoved(part.byteLength);
    held.push(Buffer.from(part));
    heldSize += part.byteLength;
    let [next] = waiting;
    if (next === undefined || next.offset + next.stored > at + heldSize) continue;
    const bytes = Buffer.concat(held);
    let done = 0;
    while (next !== undefined && next.offset + next.stored <= at + bytes.byteLength) {
      const begin = next.offset - at;
      onChunk(next, checked(next, bytes.subarray(begin, begin + next.stored)));
      done = begin + next.stored;
      waiting.shift();
      [next] = waiting;
    }
    held = [bytes.subarray(done)];
    heldSize = bytes.byteLength - done;
    at += done;
  }
  if (waiting.length > 0) throw invalid('a pack ends too early');
}

function checked({ digest, size, stored }: PlacedChunk, bytes: Buffer): Uint8Array {
  const whole = stored === size ? bytes : inflated(bytes, size);
  if (whole.byteLength !== size || createHash('sha256').update(whole).digest('base64') !== digest)
    throw invalid('a chunk is not what its digest says');
  return whole;
}

function inflated(bytes: Buffer, size: number): Buffer {
  try {
    return inflateRawSync(bytes, { maxOutputLength: size });
  } catch {
    throw invalid('a chunk cannot be decompressed');
  }
}
