/**
 * Connections: one pool per (host, TLS identity, proxy), HTTP/1.1, kept alive. Sends one request as it is: no
 * redirects, no retries, no decoding. A target's query is used byte for byte.
 */
import type { Agent, Dispatcher, ProxyAgent } from 'undici';
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
  const agents = new Map<string, Promise<Agent | ProxyAgent>>();

  function agentFor(url: URL, endpoint: Endpoint): Promise<Agent | ProxyAgent> {
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
  ): Promise<Agent | ProxyAgent> {
    const { Agent: Direct, ProxyAgent: Proxied } = await import('./http-client.ts');
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
    if (proxy === undefined) return new Direct({ ...common, connect: { timeout: connectMs, ...tls } });
    const { uri, token } = proxyAddress(proxy);
    return new Proxied({
      ...common,
      uri,
      ...(token === undefined ? {} : { token }),
      requestTls: { timeout: connectMs, ...tls },
      proxyTls: { timeout: connectMs },
      // Plain HTTP goes through a proxy by its absolute form, which every proxy allows.
      proxyTunnel: false,
    });
  }

  return {
    async send({ method, url, headers, body, answerMs, signal }, endpoint) {
      const parsed = new URL(url);
      const agent = await agentFor(parsed, endpoint);
      return agent.request({
        origin: parsed.origin,
        path: rawPath(url, parsed),
        method,
        headers,
        ...(body === undefined ? {} : { body }),
        headersTimeout: answerMs,
        signal,
      });
    },
    async close() {
      for (const opening of agents.values()) {
        const agent = await opening.catch(() => undefined);
        await agent?.destroy();
      }
    },
  };
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
