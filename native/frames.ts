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

/**
 * Calls `handle` for every whole frame, in order, for as long as the stream flows. The payload may be kept.
 * Bytes are copied for those frames alone that come in several chunks.
 */
export function readFrames(
  stream: Readable,
  handle: (type: number, id: number, payload: Buffer) => void,
): void {
  let parts: Buffer[] = [];
  let held = 0;
  /** How many bytes are needed to go on. */
  let wanted = HEAD;
  stream.on('data', (chunk: Buffer) => {
    parts.push(chunk);
    held += chunk.byteLength;
    if (held < wanted) return;
    const bytes = parts.length === 1 ? chunk : Buffer.concat(parts, held);
    let at = 0;
    wanted = HEAD;
    while (held - at >= HEAD) {
      const end = at + HEAD + bytes.readUInt32LE(at);
      if (end > held) {
        wanted = end - at;
        break;
      }
      handle(bytes.readUInt32LE(at + 4), bytes.readUInt32LE(at + 8), bytes.subarray(at + HEAD, end));
      at = end;
    }
    parts = at === held ? [] : [bytes.subarray(at)];
    held -= at;
  });
}
