/** Where builds note what they found unchanged (src/cli/unchanged-build.ts), and how such notes end. */
import { utimesSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileAtomic } from '../base/atomic-file.ts';
import { errnoOf, ioError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';

export function unchangedDirectory(root: string): string {
  return join(root, 'unchanged');
}

/** Changed each time that a result was removed, or another one took its place: notes from before do not hold. */
export function changeMark(root: string): string {
  return join(root, 'records', 'changed');
}

/** Throws DISK_FULL, IO_FAILED. */
export function endNotes(root: string, host: Host): void {
  const now = host.now() / 1000;
  try {
    utimesSync(changeMark(root), now, now);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw ioError('note a change of the cache', error);
    writeFileAtomic(host, changeMark(root), '');
  }
}
