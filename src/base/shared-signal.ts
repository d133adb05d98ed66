/** Work that several wait for: it is given up when all of them have given up, not when the first one has. */
import { setMaxListeners } from 'node:events';

export interface SharedSignal {
  readonly signal: AbortSignal;
  readonly join: (signal: AbortSignal) => void;
}

export function createSharedSignal(): SharedSignal {
  const abort = new AbortController();
  let waiting = 0;
  return {
    signal: abort.signal,
    join(signal) {
      if (signal.aborted) {
        if (waiting === 0) abort.abort();
        return;
      }
      waiting += 1;
      // why: Node takes more than ten for a mistake, and a build has as many layers as it likes.
      setMaxListeners(0, signal);
      signal.addEventListener(
        'abort',
        () => {
          waiting -= 1;
          if (waiting === 0) abort.abort();
        },
        { once: true, signal: abort.signal },
      );
    },
  };
}
