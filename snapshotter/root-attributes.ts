/**
 * The root directory itself is in no layer that tsbuild packs: a state has the root attributes of its parent,
 * whoever made it, so that the same stack of layers looks the same everywhere.
 */
import { chmodSync, chownSync, statSync } from 'node:fs';
import { setTimeNs } from '../native/sys.ts';

/** `parent` undefined: an empty root, 0755 root:root of the epoch. */
export function inheritRoot(files: string, parent: string | undefined): void {
  const from = parent === undefined ? undefined : statSync(parent, { bigint: true });
  chownSync(files, Number(from?.uid ?? 0n), Number(from?.gid ?? 0n));
  chmodSync(files, Number((from?.mode ?? 0o755n) & 0o7777n));
  setTimeNs(files, from?.mtimeNs ?? 0n);
}
