/**
 * Whether a descriptor is a terminal, for the first moments of a start: `node:tty` is loaded, with all of `node:net`, where
 * it may be one alone.
 */
import { fstatSync } from 'node:fs';

/** Major number of /dev/null and its like (admin-guide/devices.txt), in glibc's encoding. */
const MEMORY_DEVICES = 1;

export function isTerminal(fd: number): boolean {
  try {
    const { mode, rdev } = fstatSync(fd);
    const isCharacterDevice = (mode & 0o170000) === 0o020000;
    if (!isCharacterDevice || ((rdev >> 8) & 0xfff) === MEMORY_DEVICES) return false;
  } catch {
    // It is closed.
    return false;
  }
  return process.getBuiltinModule('node:tty').isatty(fd);
}
