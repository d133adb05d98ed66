/**
 * Locks of steps: what two builds of one state root would both execute is executed by one of them, and the other takes
 * what came out.
 *
 *   locks/steps/<hex of the key>     a file lock
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { hexOf } from '../base/digest.ts';
import type { StepLocks } from '../solver/step-locks.ts';
import { takeFileLock } from './file-lock.ts';

const FIRST_WAIT_MS = 5;
const LONGEST_WAIT_MS = 200;

export function openStepLocks(root: string): StepLocks {
  return {
    async acquire(key, { signal, onWait }) {
      const take = (): Disposable | undefined =>
        takeFileLock(join(root, 'locks', 'steps', hexOf(key)), 'lock a step');
      let lock = take();
      if (lock === undefined) onWait();
      for (let wait = FIRST_WAIT_MS; lock === undefined; wait = Math.min(2 * wait, LONGEST_WAIT_MS)) {
        await sleep(wait, undefined, { signal });
        lock = take();
      }
      return lock;
    },
  };
}
