/**
 * Content-defined chunks: where a file is cut depends on the bytes before the cut alone, so that what is inserted or
 * changed in one place moves no cut elsewhere.
 *
 * A gear hash rolls over the bytes; a cut is where its upper bits are zero, seldom before the average size and often
 * after it, so that sizes stay near the average ("normalized chunking").
 *
 * Source: Xia et al., "FastCDC: a Fast and Efficient Content-Defined Chunking Approach" (USENIX ATC 2016).
 */

/** Part of the format: other numbers make other chunks, and caches do not share them. */
export const MIN_CHUNK = 32 << 10;
export const AVERAGE_CHUNK = 128 << 10;
export const MAX_CHUNK = 512 << 10;

const AVERAGE_BITS = Math.log2(AVERAGE_CHUNK);
/** Bits that must be zero before the average size, and after it. */
const STRICT = maskOf(AVERAGE_BITS + 2);
const LENIENT = maskOf(AVERAGE_BITS - 2);

/** The upper bits: the lower ones know only of the last few bytes. */
function maskOf(bits: number): number {
  return -1 << (32 - bits);
}

/** One number per byte, made by xorshift from a fixed seed: the same everywhere. */
const GEAR = gearTable();

function gearTable(): Int32Array {
  const table = new Int32Array(256);
  let state = 0x9e3779b9;
  for (let index = 0; index < 256; index += 1) {
    for (let round = 0; round < 4; round += 1) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
    }
    table[index] = state;
  }
  return table;
}

/**
 * Where the first chunk of `bytes` ends: at most at `MAX_CHUNK`, and at the end where no cut comes before it. What
 * is shorter than MAX_CHUNK must be the rest of the file.
 */
export function cutOf(bytes: Uint8Array): number {
  const size = bytes.byteLength;
  if (size <= MIN_CHUNK) return size;
  const middle = Math.min(size, AVERAGE_CHUNK);
  const end = Math.min(size, MAX_CHUNK);
  let hash = 0;
  let at = MIN_CHUNK;
  for (; at < middle; at += 1) {
    hash = ((hash << 1) + (GEAR[bytes[at] ?? 0] ?? 0)) | 0;
    if ((hash & STRICT) === 0) return at + 1;
  }
  for (; at < end; at += 1) {
    hash = ((hash << 1) + (GEAR[bytes[at] ?? 0] ?? 0)) | 0;
    if ((hash & LENIENT) === 0) return at + 1;
  }
  return end;
}
