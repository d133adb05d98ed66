/** When a request is tried again, and how long it waits: full jitter, Retry-After, pauses of a whole host. */
import { TsbuildError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import type { RetrySettings } from './settings.ts';

const MAX_RETRY_AFTER_MS = 120_000;
/** Docker Hub counts pulls over hours; waiting longer than this does not help. */
const MAX_PULL_LIMIT_MS = 60_000;

export function isRetryable(status: number): boolean {
  return status === 408 || status === 429 || status === 499 || (status >= 500 && status !== 501);
}

const PASSING =
  /^(ECONNRESET|ECONNREFUSED|ECONNABORTED|EPIPE|ETIMEDOUT|EAI_AGAIN|ENETUNREACH|EHOSTUNREACH|UND_ERR_(SOCKET|CONNECT_TIMEOUT|HEADERS_TIMEOUT|BODY_TIMEOUT|CLOSED|DESTROYED)|HPE_.*|UND_ERR_RES_CONTENT_LENGTH_MISMATCH)$/;

export function networkCode(error: unknown): string {
  const nested = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return nested instanceof Error && 'code' in nested && typeof nested.code === 'string' ? nested.code : '';
}

/** Network faults that may be gone the next time; wrong certificates and unknown names are not. */
export function isPassing(error: unknown): boolean {
  return PASSING.test(networkCode(error));
}

/** A connection that the other side had closed while it was idle: nothing of this request was answered. */
export function isStale(error: unknown): boolean {
  if (!(error instanceof Error) || !('socket' in error)) return false;
  const socket = error.socket as { readonly bytesRead?: unknown } | null;
  return (
    networkCode(error) === 'UND_ERR_SOCKET' && typeof socket?.bytesRead === 'number' && socket.bytesRead > 0
  );
}

/**
 * Milliseconds that an answer asks to wait; undefined where it asks for nothing that makes sense. Infinity: longer
 * than anybody waits. A date so far ahead says that a clock is wrong.
 */
export function parseRetryAfter(value: string | undefined, nowMs: number): number | undefined {
  if (value === undefined) return undefined;
  const text = value.trim();
  if (/^\d+$/.test(text)) {
    const ms = Number(text) * 1000;
    return ms === 0 ? undefined : ms > MAX_RETRY_AFTER_MS ? Infinity : ms;
  }
  const ms = Date.parse(text) - nowMs;
  return ms > 0 && ms <= MAX_RETRY_AFTER_MS ? ms : undefined;
}

/** Full jitter. `failures`: how many there were. */
export function backoff({ baseMs, maxMs }: RetrySettings, failures: number, random: () => number): number {
  return Math.round(random() * Math.min(maxMs, baseMs * 2 ** Math.max(0, failures - 1)));
}

export function isPullLimit(status: number, words: string): boolean {
  return status === 429 && /pull rate limit/i.test(words);
}

/** Whether waiting makes no sense: it would take too long, or a limit counts over hours. */
export function isHopeless(status: number, words: string, waitMs: number | undefined): boolean {
  if (waitMs === Infinity) return true;
  return isPullLimit(status, words) && (waitMs ?? Infinity) > MAX_PULL_LIMIT_MS;
}

export async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) throw new TsbuildError('ABORTED', 'aborted while waiting for a registry');
  if (ms <= 0) return;
  await new Promise<void>((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(new TsbuildError('ABORTED', 'aborted while waiting for a registry'));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, ms);
    signal.addEventListener('abort', stop, { once: true });
  });
}

/** What all requests to one host share: it may ask everybody to wait. */
export interface HostPause {
  hold(ms: number): void;
  ready(signal: AbortSignal): Promise<void>;
}

export function createHostPause(host: Host): HostPause {
  let until = 0;
  return {
    hold(ms) {
      until = Math.max(until, host.now() + ms);
    },
    async ready(signal) {
      const ms = Math.min(until - host.now(), MAX_RETRY_AFTER_MS);
      if (ms > 0) await sleep(ms, signal);
    },
  };
}
