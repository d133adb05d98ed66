/**
 * A part of a blob. Nothing verifies it here: its digest is that of the whole, so whoever asks for a part must know
 * what it has to be.
 *
 * Spec: RFC 9110 §14; OCI distribution-spec v1.1.1, "Pulling blobs".
 */
import { TsbuildError } from '../base/errors.ts';
import type { IoOptions } from '../content/roles.ts';
import type { Descriptor } from '../oci/documents.ts';
import type { Response } from './answer.ts';
import type { Endpoint } from './endpoints.ts';
import { withNamespace } from './manifests.ts';
import { beginning, type Asked } from './registry-error.ts';
import type { Transport } from './transport.ts';

export interface Range {
  /** The first byte. */
  readonly from: number;
  readonly size: number;
}

/** Answers that end early before a range is given up. */
const MAX_CUTS = 3;

/** Exactly the bytes of `range`; where a registry knows no ranges, those of the whole that are in it. */
export async function* openBlobRange(
  transport: Transport,
  endpoint: Endpoint,
  asked: Asked,
  blob: Descriptor,
  range: Range,
  options: IoOptions,
): AsyncGenerator<Uint8Array> {
  let got = 0;
  for (let cuts = 0; got < range.size; cuts += 1) {
    if (cuts > MAX_CUTS)
      throw new TsbuildError(
        'REGISTRY_UNREACHABLE',
        `${beginning(asked)} failed: it ends after ${got} of ${range.size} bytes, again and again`,
      );
    const from = range.from + got;
    const response = await request(transport, endpoint, asked, blob, from, range.size - got, options);
    let skip = response.status === 206 ? 0 : from;
    try {
      for await (const chunk of response.body) {
        const bytes = chunk.subarray(Math.min(skip, chunk.byteLength)).subarray(0, range.size - got);
        skip = Math.max(0, skip - chunk.byteLength);
        if (bytes.byteLength === 0) continue;
        got += bytes.byteLength;
        options.onProgress?.(got);
        yield bytes;
        if (got === range.size) break;
      }
    } catch (error) {
      if (options.signal.aborted || error instanceof TsbuildError)
        throw error instanceof TsbuildError ? error : new TsbuildError('ABORTED', 'the transfer was aborted');
    }
  }
}

async function request(
  transport: Transport,
  endpoint: Endpoint,
  asked: Asked,
  blob: Descriptor,
  from: number,
  size: number,
  { signal, onNotice }: IoOptions,
): Promise<Response> {
  const response = await transport.request(endpoint, {
    method: 'GET',
    url: withNamespace(endpoint, `/${endpoint.repository}/blobs/${blob.digest}`),
    asked,
    scopes: [`repository:${endpoint.repository}:pull`],
    headers: { range: `bytes=${from}-${from + size - 1}` },
    accept: [200, 206],
    signal,
    isLarge: true,
    onNotice,
  });
  if (response.status === 206 && !isExactly(response, from)) {
    await response.discard();
    throw new TsbuildError(
      'REGISTRY_PROTOCOL',
      `${beginning(asked)} failed: the answer to bytes ${from}-${from + size - 1} is ${JSON.stringify(response.header('content-range') ?? 'no range')}`,
    );
  }
  return response;
}

function isExactly(response: Response, from: number): boolean {
  return response.header('content-range')?.startsWith(`bytes ${from}-`) === true;
}
