/**
 * HTTP to registries: pools per host, TLS identities, authentication, redirects, retries.
 *
 * Credentials never leave for another host: a redirect elsewhere goes without them, and its query is used as it
 * is. A request is tried again after network faults and statuses that mean "later", with full jitter and
 * Retry-After; bodies are opened anew for each try.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { rootCertificates } from 'node:tls';
import type { Agent, Dispatcher } from 'undici';
import { TsbuildError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { createAuthorizer, type Authorizer } from './auth.ts';
import { statusError, unreachable, type Asked } from './registry-error.ts';
import { mayBePlain, type RegistrySettings } from './settings.ts';

export interface Request {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Path with query below the host, or an absolute URL (a Location). */
  readonly url: string;
  readonly asked: Asked;
  /** `repository:NAME:pull,push`, own repository first. */
  readonly scopes: readonly string[];
  readonly headers?: Readonly<Record<string, string>>;
  /** Opened anew for each try. */
  readonly body?: () => AsyncIterable<Uint8Array> | Uint8Array;
  /** Statuses that are answers, not errors. */
  readonly accept: readonly number[];
  readonly signal: AbortSignal;
  readonly tries?: number;
}

export interface Response {
  readonly status: number;
  header(name: string): string | undefined;
  readonly body: AsyncIterable<Uint8Array>;
  /** Reads and drops the body. */
  discard(): Promise<void>;
  /** Where it came from, after redirects. */
  readonly url: string;
}

export interface Transport {
  request(host: string, request: Request): Promise<Response>;
  close(): Promise<void>;
}

const MAX_REDIRECTS = 10;
const TRIES = 5;
const BASE_DELAY_MS = 300;
const MAX_DELAY_MS = 30_000;
const MAX_RETRY_AFTER_MS = 120_000;
const MAX_ERROR_BODY = 64 * 1024;
/** A registry hashes a large upload before it answers. */
const ANSWER_TIMEOUT_MS = 15 * 60_000;
const IDLE_TIMEOUT_MS = 60_000;
const RETRYABLE = new Set([408, 429, 499, 500, 502, 503, 504, 522]);

interface HostState {
  readonly scheme: Promise<'https' | 'http'>;
  readonly authorizer: Authorizer;
}

export function createTransport(settings: RegistrySettings, host: Host): Transport {
  const agents = new Map<string, Agent>();
  const hosts = new Map<string, HostState>();

  async function agentFor(authority: string): Promise<Agent> {
    const known = agents.get(authority);
    if (known !== undefined) return known;
    const { Agent: UndiciAgent } = await import('./http-client.ts');
    const identity = tlsIdentity(authority, settings);
    const made = new UndiciAgent({
      connect: { timeout: 30_000, rejectUnauthorized: !settings.insecure.includes(authority), ...identity },
      headersTimeout: ANSWER_TIMEOUT_MS,
      bodyTimeout: IDLE_TIMEOUT_MS,
      connections: 8,
      pipelining: 1,
    });
    agents.set(authority, made);
    return made;
  }

  function stateOf(authority: string): HostState {
    const known = hosts.get(authority);
    if (known !== undefined) return known;
    const state: HostState = {
      scheme: findScheme(authority),
      authorizer: createAuthorizer({ authority, settings, host, send: (url, init) => sendOnce(url, init) }),
    };
    hosts.set(authority, state);
    return state;
  }

  /** https, unless the host may be plain and does not speak TLS. */
  async function findScheme(authority: string): Promise<'https' | 'http'> {
    if (!mayBePlain(authority, settings.insecure)) return 'https';
    try {
      const { body } = await sendOnce(`https://${authority}/v2/`, { method: 'GET' });
      await body.dump();
      return 'https';
    } catch (error) {
      return isNotTls(error) ? 'http' : 'https';
    }
  }

  async function sendOnce(
    url: string,
    init: Omit<Dispatcher.RequestOptions, 'origin' | 'path'>,
  ): Promise<Dispatcher.ResponseData> {
    const { request } = await import('./http-client.ts');
    const parsed = new URL(url);
    return request(url, { ...init, dispatcher: await agentFor(parsed.host) });
  }

  async function attempt(authority: string, request: Request, fresh: boolean): Promise<Response> {
    const { scheme, authorizer } = stateOf(authority);
    const base = `${await scheme}://${authority}`;
    let url = /^https?:\/\//.test(request.url) ? request.url : `${base}${request.url}`;
    let { method } = request;
    for (let hops = 0; hops <= MAX_REDIRECTS; hops += 1) {
      // Credentials go to the registry's own origin alone: not to another host, port or scheme.
      const isOwn = new URL(url).origin === new URL(base).origin;
      const authorization = isOwn
        ? await authorizer.authorization(request.scopes, {
            fresh,
            asked: request.asked,
            signal: request.signal,
          })
        : undefined;
      const response = await sendOnce(url, {
        method,
        signal: request.signal,
        headersTimeout: method === 'PUT' ? ANSWER_TIMEOUT_MS : IDLE_TIMEOUT_MS,
        headers: {
          'user-agent': settings.userAgent,
          ...(isOwn ? request.headers : withoutAuthorization(request.headers)),
          ...(authorization === undefined ? {} : { authorization }),
        },
        ...(request.body === undefined ? {} : { body: bodyOf(request.body()) }),
      });
      const location = headerOf(response, 'location');
      const isRedirect =
        [301, 302, 303, 307, 308].includes(response.statusCode) &&
        location !== undefined &&
        !request.accept.includes(response.statusCode);
      if (!isRedirect) {
        if (response.statusCode === 401 && isOwn) authorizer.challenged(response.headers['www-authenticate']);
        return responseOf(response, url);
      }
      await response.body.dump();
      if (request.body !== undefined && response.statusCode !== 307 && response.statusCode !== 308)
        throw new TsbuildError(
          'REGISTRY_PROTOCOL',
          `${request.asked.host} redirects an upload with status ${response.statusCode}`,
        );
      url = new URL(location, url).href;
      if (response.statusCode === 303) method = 'GET';
    }
    throw new TsbuildError(
      'REGISTRY_PROTOCOL',
      `${request.asked.host} redirects more than ${MAX_REDIRECTS} times`,
    );
  }

  async function wait(ms: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) throw new TsbuildError('ABORTED', 'aborted while waiting for a registry');
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

  function delayOf(tried: number, retryAfter: string | undefined): number {
    const asked =
      retryAfter === undefined
        ? NaN
        : /^\d+$/.test(retryAfter)
          ? Number(retryAfter) * 1000
          : Date.parse(retryAfter) - host.now();
    if (asked > 0) return Math.min(asked, MAX_RETRY_AFTER_MS);
    return settings.random() * Math.min(MAX_DELAY_MS, BASE_DELAY_MS * 2 ** tried);
  }

  return {
    async request(authority, request) {
      const tries = request.tries ?? TRIES;
      let reauthorized = false;
      for (let tried = 0; ; tried += 1) {
        let response: Response;
        try {
          response = await attempt(authority, request, reauthorized);
        } catch (error) {
          if (request.signal.aborted)
            throw new TsbuildError('ABORTED', 'the transfer was aborted', { cause: error });
          if (error instanceof TsbuildError || !isPassing(error) || tried + 1 >= tries)
            throw unreachable(request.asked, error);
          await wait(delayOf(tried, undefined), request.signal);
          continue;
        }
        if (request.accept.includes(response.status)) return response;
        if (response.status === 401 && !reauthorized) {
          await response.discard();
          reauthorized = true;
          tried -= 1;
          continue;
        }
        if (RETRYABLE.has(response.status) && tried + 1 < tries) {
          await response.discard();
          await wait(delayOf(tried, response.header('retry-after')), request.signal);
          continue;
        }
        throw statusError(request.asked, response.status, await textOf(response));
      }
    },
    async close() {
      await Promise.all([...agents.values()].map((agent) => agent.destroy()));
    },
  };
}

