/**
 * Removing a directory that somebody hostile may have filled. What a process makes step by step, by `cd` and `mkdir`, may lie
 * deeper than any path reaches: its upper part is cut off then, and both are removed.
 */
import { lstatSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { errnoOf } from './errors.ts';

/** Bytes of a path below which directories are looked into by it: what lies in them has a path as well. */
const LONG = 2048;
const SLASH = Buffer.from('/');

/** As `rmSync`, recursive and forced, however deep. Throws what it throws, but for ENAMETOOLONG. */
export function removeTree(path: string | Buffer): void {
  for (;;)
    try {
      rmSync(path, { recursive: true, force: true });
      return;
    } catch (error) {
      // why RangeError: it calls itself for each level, and a path has room for two thousand.
      const isDeep = errnoOf(error) === 'ENAMETOOLONG' || error instanceof RangeError;
      if (!isDeep || !shorten(path)) throw error;
    }
}

/** Moves directories with long paths to the top; false where there are none. */
function shorten(top: string | Buffer): boolean {
  let moved = 0;
  const pending: Buffer[] = [Buffer.from(top)];
  for (let at = pending.pop(); at !== undefined; at = pending.pop())
    for (const entry of readdirSync(at, { withFileTypes: true, encoding: 'buffer' })) {
      if (!entry.isDirectory()) continue;
      const child = Buffer.concat([at, SLASH, entry.name]);
      if (child.byteLength <= LONG) pending.push(child);
      else {
        renameSync(child, freeName(top, moved));
        moved += 1;
      }
    }
  return moved > 0;
}

function freeName(top: string | Buffer, from: number): Buffer {
  for (let number = from; ; number += 1) {
    const path = Buffer.concat([Buffer.from(top), Buffer.from(`/.cut-${number}`)]);
    if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return path;
  }
}
