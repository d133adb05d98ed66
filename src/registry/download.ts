/**
 * Downloading one blob: from the first place that has it, resumed by Range where it was cut, never longer than its
 * size. The registry is asked again each time, not where it redirected to: signed addresses expire.
 *
 * Spec: OCI distribution-spec v1.1.1, "Pulling blobs"; RFC 9110 §14 (Range).
 */
import { createDigester } from '../base/digest.ts';
import { isTsbuildError, TsbuildError } from '../base/errors.ts';
import type { IoOptions } from '../content/roles.ts';
import type { Descriptor } from '../oci/documents.ts';
import type { Response } from './answer.ts';
import type { Endpoint } from './endpoints.ts';
import { checkForeignUrl } from './location.ts';
import { withNamespace, type AskedFor } from './manifests.ts';
import { beginning, protocolError, type Asked } from './registry-error.ts';
import { backoff, sleep } from './retry.ts';
import type { RegistrySettings } from './settings.ts';
import type { Transport } from './transport.ts';

export interface Download {
  readonly transport: Transport;
  readonly settings: RegistrySettings;
  /** In the order in which they are asked. */
  readonly endpoints: readonly Endpoint[];
  readonly askedFor: AskedFor;
  readonly blob: Descriptor;
  readonly options: IoOptions & { readonly isVerifiedBySink?: boolean };
  /** Told of the place that serves the bytes. */
  readonly onServed: (endpoint: Endpoint) => void;
}

/** Resumes without so much progress before a download is given up. */
const MAX_RESUMES = 5;
const PROGRESS = 1 << 20;

interface Part {
  readonly response: Response;
  /** Bytes to pass over: the answer begins earlier than asked. */
  readonly skip: number;
  readonly asked: Asked;
}

export async function* downloadBlob(download: Download): AsyncGenerator<Uint8Array> {
  const { blob, endpoints, options, settings } = download;
  const { signal, onProgress, onNotice } = options;
  const digester = options.isVerifiedBySink === true ? undefined : createDigester(blob.digest);
  const places = placesOf(download);
  let size = 0;
  let resumes = 0;
  let mark = 0;
  while (size < blob.size) {
    const [place] = places;
    if (place === undefined) throw new RangeError('no place to download from');
    let part: Part;
    try {
      part = await openPart(download, place, size, false);
    } catch (error) {
      if (signal.aborted || places.length === 1 || isTsbuildError(error, 'ABORTED')) throw error;
      places.shift();
      continue;
    }
    if (place.url === undefined) download.onServed(place.endpoint);
    let { skip } = part;
    const from = size;
    try {
      for await (const chunk of part.response.body) {
        const bytes = skip === 0 ? chunk : chunk.subarray(Math.min(skip, chunk.byteLength));
        skip -= chunk.byteLength - bytes.byteLength;
        if (bytes.byteLength === 0) continue;
        size += bytes.byteLength;
        if (size > blob.size) throw tooLong(part.asked, blob);
        digester?.update(bytes);
        onProgress?.(size);
        yield bytes;
      }
    } catch (error) {
      if (signal.aborted) throw new TsbuildError('ABORTED', 'the transfer was aborted', { cause: error });
      if (error instanceof TsbuildError) throw error;
    }
    if (size >= blob.size) break;
    if (size - mark >= PROGRESS) [mark, resumes] = [size, 0];
    resumes += 1;
    const isStuck = resumes > MAX_RESUMES;
    if (isStuck && places.length > 1) {
      places.shift();
      resumes = 0;
    } else if (isStuck)
      throw new TsbuildError(
        'REGISTRY_UNREACHABLE',
        `${beginning(part.asked)} failed: it ends after ${size} of ${blob.size} bytes, again and again`,
      );
    const waitMs = size > from ? 0 : backoff(settings.retry, resumes, settings.random);
    const host = place.endpoint.authority;
    onNotice?.({ kind: 'retry', host, reason: `cut after ${size} of ${blob.size} bytes`, waitMs });
    await sleep(waitMs, signal);
  }
  const actual = digester?.digest();
  if (actual !== undefined && actual !== blob.digest)
    throw new TsbuildError(
      'DIGEST_MISMATCH',
      `${beginning(download.askedFor(endpoints[0] ?? placeError(), `fetching blob ${blob.digest}`))} failed: it has the digest ${actual} (${size} bytes)`,
      { hint: 'the registry, or something before it, damaged it; try again' },
    );
}

function placeError(): never {
  throw new RangeError('no place to download from');
}

function tooLong(asked: Asked, { size }: Descriptor): TsbuildError {
  return new TsbuildError('SIZE_MISMATCH', `${beginning(asked)} failed: it is larger than its ${size} bytes`);
}

interface Place {
  readonly endpoint: Endpoint;
  /** Elsewhere: a layer that registries do not keep. */
  readonly url?: string;
}

function placesOf({ endpoints, blob }: Download): Place[] {
  const [last] = endpoints.slice(-1);
  const urls = (blob.urls ?? []).filter((url) => /^https?:\/\//i.test(url));
  return [
    ...endpoints.map((endpoint) => ({ endpoint })),
    ...(last === undefined ? [] : urls.map((url) => ({ endpoint: last, url }))),
  ];
}

async function openPart(
  download: Download,
  place: Place,
  from: number,
  ignoresRange: boolean,
): Promise<Part> {
  const { transport, askedFor, blob, options } = download;
  const { endpoint, url } = place;
  const asked = askedFor(endpoint, `fetching blob ${blob.digest}`);
  const path = withNamespace(endpoint, `/${endpoint.repository}/blobs/${blob.digest}`);
  const wantsRange = from > 0 && !ignoresRange;
  const response = await transport.request(endpoint, {
    method: 'GET',
    url: url === undefined ? path : checkForeignUrl(url, endpoint.authority, asked),
    asked,
    scopes: [`repository:${endpoint.repository}:pull`],
    headers: wantsRange ? { range: `bytes=${from}-` } : {},
    accept: wantsRange ? [200, 206, 416] : [200],
    signal: options.signal,
    isLarge: true,
    onNotice: options.onNotice,
  });
  const encoding = response.header('content-encoding')?.toLowerCase() ?? 'identity';
  if (encoding !== 'identity') {
    await response.discard();
    throw protocolError(
      asked,
      `the blob comes encoded as ${JSON.stringify(encoding)}, though nobody asked for it`,
    );
  }
  if (response.status === 200) return { response, skip: from, asked };
  if (response.status === 206 && isRangeFrom(response, from, blob.size)) return { response, skip: 0, asked };
  // A range that is not the one asked for is worth nothing: the whole, then, from its beginning.
  await response.discard();
  return openPart(download, place, from, true);
}

function isRangeFrom(response: Response, from: number, size: number): boolean {
  const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(response.header('content-range') ?? '');
  if (match === null) return false;
  return Number(match[1]) === from && (match[3] === '*' || Number(match[3]) === size);
}
