/**
 * gzip in parallel by node:zlib, the same bytes on any number of cores: where the native program has no libdeflate.
 *
 * The input is cut into blocks of a fixed size; each is deflated on its own with the 32 KiB before it as dictionary
 * and ended by a sync flush, so that the blocks together are one ordinary gzip member (as pigz does it). The thread
 * pool of libuv runs them; what is in flight is bounded.
 *
 * Spec: RFC 1951, RFC 1952.
 */
import { constants, crc32 as nativeCrc32, deflateRaw } from 'node:zlib';

const BLOCK = 512 * 1024;
const DICTIONARY = 32 * 1024;
const IN_FLIGHT = 8;

/** Name of this engine, for remembering what it made. */
export const NODE_ENGINE = 'zlib512k';

export async function* gzipBlocks(source: AsyncIterable<Uint8Array>, level = 6): AsyncGenerator<Uint8Array> {
  yield Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
  const pending: Promise<Buffer>[] = [];
  let dictionary: Buffer = Buffer.alloc(0);
  let checksum = 0;
  let size = 0;
  const start = (block: Buffer): void => {
    checksum = crc32(block, checksum);
    size += block.byteLength;
    const compressed = deflate(block, dictionary, level);
    // why: a rejection is seen where it is awaited; until then it must not count as unhandled.
    compressed.catch(() => undefined);
    pending.push(compressed);
    dictionary = block.subarray(-DICTIONARY);
  };
  for await (const block of blocksOf(source)) {
    start(block);
    if (pending.length >= IN_FLIGHT) {
      const first = pending.shift();
      if (first !== undefined) yield await first;
    }
  }
  for (const each of pending) yield await each;
  const end = Buffer.alloc(10);
  // An empty final block, then CRC-32 and size modulo 2^32.
  end.writeUInt16LE(0x0003, 0);
  end.writeUInt32LE(checksum >>> 0, 2);
  end.writeUInt32LE(size % 2 ** 32, 6);
  yield end;
}

function deflate(block: Buffer, dictionary: Buffer, level: number): Promise<Buffer> {
  const options = {
    level,
    finishFlush: constants.Z_SYNC_FLUSH,
    ...(dictionary.byteLength > 0 ? { dictionary } : {}),
  };
  return new Promise((resolve, reject) =>
    deflateRaw(block, options, (error, result) => {
      if (error === null) resolve(result);
      else reject(error);
    }),
  );
}

/** Blocks of exactly BLOCK bytes, but for the last; each with memory of its own. */
async function* blocksOf(source: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  let block = Buffer.allocUnsafeSlow(BLOCK);
  let used = 0;
  for await (const chunk of source) {
    for (let at = 0; at < chunk.byteLength; ) {
      const part = chunk.subarray(at, at + BLOCK - used);
      block.set(part, used);
      used += part.byteLength;
      at += part.byteLength;
      if (used < BLOCK) continue;
      yield block;
      block = Buffer.allocUnsafeSlow(BLOCK);
      used = 0;
    }
  }
  if (used > 0) yield block.subarray(0, used);
}

let table: Uint32Array | undefined;

/** zlib's own where Node has it (20.15 and later), else the classic table. */
function crc32(bytes: Buffer, before: number): number {
  const native = nativeCrc32 as typeof nativeCrc32 | undefined;
  if (native !== undefined) return native(bytes, before);
  table ??= Uint32Array.from({ length: 256 }, (_, index) => {
    let value = index;
    for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
    return value;
  });
  let crc = ~before;
  for (const byte of bytes) crc = (table[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8);
  return ~crc >>> 0;
}
