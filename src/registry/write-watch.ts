/** Watches that an upload goes on: undici has time limits for answers, none for a peer that stops reading. */

export interface Watched {
  readonly body: AsyncIterable<Uint8Array> | Uint8Array | undefined;
  /** The caller's, or our own once nothing was taken for too long. */
  readonly signal: AbortSignal;
  stop(): void;
}

/** A peer that stopped reading. Looks like the time-outs of the transport, so that it is tried again. */
class WriteTimeout extends Error {
  readonly code = 'ETIMEDOUT';
  constructor(ms: number) {
    super(`nothing could be sent for ${ms} ms`);
  }
}

export function watchBody(
  body: AsyncIterable<Uint8Array> | Uint8Array | undefined,
  signal: AbortSignal,
  idleMs: number,
): Watched {
  if (body === undefined || body instanceof Uint8Array) return { body, signal, stop: () => undefined };
  const abort = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let isStopped = false;
  const stop = (): void => {
    isStopped = true;
    clearTimeout(timer);
  };
  async function* watched(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of source) {
        // Between two chunks the peer has the ball; while the source works it has not.
        if (!isStopped) timer = setTimeout(() => abort.abort(new WriteTimeout(idleMs)), idleMs);
        yield chunk;
        clearTimeout(timer);
      }
    } finally {
      stop();
    }
  }
  return { body: watched(body), signal: AbortSignal.any([signal, abort.signal]), stop };
}
