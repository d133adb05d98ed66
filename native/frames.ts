/** Frames between Node and the launcher: `u32 length, u32 type, u32 container id, payload` (launch/frames.h). */
import type { Readable } from 'node:stream';

const HEAD = 12;

export function encodeFrame(type: number, payload: Uint8Array, id = 0): Buffer {
  const head = Buffer.alloc(HEAD);
  head.writeUInt32LE(payload.byteLength, 0);
  head.writeUInt32LE(type, 4);
  head.writeUInt32LE(id, 8);
  return Buffer.concat([head, payload]);
}

/** Numbers of 32 bits, one after the other; negative ones as their complement. */
export function encodeU32(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [index, value] of values.entries()) bytes.writeUInt32LE(value >>> 0, 4 * index);
  return bytes;
}

/** Calls `handle` for every whole frame, in order, for as long as the stream flows. */
export function readFrames(
  stream: Readable,
  handle: (type: number, id: number, payload: Buffer) => void,
): void {
  let rest: Buffer = Buffer.alloc(0);
  stream.on('data', (chunk: Buffer) => {
    rest = rest.byteLength === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    while (rest.byteLength - at >= HEAD) {
      const length = rest.readUInt32LE(at);
      if (rest.byteLength - at - HEAD < length) break;
      handle(
        rest.readUInt32LE(at + 4),
        rest.readUInt32LE(at + 8),
        rest.subarray(at + HEAD, at + HEAD + length),
      );
      at += HEAD + length;
    }
    rest = rest.subarray(at);
  });
}