function withoutAuthorization(headers: Request['headers']): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers ?? {}).filter(([name]) => name.toLowerCase() !== 'authorization'),
  );
}

function bodyOf(body: AsyncIterable<Uint8Array> | Uint8Array): Uint8Array | Readable {
  if (body instanceof Uint8Array) return body;
  return Readable.from(body, { objectMode: false });
}

function headerOf(response: Dispatcher.ResponseData, name: string): string | undefined {
  const value = response.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

function responseOf(response: Dispatcher.ResponseData, url: string): Response {
  return {
    status: response.statusCode,
    header: (name) => headerOf(response, name),
    body: response.body as AsyncIterable<Uint8Array>,
    discard: async () => response.body.dump(),
    url,
  };
}

async function textOf(response: Response): Promise<string> {
  let text = '';
  const decoder = new TextDecoder();
  try {
    for await (const chunk of response.body) {
      text += decoder.decode(chunk, { stream: true });
      if (text.length > MAX_ERROR_BODY) break;
    }
  } catch {
    // What came so far is better than nothing.
  }
  return text;
}

function codeOf(error: unknown): string {
  const nested = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return nested instanceof Error && 'code' in nested && typeof nested.code === 'string' ? nested.code : '';
}

function isNotTls(error: unknown): boolean {
  return /EPROTO|ERR_SSL_|ECONNRESET|UND_ERR_SOCKET/.test(codeOf(error));
}

/** Network faults that may be gone the next time; wrong certificates and unknown names are not. */
function isPassing(error: unknown): boolean {
  return /^(ECONNRESET|ECONNREFUSED|EPIPE|ETIMEDOUT|EAI_AGAIN|ENETUNREACH|EHOSTUNREACH|UND_ERR_(SOCKET|CONNECT_TIMEOUT|HEADERS_TIMEOUT|BODY_TIMEOUT|CLOSED|DESTROYED))$/.test(
    codeOf(error),
  );
}

interface TlsIdentity {
  readonly ca?: readonly string[];
  readonly cert?: string;
  readonly key?: string;
}

/** Authorities and client certificates of a host; given authorities come besides the system's. */
function tlsIdentity(
  authority: string,
  settings: RegistrySettings,
): { ca?: string[]; cert?: string; key?: string } {
  const given = (settings.authorities.get(authority) ?? []).map(readPem);
  const directory = settings.certificateDirectories.map((each) => join(each, authority)).find(existsSync);
  const names = directory === undefined ? [] : readdirSync(directory);
  const inDirectory =
    directory === undefined
      ? []
      : names.filter((name) => name.endsWith('.crt')).map((name) => readPem(join(directory, name)));
  const ca = [...given, ...inDirectory];
  const client = names.find((name) => name.endsWith('.cert'));
  const pair: TlsIdentity =
    client === undefined || directory === undefined
      ? {}
      : {
          cert: readPem(join(directory, client)),
          key: readPem(join(directory, client.replace(/\.cert$/, '.key'))),
        };
  return {
    ...(ca.length === 0 ? {} : { ca: [...rootCertificates, ...ca] }),
    ...(pair.cert === undefined ? {} : { cert: pair.cert }),
    ...(pair.key === undefined ? {} : { key: pair.key }),
  };
}

function readPem(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new TsbuildError('CONFIG_INVALID', `cannot read the certificate ${JSON.stringify(path)}`, {
      cause: error,
    });
  }
}
