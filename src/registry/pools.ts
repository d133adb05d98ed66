/**
 * Connections: one pool per (host, TLS identity, proxy), HTTP/1.1, kept alive. Sends one request as it is: no
 * redirects, no retries, no decoding. A target's query is used byte for byte.
 */
import { Socket } from 'node:net';
import type { Agent, buildConnector, Dispatcher, ProxyAgent } from 'undici';
import { isProxyException } from './address.ts';
import type { Endpoint } from './endpoints.ts';
import type { RegistrySettings } from './settings.ts';
import { createTlsIdentities } from './tls-identity.ts';

/** Sockets a host. */
const CONNECTIONS = 8;

export interface Exchange {
  readonly method: Dispatcher.HttpMethod;
  /** Absolute, http or https. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Dispatcher.DispatchOptions['body'];
  /** Until the headers of the answer, after the request was sent. */
  readonly answerMs: number;
  readonly signal: AbortSignal;
}

export interface Pools {
  /** `endpoint`: in whose service; its certificates count. */
  send(exchange: Exchange, endpoint: Endpoint): Promise<Dispatcher.ResponseData>;
  close(): Promise<void>;
}

export function createPools(settings: RegistrySettings): Pools {
  const identities = createTlsIdentities(settings);
  const agents = new Map<string, Promise<Pool>>();

  function poolFor(url: URL, endpoint: Endpoint): Promise<Pool> {
    const identity = identities.of(url.host, endpoint);
    const proxy = proxyFor(url, settings);
    const key = `${url.protocol} ${identity.key} ${proxy ?? ''}`;
    const known = agents.get(key);
    if (known !== undefined) return known;
    const made = open(url.protocol === 'https:' ? identity : undefined, proxy);
    agents.set(key, made);
    return made;
  }

  async function open(
    identity: ReturnType<typeof identities.of> | undefined,
    proxy: string | undefined,
  ): Promise<Pool> {
    const { Agent: Direct, buildConnector, ProxyAgent: Proxied } = await import('./http-client.ts');
    const { connectMs, idleMs, answerMs } = settings.timeouts;
    const tls =
      identity === undefined
        ? {}
        : { secureContext: identity.context(), rejectUnauthorized: !identity.isUnverified };
    const common = {
      headersTimeout: answerMs,
      bodyTimeout: idleMs,
      connections: CONNECTIONS,
      pipelining: 1,
      allowH2: false,
    };
    const connecting: Connecting = new Set();
    if (proxy === undefined) {
      const connect = watched(buildConnector({ timeout: connectMs, allowH2: false, ...tls }), connecting);
      return { agent: new Direct({ ...common, connect }), connecting, waiting: 0 };
    }
    const { uri, token } = proxyAddress(proxy);
    const agent = new Proxied({
      ...common,
      uri,
      ...(token === undefined ? {} : { token }),
      requestTls: { timeout: connectMs, ...tls },
      proxyTls: { timeout: connectMs },
      // Plain HTTP goes through a proxy by its absolute form, which every proxy allows.
      proxyTunnel: false,
    });
    return { agent, connecting, waiting: 0 };
  }

  return {
    async send({ method, url, headers, body, answerMs, signal }, endpoint) {
      const parsed = new URL(url);
      const pool = await poolFor(parsed, endpoint);
      const sent = pool.agent.request({
        origin: parsed.origin,
        path: rawPath(url, parsed),
        method,
        headers,
        ...(body === undefined ? {} : { body }),
        headersTimeout: answerMs,
        signal,
      });
      return orAborted(pool, sent, signal);
    },
    async close() {
      for (const opening of agents.values()) {
        const pool = await opening.catch(() => undefined);
        await pool?.agent.destroy();
      }
    },
  };
}

type Connecting = Set<Socket>;

interface Pool {
  readonly agent: Agent | ProxyAgent;
  /** Sockets that are no connections yet; none where a proxy makes them. */
  readonly connecting: Connecting;
  /** Requests without an answer. */
  waiting: number;
}

function watched(connector: buildConnector.connector, connecting: Connecting): buildConnector.connector {
  // Its type says that nothing is returned; a socket is.
  const connect: (...all: Parameters<buildConnector.connector>) => unknown = connector;
  return (options, callback) => {
    const socket = connect(options, (...outcome) => {
      if (socket instanceof Socket) connecting.delete(socket);
      callback(...outcome);
    });
    if (socket instanceof Socket) connecting.add(socket);
  };
}

/**
 * why: undici looks at the signal when there is a connection, and who makes none may take its time with that. What nobody
 * waits for would keep the process as long.
 */
async function orAborted<T>(pool: Pool, sent: Promise<T>, signal: AbortSignal): Promise<T> {
  let stop = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(new DOMException('This operation was aborted', 'AbortError'));
  });
  if (signal.aborted) stop();
  else signal.addEventListener('abort', stop, { once: true });
  pool.waiting += 1;
  try {
    return await Promise.race([sent, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
    sent.catch(() => undefined);
    pool.waiting -= 1;
    if (signal.aborted && pool.waiting === 0)
      for (const socket of pool.connecting) socket.destroy(new Error('nobody waits for this connection'));
  }
}

/** Path and query as they were written: parsing would encode a signed query anew. */
function rawPath(url: string, parsed: URL): string {
  const raw = url.replace(/^https?:\/\/[^/?#]*/i, '').replace(/#.*$/, '');
  const path = raw.startsWith('/') ? raw : `/${raw}`;
  return /^[\u0021-\u007e]+$/.test(path) ? path : `${parsed.pathname}${parsed.search}`;
}

function proxyFor(url: URL, { proxy }: RegistrySettings): string | undefined {
  const chosen = url.protocol === 'https:' ? proxy.https : proxy.http;
  if (chosen === undefined || chosen === '' || isProxyException(url, proxy.exceptions)) return undefined;
  return /^[a-z]+:\/\//i.test(chosen) ? chosen : `http://${chosen}`;
}

/** A proxy's password goes into its own header. */
function proxyAddress(proxy: string): { readonly uri: string; readonly token?: string } {
  const url = new URL(proxy);
  const { username, password } = url;
  if (username === '') return { uri: url.href };
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  url.username = '';
  url.password = '';
  return { uri: url.href, token: `Basic ${Buffer.from(pair).toString('base64')}` };
}
