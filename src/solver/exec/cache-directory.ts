/**
 * The directory of a cache mount. Whoever uses one holds a shared lock on it, which dies with its holder; only who has it alone
 * may take its name away. why: a container mounts it by its name, some time after it was locked.
 */
import { closeSync, fstatSync, openSync, renameSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf, ioError } from '../../base/errors.ts';
import { removeTree } from '../../base/remove-tree.ts';

/** flock(2) of a descriptor, without waiting; false where another has it. */
export type TryLock = (fd: number, kind: 'shared' | 'exclusive') => boolean;

/** Whoever exchanges a directory does nothing else meanwhile. */
const LOCK_POLL_MS = 20;

/**
 * Removes the directory, where it is there and nobody uses it; false where somebody does. `unique` names its owner
 * (src/base/owner.ts). Throws IO_FAILED.
 */
export function dropDirectory(directory: string, unique: string, tryLock: TryLock): boolean {
  const fd = openIfThere(directory);
  if (fd === undefined) return true;
  const away = `${directory}.${unique}.old`;
  try {
    if (!tryLock(fd, 'exclusive') || !hasName(fd, directory)) return false;
    renameSync(directory, away);
  } catch (error) {
    throw ioError('empty a cache', error);
  } finally {
    closeSync(fd);
  }
  removeTree(away);
  return true;
}

/** A directory in use, until it is disposed of; undefined where there is none of that name. */
export async function enterDirectory(
  directory: string,
  tryLock: TryLock,
  signal: AbortSignal,
): Promise<Disposable | undefined> {
  for (;;) {
    const fd = openIfThere(directory);
    if (fd === undefined) return undefined;
    // The directory that is locked must be the one that has the name.
    if (tryLock(fd, 'shared') && hasName(fd, directory)) return { [Symbol.dispose]: () => closeSync(fd) };
    closeSync(fd);
    signal.throwIfAborted();
    await sleep(LOCK_POLL_MS);
  }
}

function hasName(fd: number, directory: string): boolean {
  return statSync(directory, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino;
}

function openIfThere(directory: string): number | undefined {
  try {
    return openSync(directory, 'r');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw ioError('open a cache', error);
  }
}
