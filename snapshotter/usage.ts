/** What a directory takes on disk: allocated bytes and inodes, hard links counted once. */
import { lstatSync, readdirSync } from 'node:fs';
import type { Usage } from './snapshotter.ts';

export function usageOf(root: string): Usage {
  const seen = new Set<number>();
  let size = 0;
  const pending: string[] = [root];
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    const stat = lstatSync(path);
    if (seen.has(stat.ino)) continue;
    seen.add(stat.ino);
    size += stat.blocks * 512;
    if (stat.isDirectory()) for (const name of readdirSync(path)) pending.push(`${path}/${name}`);
  }
  return { size, inodes: seen.size };
}
