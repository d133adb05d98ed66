/**
 * Uploading one blob: POST for a session, PUT with everything; pieces by PATCH only where a proxy refuses the whole
 * (413). After a fault the blob is looked for first: the answer may have been lost, not the upload.
 *
 * Spec: OCI distribution-spec v1.1.1, "Pushing blobs". A Location is used byte for byte.
 */
import { TsbuildError } from '../base/errors.ts';
import type { Descriptor } from '../oci/documents.ts';
import type { Asked } from './registry-error.ts';
import type { Response, Transport } from './transport.ts';

export interface Upload {
  readonly authority: string;
  readonly repository: string;
  readonly scopes: readonly string[];
  readonly asked: (action: string) => Asked;
  readonly blob: Descriptor;
  /** The bytes, from the beginning, any number of times. */
  readonly open: () => AsyncIterable<Uint8Array>;
  readonly onProgress?: (current: number) => void;
  readonly signal: AbortSignal;
}

const TRIES = 4;
const PAUSE_MS = 100;
/** GHCR takes no larger pieces than this. */
const CHUNK = 4 << 20;

export async function uploadBlob(transport: Transport, upload: Upload): Promise<void> {
  for (let tried = 1; ; tried += 1) {
    try {
      const status = await putWhole(transport, upload);
      if (status === 413) await putChunks(transport, upload);
      return;
    } catch (error) {
      if (upload.signal.aborted || !isWorthAnother(error) || tried >= TRIES) throw error;
      if (await isThere(transport, upload)) return;
      await pause(PAUSE_MS * 2 ** tried, upload.signal);
    }
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    const stop = (): void => {
      clearTimeout(timer);
      resolve();
    };
    signal.addEventListener('abort', stop, { once: true });
  });
}

function isWorthAnother(error: unknown): boolean {
  return (
    error instanceof TsbuildError &&
    (error.code === 'REGISTRY_UNREACHABLE' ||
      error.code === 'REGISTRY_NOT_FOUND' ||
      (error.code === 'REGISTRY_REFUSED' && /status (5\d\d|408|416|429)/.test(error.message)))
  );
}

async function isThere(
  transport: Transport,
  { authority, repository, scopes, asked, blob, signal }: Upload,
): Promise<boolean> {
  const response = await transport.request(authority, {
    method: 'HEAD',
    url: `/v2/${repository}/blobs/${blob.digest}`,
    asked: asked(`looking for ${blob.digest}`),
    scopes,
    accept: [200, 404, 405],
    signal,
  });
  await response.discard();
  return response.status === 200;
}

async function beginSession(
  transport: Transport,
  { authority, repository, scopes, asked, signal }: Upload,
): Promise<string> {
  const response = await transport.request(authority, {
    method: 'POST',
    url: `/v2/${repository}/blobs/uploads/`,
    asked: asked('starting an upload'),
    scopes,
    headers: { 'content-length': '0' },
    accept: [202],
    signal,
  });
  await response.discard();
  return locationOf(response, asked);
}

function locationOf(response: Response, asked: Upload['asked']): string {
  const location = response.header('location');
  if (location === undefined)
    throw new TsbuildError('REGISTRY_PROTOCOL', `${asked('').host} sent no Location for an upload`);
  const sent = new URL(response.url);
  if (/^https?:\/\//.test(location)) {
    const named = new URL(location);
    // why: a registry behind a proxy that ends TLS often does not know that it is reached by https.
    if (sent.protocol !== 'https:' || named.protocol !== 'http:' || named.hostname !== sent.hostname)
      return location;
    return `${sent.origin}${location.replace(/^http:\/\/[^/]*/, '')}`;
  }
  // why: URL parsing would re-encode a signed query; only what is missing is put in front.
  return location.startsWith('/')
    ? `${sent.origin}${location}`
    : `${sent.origin}${sent.pathname.replace(/[^/]*$/, '')}${location}`;
}

function withDigest(location: string, { digest }: Descriptor): string {
  return `${location}${location.includes('?') ? '&' : '?'}digest=${encodeURIComponent(digest)}`;
}

async function putWhole(transport: Transport, upload: Upload): Promise<number> {
  const { authority, scopes, asked, blob, open, signal } = upload;
  const location = await beginSession(transport, upload);
  const response = await transport.request(authority, {
    method: 'PUT',
    url: withDigest(location, blob),
    asked: asked(`uploading blob ${blob.digest}`),
    scopes,
    headers: { 'content-type': 'application/octet-stream', 'content-length': `${blob.size}` },
    ...(blob.size === 0 ? {} : { body: () => counted(open(), upload) }),
    accept: [200, 201, 204, 413],
    // A new session for every try: the old one may be used up.
    tries: 1,
    signal,
  });
  await response.discard();
  return response.status;
}

async function* counted(
  source: AsyncIterable<Uint8Array>,
  { onProgress, blob, asked }: Upload,
): AsyncGenerator<Uint8Array> {
  let current = 0;
  for await (const chunk of source) {
    current += chunk.byteLength;
    onProgress?.(current);
    yield chunk;
  }
  if (current !== blob.size)
    throw new TsbuildError(
      'SIZE_MISMATCH',
      `${asked('').side} ${asked('').host}: blob ${blob.digest} has ${current} bytes, not ${blob.size}`,
    );
}

async function putChunks(transport: Transport, upload: Upload): Promise<void> {
  const { authority, scopes, asked, blob, open, signal, onProgress } = upload;
  let location = await beginSession(transport, upload);
  let start = 0;
  for await (const chunk of chunksOf(open())) {
    const response = await transport.request(authority, {
      method: 'PATCH',
      url: location,
      asked: asked(`uploading a part of blob ${blob.digest}`),
      scopes,
      headers: {
        'content-type': 'application/octet-stream',
        'content-length': `${chunk.byteLength}`,
        'content-range': `${start}-${start + chunk.byteLength - 1}`,
      },
      body: () => chunk,
      accept: [201, 202, 204],
      tries: 1,
      signal,
    });
    await response.discard();
    location = locationOf(response, asked);
    start += chunk.byteLength;
    onProgress?.(start);
  }
  const response = await transport.request(authority, {
    method: 'PUT',
    url: withDigest(location, blob),
    asked: asked(`finishing blob ${blob.digest}`),
    scopes,
    headers: { 'content-length': '0' },
    accept: [200, 201, 204],
    tries: 1,
    signal,
  });
  await response.discard();
}

async function* chunksOf(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let parts: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of source) {
    parts.push(Uint8Array.from(chunk));
    size += chunk.byteLength;
    if (size < CHUNK) continue;
    yield Buffer.concat(parts);
    [parts, size] = [[], 0];
  }
  if (size > 0) yield Buffer.concat(parts);
}
