/** Pieces of a stream, of any size, some of which come back to be cut differently. Holds one piece at a time. */

export interface ChunkReader {
  /** So many bytes; fewer at the end. */
  take(size: number): Promise<Uint8Array>;
  /** The next bytes of the stream, once more. */
  giveBack(bytes: Uint8Array): void;
  close(): Promise<void>;
}

export function createChunkReader(source: AsyncIterable<Uint8Array>): ChunkReader {
  const iterator = source[Symbol.asyncIterator]();
  let held: Uint8Array[] = [];
  let size = 0;
  let ended = false;
  return {
    async take(wanted) {
      while (size < wanted && !ended) {
        const next = await iterator.next();
        if (next.done === true) ended = true;
        else {
          // why: a source may reuse its buffer once it is asked for more.
          held.push(Uint8Array.from(next.value));
          size += next.value.byteLength;
        }
      }
      const all = held.length === 1 && held[0] !== undefined ? held[0] : Buffer.concat(held);
      const taken = all.subarray(0, wanted);
      held = all.byteLength > wanted ? [all.subarray(wanted)] : [];
      size = Math.max(0, all.byteLength - wanted);
      return taken;
    },
    giveBack(bytes) {
      held.unshift(bytes);
      size += bytes.byteLength;
    },
    async close() {
      await iterator.return?.();
    },
  };
}
