/** Directories of files that are short cuts: losing one costs time. They are kept within a budget of bytes. */
import { readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** Removes the files that were written longest ago until the rest is within the budget; `own` stays in any case. */
export function keepNewest(directory: string, maxBytes: number, own: string): void {
  const sizeOf = (path: string): { readonly size: number; readonly mtimeMs: number } | undefined =>
    statSync(path, { throwIfNoEntry: false });
  const others = readdirSync(directory).flatMap((name) => {
    const path = join(directory, name);
    const stat = path === own ? undefined : sizeOf(path);
    return stat === undefined ? [] : [{ path, size: stat.size, time: stat.mtimeMs }];
  });
  let left = maxBytes - (sizeOf(own)?.size ?? 0);
  for (const { path, size } of others.sort((a, b) => b.time - a.time)) {
    left -= size;
    if (left < 0) rmSync(path, { force: true });
  }
}
