/** Lists of cpus and memory nodes (`0-3,7`) as the bit masks of system calls. Pure. */
import { TsbuildError } from '../../base/errors.ts';

const MOST = 4096;

/** Bit n of byte n/8 for member n; a multiple of 8 bytes. Throws SPEC_INVALID. */
export function parseSet(text: string, what: string): Uint8Array {
  const members = text.split(',').flatMap((part) => {
    const match = /^\s*(\d+)(?:-(\d+))?\s*$/.exec(part);
    const [first, last] = [Number(match?.[1]), Number(match?.[2] ?? match?.[1])];
    if (match === null || last >= MOST || first > last)
      throw new TsbuildError('SPEC_INVALID', `invalid list of ${what}: ${JSON.stringify(text)}`);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
  const words = Math.floor(Math.max(...members) / 64) + 1;
  const mask = new Uint8Array(8 * words);
  for (const member of members) mask[member >> 3] = (mask[member >> 3] ?? 0) | (1 << (member & 7));
  return mask;
}
