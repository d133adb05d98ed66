/** What a directory takes on disk: allocated bytes and inodes, hard links counted once. */
import { lstatSync, readdirSync } from 'node:fs';
import { fsPath, type ByteString } from './byte-string.ts';
import { errnoOf } from './errors.ts';

/** Bytes that Linux takes. */
const MAX_PATH = 4096;

export interface Usage {
  /** Bytes that are allocated. */
  readonly size: number;
  readonly inodes: number;
}

/** What lies deeper than a path reaches is not counted. */
export function usageOf(root: string): Usage {
  const seen = new Set<number>();
  let size = 0;
  // Paths as byte strings below the root: names need not be UTF-8.
  const pending: ByteString[] = [''];
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    if (root.length + path.length >= MAX_PATH) continue;
    const at = fsPath(root, path);
    const stat = lstatSync(at);
    if (seen.has(stat.ino)) continue;
    seen.add(stat.ino);
    size += stat.blocks * 512;
    if (stat.isDirectory()) for (const name of readdirSync(at, 'latin1')) pending.push(`${path}/${name}`);
  }
  return { size, inodes: seen.size };
}

/** Bytes that are allocated; 0 where others remove it meanwhile. */
export function sizeIfThere(root: string): number {
  try {
    return usageOf(root).size;
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT' || errno === 'ENOTDIR') return 0;
    throw error;
  }
}
