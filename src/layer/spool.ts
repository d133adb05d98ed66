/** Temporary files, for contents of archives that are wanted in another order. */
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { ioError } from '../base/errors.ts';

export interface Spool extends Disposable {
  readonly fd: number;
}

/**
 * A new file, which is gone once it is disposed of; until then its name is there, so that it can be counted. `path` must
 * be free, and tell its owner (base/owner.ts). Throws IO_FAILED, DISK_FULL.
 */
export function openSpool(path: string): Spool {
  try {
    const fd = openSync(path, 'wx+', 0o600);
    return {
      fd,
      [Symbol.dispose]() {
        closeSync(fd);
        rmSync(path, { force: true });
      },
    };
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
