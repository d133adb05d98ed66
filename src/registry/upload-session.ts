/**
 * One attempt at an upload: beginning and ending sessions, and what an answer means for going on. A Location is used
 * byte for byte.
 *
 * Spec: OCI distribution-spec v1.1.1, "Pushing blobs".
 */
import { algorithmOf } from '../base/digest.ts';
import { isTsbuildError, TsbuildError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import type { IoOptions } from '../content/roles.ts';
import type { Descriptor } from '../oci/documents.ts';
import { readText, type Response } from './answer.ts';
import type { Endpoint } from './endpoints.ts';
import { resolveLocation } from './location.ts';
import {
  beginning,
  protocolError,
  readRefusal,
  refusalError,
  type Asked,
  type Refusal,
} from './registry-error.ts';
import type { Request } from './request.ts';
import { isPassing, isRetryable, parseRetryAfter } from './retry.ts';
import type { RegistrySettings } from './settings.ts';
import type { Transport } from './transport.ts';

export interface Upload {
  readonly transport: Transport;
  readonly settings: RegistrySettings;
  readonly host: Host;
  readonly endpoint: Endpoint;
  readonly asked: (action: string) => Asked;
  readonly blob: Descriptor;
  /** The bytes, from the beginning, any number of times. */
  readonly open: () => AsyncIterable<Uint8Array>;
  /** Repositories of the same registry that are believed to have the blob. */
  readonly mountFrom: readonly string[];
  readonly options: IoOptions;
  /** The registry lost a session: fewer uploads at a time may help. */
  readonly onSessionLost: () => void;
}

/** What became of one attempt. */
export type Outcome =
  | { readonly kind: 'done' }
  | { readonly kind: 'too-large'; readonly error: TsbuildError }
  /** Again, with a new session. `isCut`: no answer came. */
  | {
      readonly kind: 'again';
      readonly error: TsbuildError;
      readonly isCut: boolean;
      readonly isLost: boolean;
      readonly waitMs: number | undefined;
    };

export interface Session {
  /** The last Location. */
  location: string;
  /** OCI-Chunk-Min-Length. */
  readonly minimum: number;
}

const DELETE_TIMEOUT_MS = 2000;

export function scopesOf({ repository }: Endpoint): readonly string[] {
  return [`repository:${repository}:pull,push`];
}

export function common(
  { endpoint, asked, options }: Upload,
  action: string,
): Pick<Request, 'asked' | 'scopes' | 'signal' | 'onNotice'> {
  return {
    asked: asked(action),
    scopes: scopesOf(endpoint),
    signal: options.signal,
    onNotice: options.onNotice,
  };
}

export async function beginSession(
  upload: Pick<Upload, 'transport' | 'endpoint' | 'asked' | 'options'> & Partial<Pick<Upload, 'blob'>>,
): Promise<Session> {
  const { transport, endpoint, asked, options, blob } = upload;
  // A registry computes sha256 unless it is told.
  const algorithm =
    blob === undefined || algorithmOf(blob.digest) === 'sha256' ? '' : '?digest-algorithm=sha512';
  const response = await transport.request(endpoint, {
    asked: asked('starting an upload'),
    scopes: scopesOf(endpoint),
    signal: options.signal,
    onNotice: options.onNotice,
    method: 'POST',
    url: `/${endpoint.repository}/blobs/uploads/${algorithm}`,
    headers: { 'content-length': '0' },
    accept: [200, 202, 204],
  });
  await response.discard();
  return sessionOf(response, upload);
}

export function sessionOf(response: Response, { asked }: Pick<Upload, 'asked'>): Session {
  const minimum = Number(response.header('oci-chunk-min-length'));
  return {
    location: locationOf(response, asked('starting an upload')),
    minimum: Number.isSafeInteger(minimum) && minimum > 0 ? minimum : 0,
  };
}

export function locationOf(response: Response, asked: Asked): string {
  const location = response.header('location');
  if (location === undefined) throw protocolError(asked, 'the registry sent no Location for the upload');
  return resolveLocation(location, response.url, asked);
}

/** Statuses that are told apart by their codes, not by the transport. */
export const ANSWERS = [
  200, 201, 202, 204, 400, 404, 408, 413, 416, 429, 499, 500, 502, 503, 504, 520, 522, 524,
];

/** One request that ends an upload, if it goes well. */
export async function attempt(upload: Upload, request: Omit<Request, 'accept' | 'tries'>): Promise<Outcome> {
  const { transport, endpoint } = upload;
  let response: Response;
  try {
    response = await transport.request(endpoint, { ...request, accept: ANSWERS, tries: 1 });
  } catch (error) {
    return cutOf(error);
  }
  if (response.status < 300) {
    await response.discard();
    return { kind: 'done' };
  }
  return outcomeOf(upload, request.asked, response);
}

/** A fault of the network is an outcome; everything else is thrown. */
export function cutOf(error: unknown): Outcome {
  const isCut =
    isTsbuildError(error, 'REGISTRY_UNREACHABLE') && error.cause !== undefined && isPassing(error.cause);
  if (!isCut) throw error;
  return { kind: 'again', error, isCut: true, isLost: false, waitMs: undefined };
}

const LOST = ['BLOB_UPLOAD_UNKNOWN', 'BLOB_UPLOAD_INVALID'];
const PASSING = ['TOOMANYREQUESTS', 'UNAVAILABLE', 'UNKNOWN'];

export async function outcomeOf(upload: Upload, asked: Asked, response: Response): Promise<Outcome> {
  const refusal = readRefusal(response.status, await readText(response));
  const error = refusalError(asked, refusal);
  if (refusal.status === 413) return { kind: 'too-large', error };
  if (refusal.codes.includes('DIGEST_INVALID'))
    // The bytes were right when they left: they are sent once more.
    return again(damaged(asked, refusal), false, undefined);
  const isLost = refusal.status === 404 || refusal.status === 416 || says(refusal, LOST);
  if (!isLost && !isRetryable(refusal.status) && !says(refusal, PASSING)) throw error;
  const waitMs = parseRetryAfter(response.header('retry-after'), upload.host.now());
  if (waitMs === Infinity) throw error;
  return again(error, isLost, waitMs);
}

function again(error: TsbuildError, isLost: boolean, waitMs: number | undefined): Outcome {
  return { kind: 'again', error, isCut: false, isLost, waitMs };
}

function says({ codes }: Refusal, wanted: readonly string[]): boolean {
  return codes.some((code) => wanted.includes(code));
}

function damaged(asked: Asked, { status, words }: Refusal): TsbuildError {
  return new TsbuildError('DIGEST_MISMATCH', `${beginning(asked)} failed with status ${status}: ${words}`, {
    hint: 'something between here and the registry damages what is sent',
  });
}

/** Gives a session back; nobody waits long for that, and nobody minds if it fails. */
export async function giveUp(
  { transport, endpoint, asked }: Pick<Upload, 'transport' | 'endpoint' | 'asked'>,
  { location }: Session,
): Promise<void> {
  try {
    const response = await transport.request(endpoint, {
      method: 'DELETE',
      url: location,
      asked: asked('ending an upload'),
      scopes: scopesOf(endpoint),
      accept: [200, 202, 204, 404, 405],
      tries: 1,
      signal: AbortSignal.timeout(DELETE_TIMEOUT_MS),
    });
    await response.discard();
  } catch {
    // The registry forgets it by itself, sooner or later.
  }
}
