/** Faults of networks, proxies and registries, one per request. */
import type { IncomingMessage, ServerResponse } from 'node:http';

export type Fault =
  | {
      readonly kind: 'status';
      readonly status: number;
      readonly headers?: Record<string, string>;
      readonly body?: string;
    }
  /** The connection ends before an answer, and before anything was done. */
  | { readonly kind: 'drop' }
  /** … after so many bytes of the request's body. */
  | { readonly kind: 'cut-request'; readonly after: number }
  /** Everything is done, and nobody is told. */
  | { readonly kind: 'lose-answer' }
  /** The answer's body ends with the connection after so many bytes. */
  | { readonly kind: 'cut-answer'; readonly after: number }
  /** The answer's body ends in good order, too early. */
  | { readonly kind: 'truncate'; readonly after: number }
  | { readonly kind: 'extra' }
  | { readonly kind: 'corrupt' }
  | { readonly kind: 'corrupt-request' }
  | { readonly kind: 'slow'; readonly delayMs: number }
  | { readonly kind: 'hang' }
  | { readonly kind: 'headers'; readonly set: Readonly<Record<string, string | undefined>> };

export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly body?: Uint8Array | string;
}

export interface Faulty {
  answer(answer: Answer): void;
}

/** What a fault leaves of a request. */
export function applyFault(
  fault: Fault | undefined,
  request: IncomingMessage,
  response: ServerResponse,
): Faulty | 'answered' {
  switch (fault?.kind) {
    case 'status':
      request.resume();
      request.on('end', () => {
        response.writeHead(fault.status, { 'content-type': 'text/plain', ...fault.headers });
        response.end(fault.body ?? `fault ${fault.status}`);
      });
      return 'answered';
    case 'drop':
      request.socket.destroy();
      return 'answered';
    case 'hang':
      request.resume();
      return 'answered';
    default:
      return { answer: (answer) => send(answer, fault, request, response) };
  }
}

/** The request's body; undefined where the fault cut it. */
export async function readBody(
  request: IncomingMessage,
  fault: Fault | undefined,
): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      size += chunk.byteLength;
      chunks.push(chunk);
      if (fault?.kind === 'cut-request' && size > fault.after) {
        request.socket.destroy();
        return undefined;
      }
    }
  } catch {
    return undefined;
  }
  if (fault?.kind === 'cut-request') {
    request.socket.destroy();
    return undefined;
  }
  const body = Buffer.concat(chunks);
  if (fault?.kind === 'corrupt-request' && body.byteLength > 0) body[0] = (body[0] ?? 0) ^ 0xff;
  return body;
}

function send(
  { status, headers, body }: Answer,
  fault: Fault | undefined,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  if (fault?.kind === 'lose-answer') {
    request.socket.destroy();
    return;
  }
  const bytes = Buffer.from(body ?? '');
  const all: Record<string, string | undefined> = {
    'content-length': `${bytes.byteLength}`,
    ...headers,
    ...(fault?.kind === 'headers' ? fault.set : {}),
  };
  const kept = Object.fromEntries(
    Object.entries(all).filter((each): each is [string, string] => each[1] !== undefined),
  );
  const isHead = request.method === 'HEAD';
  switch (isHead ? undefined : fault?.kind) {
    case 'cut-answer': {
      const after = fault?.kind === 'cut-answer' ? fault.after : 0;
      response.writeHead(status, kept);
      response.write(bytes.subarray(0, after), () => setTimeout(() => request.socket.destroy(), 5));
      response.flushHeaders();
      return;
    }
    case 'truncate': {
      const part = bytes.subarray(0, fault?.kind === 'truncate' ? fault.after : 0);
      response.writeHead(status, { ...kept, 'content-length': `${part.byteLength}` });
      response.end(part);
      return;
    }
    case 'extra': {
      const more = Buffer.concat([bytes, Buffer.from('and more')]);
      response.writeHead(status, { ...kept, 'content-length': `${more.byteLength}` });
      response.end(more);
      return;
    }
    case 'corrupt': {
      const bad = Buffer.from(bytes);
      if (bad.byteLength > 0) bad[bad.byteLength >> 1] = (bad[bad.byteLength >> 1] ?? 0) ^ 0xff;
      response.writeHead(status, kept);
      response.end(bad);
      return;
    }
    case 'slow':
      response.writeHead(status, kept);
      sendSlowly(bytes, fault?.kind === 'slow' ? fault.delayMs : 0, response);
      return;
    default:
      response.writeHead(status, kept);
      response.end(isHead ? undefined : bytes);
  }
}

const SLOW_PARTS = 8;

function sendSlowly(bytes: Buffer, delayMs: number, response: ServerResponse): void {
  const part = Math.max(1, Math.ceil(bytes.byteLength / SLOW_PARTS));
  const step = (at: number): void => {
    if (response.destroyed) return;
    if (at >= bytes.byteLength) response.end();
    else {
      response.write(bytes.subarray(at, at + part));
      setTimeout(() => step(at + part), delayMs);
    }
  };
  step(0);
}
