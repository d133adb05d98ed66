/**
 * Modification times in whole seconds.
 *
 * why: Node's own calls take a time before 1970 for now.
 */
import { futimesSync, lutimesSync } from 'node:fs';
import { setTimeNs } from '../../native/sys.ts';

const NS_PER_S = 1_000_000_000n;

/** Of what lies at a path, a symlink itself included. */
export function setModified(path: string | Buffer, seconds: number): void {
  if (seconds < 0) setTimeNs(path, BigInt(seconds) * NS_PER_S);
  else lutimesSync(path, seconds, seconds);
}

/** Of an open file, which lies at `path`. */
export function setModifiedOpen(fd: number, path: string | Buffer, seconds: number): void {
  if (seconds < 0) setModified(path, seconds);
  else futimesSync(fd, seconds, seconds);
}
