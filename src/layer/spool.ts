/** Files without a name, for contents of archives that are wanted in another order. */
import { openSync, rmSync, writeSync } from 'node:fs';
import { ioError } from '../base/errors.ts';

/** A descriptor of a new file, which is gone once the caller closes it. `path` must be free. Throws IO_FAILED, DISK_FULL. */
export function openSpool(path: string): number {
  try {
    const fd = openSync(path, 'wx+', 0o600);
    rmSync(path);
    return fd;
  } catch (error) {
    throw ioError('create a temporary file', error);
  }
}

/** Writes all of the bytes at a place. Throws IO_FAILED, DISK_FULL. */
export function writeSpool(fd: number, bytes: Uint8Array, position: number): void {
  try {
    for (let at = 0; at < bytes.byteLength; )
      at += writeSync(fd, bytes, at, bytes.byteLength - at, position + at);
  } catch (error) {
    throw ioError('write a temporary file', error);
  }
}
