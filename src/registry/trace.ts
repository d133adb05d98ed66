/** `TSBUILD_TRACE=http`: one line per request and one per answer, without secrets. */
import type { Dispatcher } from 'undici';
import { redact } from '../base/redact.ts';
import type { Exchange } from './pools.ts';

const SENT = ['accept', 'authorization', 'content-length', 'content-range', 'content-type', 'range'];
const RECEIVED = [
  'content-length',
  'content-range',
  'content-type',
  'docker-content-digest',
  'docker-upload-uuid',
  'link',
  'location',
  'oci-subject',
  'range',
  'retry-after',
  'warning',
  'www-authenticate',
];

export function traceRequest({ method, url, headers }: Exchange): string {
  const shown = SENT.flatMap((name) => {
    const value = headers[name];
    if (value === undefined) return [];
    return [`${name}: ${name === 'authorization' ? `${value.split(' ', 1)[0] ?? ''} ***` : value}`];
  });
  return line(`http > ${method} ${url}`, shown);
}

export function traceAnswer({ url }: Exchange, response: Dispatcher.ResponseData, ms: number): string {
  const shown = RECEIVED.flatMap((name) => {
    const value = response.headers[name];
    return value === undefined ? [] : [`${name}: ${String(value)}`];
  });
  return line(`http < ${response.statusCode} ${url} ${ms} ms`, shown);
}

export function traceFailure({ url }: Exchange, error: unknown, ms: number): string {
  return line(`http ! ${url} ${ms} ms ${error instanceof Error ? error.message : String(error)}`, []);
}

function line(start: string, headers: readonly string[]): string {
  const text = headers.length === 0 ? start : `${start} [${headers.join('; ')}]`;
  return redact(text.replace(/[\u0000-\u001f\u007f-\u009f]/g, ' '));
}
