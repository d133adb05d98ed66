/**
 * Who may use a cache mount at a time, among all steps of all builds on a state root: `locked` is one step's, `private`
 * is a directory for each of them, `shared` everybody's.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { RunMount } from '../../graph/ops.ts';

type Sharing = Extract<RunMount, { kind: 'cache' }>['sharing'];

export interface CacheHold extends Disposable {
  /** Behind the cache's name: what tells directories of `private` caches apart. */
  readonly suffix: string;
}

export interface CacheHolds {
  /** `locked` waits for its turn. Throws the signal's reason, IO_FAILED. */
  hold(name: string, sharing: Sharing, signal: AbortSignal): Promise<CacheHold>;
}

const FIRST_WAIT_MS = 5;
const LONGEST_WAIT_MS = 100;

/** `take`: a lock between processes and steps; undefined where somebody else has it. */
export function createCacheHolds(take: (name: string) => Disposable | undefined): CacheHolds {
  return {
    async hold(name, sharing, signal) {
      if (sharing === 'shared') return holdOf('');
      if (sharing === 'private') {
        let suffix = '';
        let lock = take(name);
        for (let n = 1; lock === undefined; n += 1) lock = take(name + (suffix = `-${n}`));
        return holdOf(suffix, lock);
      }
      let lock = take(name);
      for (let wait = FIRST_WAIT_MS; lock === undefined; wait = Math.min(2 * wait, LONGEST_WAIT_MS)) {
        await sleep(wait, undefined, { signal });
        lock = take(name);
      }
      return holdOf('', lock);
    },
  };
}

function holdOf(suffix: string, lock?: Disposable): CacheHold {
  return { suffix, [Symbol.dispose]: () => lock?.[Symbol.dispose]() };
}
