/**
 * Requests to registries: authentication, redirects, retries over the pools.
 *
 * A request is tried again after network faults and statuses that mean "later", with full jitter and Retry-After;
 * a 401 gets one fresh token; a connection that had been closed while idle is no failure. Bodies are opened anew for
 * each try.
 */
import type { Dispatcher } from 'undici';
import { TsbuildError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { readText, responseOf, type Response } from './answer.ts';
import { createAuthorizer, type Attempts, type Authorizer } from './auth.ts';
import type { Endpoint } from './endpoints.ts';
import type { Credentials } from './auth-file.ts';
import { createPools, type Exchange } from './pools.ts';
import { followRedirects } from './redirects.ts';
import { isWrongVersion, protocolError, readRefusal, refusalError, unreachable } from './registry-error.ts';
import type { Request } from './request.ts';
import {
  backoff,
  createHostPause,
  isHopeless,
  isPassing,
  isRetryable,
  isStale,
  networkCode,
  parseRetryAfter,
  sleep,
  type HostPause,
} from './retry.ts';
import type { RegistrySettings } from './settings.ts';
import { traceAnswer, traceFailure, traceRequest } from './trace.ts';
import { watchBody } from './write-watch.ts';

export interface Transport {
  /** Throws REGISTRY_*, or ABORTED. */
  request(endpoint: Endpoint, request: Request): Promise<Response>;
  close(): Promise<void>;
}

interface HostState {
  readonly authorizer: Authorizer;
  readonly pause: HostPause;
  scheme: 'https' | 'http' | undefined;
}

/** Refused connections are given up sooner: nobody listens. */
const REFUSED_TRIES = 2;
const STALE_TRIES = 2;

/** `credentials`: instead of the keychain's. */
export function createTransport(
  settings: RegistrySettings,
  host: Host,
  credentials?: Credentials,
): Transport {
  const pools = createPools(settings);
  const hosts = new Map<string, HostState>();
  const warned = new Set<string>();

  function stateOf(endpoint: Endpoint): HostState {
    const key = `${endpoint.authority} ${endpoint.scheme ?? ''} ${endpoint.mayBePlain}`;
    const known = hosts.get(key);
    if (known !== undefined) return known;
    const state: HostState = {
      authorizer: createAuthorizer({
        endpoint,
        settings,
        host,
        ...(credentials === undefined ? {} : { credentials }),
        send: (exchange) => send(exchange, endpoint),
        ping: (signal) => ping(endpoint, state.scheme ?? 'https', signal),
      }),
      pause: createHostPause(host),
      scheme: endpoint.scheme ?? (endpoint.mayBePlain ? undefined : 'https'),
    };
    hosts.set(key, state);
    return state;
  }

  /** Some registries name their challenge there alone. */
  async function ping(endpoint: Endpoint, scheme: string, signal: AbortSignal): Promise<Response> {
    const url = `${scheme}://${endpoint.authority}${endpoint.apiPath}/`;
    const headers = { 'user-agent': settings.userAgent };
    const { idleMs } = settings.timeouts;
    return responseOf(await send({ method: 'GET', url, headers, answerMs: idleMs, signal }, endpoint), url);
  }

  async function send(exchange: Exchange, endpoint: Endpoint): Promise<Dispatcher.ResponseData> {
    const started = host.now();
    settings.trace?.(traceRequest(exchange));
    try {
      const response = await pools.send(exchange, endpoint);
      settings.trace?.(traceAnswer(exchange, response, host.now() - started));
      return response;
    } catch (error) {
      settings.trace?.(traceFailure(exchange, error, host.now() - started));
      throw error;
    }
  }

  async function attempt(endpoint: Endpoint, request: Request, attempts: Attempts): Promise<Response> {
    const state = stateOf(endpoint);
    const { timeouts } = settings;
    const finishesUpload = request.method === 'PUT' || request.method === 'PATCH';
    const body = request.body?.();
    const watch = watchBody(body, request.signal, timeouts.idleMs);
    const pull = async (scheme: 'https' | 'http'): Promise<Response> => {
      const origin = `${scheme}://${endpoint.authority}`;
      const start = /^https?:\/\//i.test(request.url)
        ? request.url
        : `${origin}${endpoint.apiPath}${request.url}`;
      const { response, url } = await followRedirects({
        start,
        origin,
        request,
        authorization: () => attempts.header(),
        anonymous: (response) => state.authorizer.anonymous(response, request),
        send: (exchange) => send(exchange, endpoint),
        headers: { 'user-agent': settings.userAgent, 'accept-encoding': 'identity', ...endpoint.headers },
        answerMs: finishesUpload ? timeouts.answerMs : timeouts.idleMs,
        body: watch.body,
        signal: watch.signal,
      });
      return responseOf(response, url);
    };
    try {
      return await withScheme(state, pull, body !== undefined);
    } finally {
      watch.stop();
    }
  }

  /** https first; http where the host may be plain and does not speak TLS. */
  async function withScheme(
    state: HostState,
    pull: (scheme: 'https' | 'http') => Promise<Response>,
    hasBody: boolean,
  ): Promise<Response> {
    if (state.scheme !== undefined) return pull(state.scheme);
    // why: a first request has no body to lose; if one should have, plain is what was asked for by naming the host.
    if (hasBody) return pull('https');
    try {
      const response = await pull('https');
      state.scheme = 'https';
      return response;
    } catch (error) {
      if (!speaksNoTls(error)) throw error;
      // A connection that just ends may have been TLS all the same: a client certificate was wanted, for one.
      const isSure = isWrongVersion(error instanceof Error ? error.message : '');
      const response = await pull('http').catch((inner: unknown) => {
        throw isSure ? inner : error;
      });
      if (!isSure && response.status === 400) {
        await response.discard();
        throw error;
      }
      state.scheme = 'http';
      return response;
    }
  }

  function warn(endpoint: Endpoint, response: Response, { onNotice }: Request): void {
    for (const text of response.warnings()) {
      const key = `${endpoint.authority} ${text}`;
      if (warned.has(key)) continue;
      warned.add(key);
      onNotice?.({ kind: 'warning', host: endpoint.authority, text });
    }
  }

  return {
    async request(endpoint, request) {
      const { signal, asked } = request;
      const state = stateOf(endpoint);
      const tries = request.tries ?? settings.retry.tries;
      let failures = 0;
      let stale = 0;
      const attempts = state.authorizer.begin(request);

      async function pause(reason: string, askedMs?: number): Promise<void> {
        const waitMs = askedMs ?? backoff(settings.retry, failures, settings.random);
        if (askedMs !== undefined) state.pause.hold(askedMs);
        request.onNotice?.({ kind: 'retry', host: endpoint.authority, reason, waitMs });
        settings.trace?.(`http = waiting ${waitMs} ms: ${reason}`);
        await sleep(waitMs, signal);
      }

      for (;;) {
        await state.pause.ready(signal);
        let response: Response;
        try {
          response = await attempt(endpoint, request, attempts);
        } catch (error) {
          if (signal.aborted) throw new TsbuildError('ABORTED', 'the transfer was aborted', { cause: error });
          if (isStale(error) && request.body === undefined && stale < STALE_TRIES) {
            stale += 1;
            continue;
          }
          failures += 1;
          const limit = networkCode(error) === 'ECONNREFUSED' ? Math.min(tries, REFUSED_TRIES) : tries;
          if (error instanceof TsbuildError || !isPassing(error) || failures >= limit)
            throw unreachable(asked, error);
          await pause(networkCode(error));
          continue;
        }
        warn(endpoint, response, request);
        if (request.accept.includes(response.status)) return checked(response, request);
        const isUnauthorized =
          response.status === 401 || (response.status === 403 && response.saysInsufficientScope());
        if (isUnauthorized && attempts.refused(response)) {
          await response.discard();
          continue;
        }
        const refusal = readRefusal(response.status, await readText(response));
        failures += 1;
        const retryAfter = parseRetryAfter(response.header('retry-after'), host.now());
        const isLate = failures >= tries || isHopeless(response.status, refusal.words, retryAfter);
        if (!isRetryable(response.status) || isLate) throw refusalError(asked, refusal);
        await pause(`status ${response.status}`, retryAfter);
      }
    },
    close: () => pools.close(),
  };
}

/** A page for people, where a registry should answer: a login portal, or a proxy's own page. */
function checked(response: Response, { asked, method }: Request): Response {
  const type = response.header('content-type') ?? '';
  const isPage = response.status < 300 && /^text\/html\b/i.test(type);
  if (!isPage || (method === 'GET' && asked.action.startsWith('fetching blob'))) return response;
  throw protocolError(
    asked,
    `this is not a registry's answer (${type.split(';', 1)[0] ?? ''})`,
    'check the address; a proxy or a login page may stand before it',
  );
}

function speaksNoTls(error: unknown): boolean {
  const reason = error instanceof Error ? error.message : '';
  return isWrongVersion(reason) || /^(EPROTO|ERR_SSL_.*|ECONNRESET|UND_ERR_SOCKET)$/.test(networkCode(error));
}
