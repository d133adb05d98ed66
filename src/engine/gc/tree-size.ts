/**
 * What directories take, remembered: a snapshot never changes, a cache mount does not between two uses.
 *
 *   <root>/sizes/<digest of the path>.json   { size, used }
 */
import { rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { readJsonIfExists, writeFileAtomic } from '../../base/atomic-file.ts';
import { digestOf, hexOf } from '../../base/digest.ts';
import { errnoOf, isTsbuildError } from '../../base/errors.ts';
import type { Host } from '../../base/host.ts';
import { isJsonObject } from '../../base/json.ts';
import { usageOf } from '../../base/usage.ts';

export interface SizeNotes {
  get(path: string): { readonly size: number; readonly used: number } | undefined;
  put(path: string, size: number, used: number): void;
  drop(path: string): void;
}

export function openSizeNotes(root: string, host: Host): SizeNotes {
  const place = (path: string): string =>
    join(root, 'sizes', `${hexOf(digestOf(relative(root, path))).slice(0, 32)}.json`);
  return {
    get(path) {
      const value = readJsonIfExists(place(path));
      if (!isJsonObject(value)) return undefined;
      const { size, used } = value;
      return typeof size === 'number' && typeof used === 'number' ? { size, used } : undefined;
    },
    put(path, size, used) {
      try {
        writeFileAtomic(host, place(path), JSON.stringify({ size, used }));
      } catch (error) {
        // A short cut: on a full disk it is counted again the next time.
        if (!isTsbuildError(error)) throw error;
      }
    },
    drop: (path) => rmSync(place(path), { force: true }),
  };
}

/** `used`: when it changed last, where it does change; 0 for what is gone or is going meanwhile. */
export function sizeOfTree(path: string, notes: SizeNotes | undefined, used = 0): number {
  const noted = notes?.get(path);
  if (noted !== undefined && noted.used === used) return noted.size;
  try {
    const { size } = usageOf(path);
    notes?.put(path, size, used);
    return size;
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT' || errno === 'ENOTDIR') return 0;
    throw error;
  }
}
