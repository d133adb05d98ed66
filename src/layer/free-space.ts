/** Sizes that an archive claims, against what the disk has. */
import { statfsSync } from 'node:fs';
import { TsbuildError } from '../base/errors.ts';

/** Smaller files are written until the disk says no. */
const LARGE = 1 << 30;

/** A size that cannot be true is refused before the disk is full of it. `path` lies on the disk. Throws DISK_FULL. */
export function requireSpace(path: string, size: number): void {
  if (size <= LARGE) return;
  const { bavail, bsize } = statfsSync(path);
  if (size > bavail * bsize)
    throw new TsbuildError('DISK_FULL', `a file of ${size} bytes does not fit on the disk`);
}
