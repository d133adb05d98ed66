/**
 * A strict registry in this process: the distribution specification as a state machine. What a client does that the
 * specification does not allow is kept in `violations`; faults are injected per request, where they happen.
 *
 * Spec: OCI distribution-spec v1.1.1.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type ServerOptions } from 'node:https';
import type { AddressInfo } from 'node:net';
import { applyFault, readBody, type Fault } from './faults.ts';
import { ACCEPTED_TYPES, createState, type State } from './registry-state.ts';

export interface Seen {
  readonly method: string;
  /** With its query. */
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  /** 0: it never got an answer. */
  status: number;
}

export interface TestRegistryOptions {
  readonly tls?: ServerOptions;
  /** Which fault a request meets; `index` counts requests from 0. */
  readonly fault?: (seen: Seen, index: number) => Fault | undefined;
  /** Checks a request's authorization; gives the challenge of a refusal. */
  readonly authorize?: (
    seen: Seen,
  ) => { readonly status: number; readonly challenge?: string; readonly body?: string } | undefined;
  /** Largest body of a request; more is 413. */
  readonly maxBody?: number;
  readonly minChunk?: number;
  readonly mounts?: boolean;
  readonly immutableTags?: boolean;
  readonly referrersApi?: boolean;
  readonly checksReferences?: boolean;
  readonly pageSize?: number;
  /** Where uploads and blobs lie: another origin. */
  readonly storage?: string;
  /** How a Location is written. */
  readonly location?: 'relative' | 'absolute' | 'elsewhere';
  readonly host?: string;
}

export interface TestRegistry extends AsyncDisposable {
  readonly host: string;
  readonly origin: string;
  readonly log: Seen[];
  readonly violations: string[];
  readonly state: State;
  /** Requests as `METHOD path`, without queries; of one method, if given. */
  calls(method?: string): readonly string[];
}

export function digest(bytes: Uint8Array | string): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

export async function startTestRegistry(options: TestRegistryOptions = {}): Promise<TestRegistry> {
  const log: Seen[] = [];
  const violations: string[] = [];
  const state = createState(options, (text) => violations.push(text));

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const seen: Seen = {
      method: request.method ?? '',
      url: request.url ?? '',
      headers: request.headers,
      status: 0,
    };
    const index = log.push(seen) - 1;
    response.on('finish', () => (seen.status = response.statusCode));
    const fault = options.fault?.(seen, index);
    const faulty = applyFault(fault, request, response);
    if (faulty === 'answered') return;
    const refusal = options.authorize?.(seen);
    if (refusal !== undefined) {
      await readBody(request, undefined);
      response.writeHead(refusal.status, {
        ...(refusal.challenge === undefined ? {} : { 'www-authenticate': refusal.challenge }),
        'content-type': 'application/json',
      });
      response.end(
        refusal.body ?? '{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}',
      );
      return;
    }
    if (options.maxBody !== undefined && Number(request.headers['content-length'] ?? 0) > options.maxBody) {
      // As proxies do: an answer before the body was read, then the end of the connection.
      response.writeHead(413, { 'content-type': 'text/html', connection: 'close' });
      response.end('<html><body>413 Request Entity Too Large</body></html>');
      request.resume();
      return;
    }
    const body = await readBody(request, fault);
    if (body === undefined) return;
    const answer = state.handle(seen, body);
    faulty.answer(answer);
  }

  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    request.on('error', () => undefined);
    response.on('error', () => undefined);
    handle(request, response).catch((error: unknown) => {
      violations.push(`the test registry failed: ${String(error)}`);
      response.destroy();
    });
  };
  const server: Server =
    options.tls === undefined ? createServer(listener) : createTlsServer(options.tls, listener);
  server.keepAliveTimeout = 2000;
  await new Promise<void>((resolve) => server.listen(0, options.host ?? '127.0.0.1', resolve));
  const host = `${options.host ?? '127.0.0.1'}:${(server.address() as AddressInfo).port}`;
  state.setOrigin(`${options.tls === undefined ? 'http' : 'https'}://${host}`);
  return {
    host,
    origin: `${options.tls === undefined ? 'http' : 'https'}://${host}`,
    log,
    violations,
    state,
    calls: (method) =>
      log
        .filter((each) => method === undefined || each.method === method)
        .map((each) => `${each.method} ${each.url.split('?')[0] ?? ''}`),
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

export { ACCEPTED_TYPES };
