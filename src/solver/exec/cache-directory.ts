/**
 * The directory of a cache mount. Whoever uses one holds a shared lock on it, which dies with its holder. One that gets
 * a successor is renamed, and removed by whoever uses it last.
 */
import { closeSync, fstatSync, openSync, readlinkSync, renameSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf, ioError } from '../../base/errors.ts';
import { removeTree } from '../../base/remove-tree.ts';

/** flock(2) of a descriptor, without waiting; false where another has it. */
export type TryLock = (fd: number, kind: 'shared' | 'exclusive') => boolean;

const OLD = '.old';
/** Whoever exchanges a directory does nothing else meanwhile. */
const LOCK_POLL_MS = 20;

/**
 * Takes the directory its name, where it is there; `unique` names its owner (src/base/owner.ts). Steps that have it
 * mounted keep what they see.
 */
export function dropDirectory(directory: string, unique: string, tryLock: TryLock): void {
  const away = `${directory}.${unique}${OLD}`;
  try {
    renameSync(directory, away);
    leave(openSync(away, 'r'), tryLock);
  } catch (error) {
    // It was not there, or its last user has removed it meanwhile.
    if (errnoOf(error) !== 'ENOENT') throw ioError('empty a cache', error);
  }
}

/** A directory in use, until it is disposed of; undefined where there is none of that name. */
export async function enterDirectory(
  directory: string,
  tryLock: TryLock,
  signal: AbortSignal,
): Promise<Disposable | undefined> {
  for (;;) {
    let fd: number;
    try {
      fd = openSync(directory, 'r');
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw ioError('open a cache', error);
    }
    // The directory that is locked must be the one that has the name.
    if (tryLock(fd, 'shared') && statSync(directory, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino)
      return { [Symbol.dispose]: () => leave(fd, tryLock) };
    leave(fd, tryLock);
    signal.throwIfAborted();
    await sleep(LOCK_POLL_MS);
  }
}

/** Closes the descriptor of a directory; one that has lost its name goes with its last user. */
function leave(fd: number, tryLock: TryLock): void {
  try {
    const path = readlinkSync(`/proc/self/fd/${fd}`);
    if (path.endsWith(OLD) && tryLock(fd, 'exclusive')) removeTree(path);
  } finally {
    closeSync(fd);
  }
}
