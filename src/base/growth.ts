/** How far something has grown that others read meanwhile: they wait for what is not there yet. */
import { TsbuildError } from './errors.ts';

export interface Growth {
  /** Bytes that can be read. */
  readonly size: number;
  readonly grown: (size: number) => void;
  /** Nothing more comes; a failure after it does not count. */
  readonly end: () => void;
  readonly fail: (error: unknown) => void;
  /** Waits for bytes after `at`; false at the end. Throws what it failed with, and ABORTED. */
  hasMore(at: number, signal?: AbortSignal): Promise<boolean>;
}

export function createGrowth(): Growth {
  let size = 0;
  let ended = false;
  let failure: { readonly error: unknown } | undefined;
  let waiting: (() => void)[] = [];

  function wake(): void {
    const woken = waiting;
    waiting = [];
    for (const each of woken) each();
  }

  function change(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        signal?.removeEventListener('abort', done);
        resolve();
      };
      signal?.addEventListener('abort', done, { once: true });
      waiting.push(done);
    });
  }

  return {
    get size() {
      return size;
    },
    grown(now) {
      size = now;
      wake();
    },
    end() {
      ended = true;
      wake();
    },
    fail(error) {
      if (!ended) failure ??= { error };
      wake();
    },
    async hasMore(at, signal) {
      for (;;) {
        if (signal?.aborted === true) throw new TsbuildError('ABORTED', 'the transfer was aborted');
        if (failure !== undefined) throw failure.error;
        if (at < size) return true;
        if (ended) return false;
        await change(signal);
      }
    },
  };
}
