/**
 * One request along its redirects. Credentials and our headers for the registry go to the registry's own origin
 * alone; whatever lies elsewhere is asked without them, or with an anonymous token of its own.
 */
import { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { resolveLocation } from './location.ts';
import type { Exchange } from './pools.ts';
import { protocolError } from './registry-error.ts';
import type { Request } from './request.ts';

const MAX_REDIRECTS = 10;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

export interface Route {
  readonly start: string;
  /** Scheme and authority of the registry. */
  readonly origin: string;
  readonly request: Request;
  readonly authorization: () => Promise<string | undefined>;
  /** A token for another host's challenge, without our credentials. */
  readonly anonymous: (response: Dispatcher.ResponseData) => Promise<string | undefined>;
  readonly send: (exchange: Exchange) => Promise<Dispatcher.ResponseData>;
  readonly headers: Readonly<Record<string, string>>;
  readonly answerMs: number;
  readonly body: AsyncIterable<Uint8Array> | Uint8Array | undefined;
  readonly signal: AbortSignal;
}

export async function followRedirects(
  route: Route,
): Promise<{ readonly response: Dispatcher.ResponseData; readonly url: string }> {
  const { request, origin } = route;
  const ownOrigin = new URL(origin).origin;
  let { method } = request;
  let url = route.start;
  let body = route.body;
  let foreign: string | undefined;
  for (let hops = 0; hops <= MAX_REDIRECTS; hops += 1) {
    const isOwn = new URL(url).origin === ownOrigin;
    const authorization = isOwn ? await route.authorization() : foreign;
    const response = await route.send({
      method,
      url,
      headers: headersFor(route, isOwn, authorization),
      ...(body === undefined ? {} : { body: bodyOf(body) }),
      answerMs: route.answerMs,
      signal: route.signal,
    });
    if (response.statusCode === 401 && !isOwn && foreign === undefined && request.body === undefined) {
      foreign = await route.anonymous(response);
      await response.body.dump();
      if (foreign !== undefined) continue;
    }
    const location = response.headers['location'];
    const isRedirect =
      REDIRECTS.has(response.statusCode) &&
      typeof location === 'string' &&
      !request.accept.includes(response.statusCode);
    if (!isRedirect) return { response, url };
    await response.body.dump();
    if (request.body !== undefined && response.statusCode !== 307 && response.statusCode !== 308)
      throw protocolError(request.asked, `an upload is redirected with status ${response.statusCode}`);
    url = resolveLocation(location, url, request.asked);
    foreign = undefined;
    // Bodies can be read again from their beginning.
    body = request.body === undefined ? undefined : request.body();
    if (response.statusCode === 303 && method !== 'HEAD') method = 'GET';
  }
  throw protocolError(request.asked, `there are more than ${MAX_REDIRECTS} redirects`);
}

/** Names of headers that say nothing about us. */
const HARMLESS: ReadonlySet<string> = new Set([
  'accept',
  'accept-encoding',
  'content-length',
  'content-range',
  'content-type',
  'range',
  'user-agent',
]);

function headersFor(
  { headers, request }: Route,
  isOwn: boolean,
  authorization: string | undefined,
): Record<string, string> {
  const all = { ...headers, ...request.headers };
  const own = isOwn ? all : Object.fromEntries(Object.entries(all).filter(([name]) => HARMLESS.has(name)));
  return authorization === undefined ? own : { ...own, authorization };
}

function bodyOf(body: AsyncIterable<Uint8Array> | Uint8Array): Uint8Array | Readable {
  if (body instanceof Uint8Array) return body;
  return body instanceof Readable ? body : Readable.from(body, { objectMode: false });
}
