/** One lock per host, whatever the state root: held while subnets and ports of the host are chosen. */
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ioError } from '../../base/errors.ts';
import { tryLock } from '../../../native/sys.ts';

const FIRST_WAIT_MS = 1;
const LONGEST_WAIT_MS = 25;

export type HostLock = <T>(work: () => Promise<T>) => Promise<T>;

/** The lock dies with its holder. */
export function createHostLock(runDirectory: string): HostLock {
  // Calls of this process wait for each other without asking the kernel.
  let queue: Promise<unknown> = Promise.resolve();
  return (work) => {
    const turn = queue.then(() => withFileLock(join(runDirectory, 'lock'), work));
    queue = turn.catch(() => undefined);
    return turn;
  };
}

async function withFileLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  const fd = open(path);
  try {
    for (let wait = FIRST_WAIT_MS; !tryLock(fd, 'exclusive'); wait = Math.min(2 * wait, LONGEST_WAIT_MS))
      await sleep(wait);
    return await work();
  } finally {
    closeSync(fd);
  }
}

function open(path: string): number {
  try {
    mkdirSync(join(path, '..'), { recursive: true, mode: 0o700 });
    return openSync(path, 'a', 0o600);
  } catch (error) {
    throw ioError(`open ${JSON.stringify(path)}`, error);
  }
}
