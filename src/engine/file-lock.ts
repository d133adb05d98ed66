/**
 * A lock that is a file: flock(2), so it dies with its holder, however that ends. The holder removes the file at its
 * end; what a killed one left is in nobody's way.
 */
import { closeSync, fstatSync, mkdirSync, openSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { tryLock } from '../../native/sys.ts';
import { ioError } from '../base/errors.ts';

/** The lock, held until it is disposed of; undefined where somebody else holds it. Throws IO_FAILED. */
export function takeFileLock(path: string, what: string): Disposable | undefined {
  const fd = tryTake(path, what);
  return fd === undefined ? undefined : holding(path, fd);
}

function tryTake(path: string, what: string): number | undefined {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    for (;;) {
      const fd = openSync(path, 'a', 0o600);
      if (!tryLock(fd, 'exclusive')) {
        closeSync(fd);
        return undefined;
      }
      // Its holder may have removed it between our opening and locking it: then the lock is on nothing.
      const there = statSync(path, { throwIfNoEntry: false });
      if (there !== undefined && there.ino === fstatSync(fd).ino) return fd;
      closeSync(fd);
    }
  } catch (error) {
    throw ioError(what, error);
  }
}

function holding(path: string, fd: number): Disposable {
  let isHeld = true;
  return {
    [Symbol.dispose]() {
      if (!isHeld) return;
      isHeld = false;
      // Before the lock is given up: whoever waits finds another file, or none, and looks again.
      rmSync(path, { force: true });
      closeSync(fd);
    },
  };
}
