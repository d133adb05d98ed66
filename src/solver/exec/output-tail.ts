/** The last lines of a step's output, kept for its error. */

const MAX_LINES = 20;
const MAX_BYTES = 16 * 1024;

export interface OutputTail {
  add(data: Uint8Array): void;
  lines(): readonly string[];
}

export function createOutputTail(): OutputTail {
  let kept: Buffer = Buffer.alloc(0);
  return {
    add(data) {
      kept = Buffer.concat([kept, data.subarray(-MAX_BYTES)]);
      if (kept.byteLength > MAX_BYTES) kept = kept.subarray(-MAX_BYTES);
    },
    lines() {
      const lines = kept.toString('utf8').split(/\r?\n/);
      while (lines.at(-1) === '') lines.pop();
      return lines.slice(-MAX_LINES);
    },
  };
}
