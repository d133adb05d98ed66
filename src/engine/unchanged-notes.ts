/** Where builds note what they found unchanged (src/cli/unchanged-build.ts), and how such notes end. */
import { join } from 'node:path';
import { writeFileAtomic } from '../base/atomic-file.ts';
import type { Host } from '../base/host.ts';

export function unchangedDirectory(root: string): string {
  return join(root, 'unchanged');
}

/** Another file each time that a result was removed, or another one took its place: notes from before do not hold. */
export function changeMark(root: string): string {
  return join(root, 'records', 'changed');
}

/** Throws DISK_FULL, IO_FAILED. */
export function endNotes(root: string, host: Host): void {
  writeFileAtomic(host, changeMark(root), '');
}
