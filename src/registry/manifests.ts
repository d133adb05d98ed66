/**
 * Reading manifests: HEAD for a tag, GET by digest for the rest. What arrives is checked against its digest, the
 * registry's own headers, and its media type.
 *
 * Spec: OCI distribution-spec v1.1.1, "Pulling manifests".
 */
import { gunzipSync } from 'node:zlib';
import { digestOf, isDigest, type Digest } from '../base/digest.ts';
import { isTsbuildError, TsbuildError } from '../base/errors.ts';
import { isManifestType } from '../content/copy-image.ts';
import type { IoOptions } from '../content/roles.ts';
import { MEDIA_TYPES, type Descriptor } from '../oci/documents.ts';
import { MAX_DOCUMENT, parseManifestOrIndex } from '../oci/parse.ts';
import type { Response } from './answer.ts';
import type { Endpoint } from './endpoints.ts';
import { beginning, protocolError, type Asked } from './registry-error.ts';
import { backoff, sleep } from './retry.ts';
import type { RegistrySettings } from './settings.ts';
import type { Transport } from './transport.ts';

/** All four, always: with less, registries answer "not found", or with another image. */
export const ACCEPT = [
  MEDIA_TYPES.index,
  MEDIA_TYPES.manifest,
  MEDIA_TYPES.dockerIndex,
  MEDIA_TYPES.dockerManifest,
].join(', ');

export interface ManifestReader {
  /** By tag or digest; undefined where HEAD does not say enough. */
  head(endpoint: Endpoint, name: string, options: IoOptions): Promise<Descriptor | undefined>;
  get(endpoint: Endpoint, name: string, options: IoOptions): Promise<FetchedManifest>;
}

export interface FetchedManifest {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

export function createManifestReader(
  transport: Transport,
  settings: RegistrySettings,
  askedFor: AskedFor,
): ManifestReader {
  const request = (
    endpoint: Endpoint,
    method: 'GET' | 'HEAD',
    name: string,
    action: string,
    { signal, onNotice }: IoOptions,
  ): Promise<Response> =>
    transport.request(endpoint, {
      method,
      url: withNamespace(endpoint, `/${endpoint.repository}/manifests/${name}`),
      asked: askedFor(endpoint, action),
      scopes: [`repository:${endpoint.repository}:pull`],
      headers: { accept: ACCEPT },
      accept: [200],
      signal,
      onNotice,
    });

  return {
    async head(endpoint, name, options) {
      try {
        const response = await request(endpoint, 'HEAD', name, `resolving ${name}`, options);
        await response.discard();
        return descriptorOf(response, name);
      } catch (error) {
        if (hidesReason(error)) return undefined;
        throw error;
      }
    },
    async get(endpoint, name, options) {
      for (let tried = 1; ; tried += 1) {
        try {
          return await getOnce(endpoint, name, options);
        } catch (error) {
          const isCut = error instanceof CutError;
          const limit = isCut ? settings.retry.tries : DAMAGE_TRIES;
          if ((!isCut && !isTsbuildError(error, 'DIGEST_MISMATCH')) || tried >= limit)
            throw isCut ? error.outcome : error;
          await sleep(isCut ? backoff(settings.retry, tried, settings.random) : 0, options.signal);
        }
      }
    },
  };

  async function getOnce(endpoint: Endpoint, name: string, options: IoOptions): Promise<FetchedManifest> {
    const action = `fetching manifest ${name}`;
    const asked = askedFor(endpoint, action);
    const response = await request(endpoint, 'GET', name, action, options);
    const raw = await readBounded(response, asked);
    const wanted = isDigest(name) ? name : undefined;
    const bytes = decoded(raw, response, wanted, asked);
    return { descriptor: checkManifest(bytes, response, wanted, asked), bytes };
  }
}

/** An answer to HEAD has no body; why it refuses comes with GET. */
function hidesReason(error: unknown): boolean {
  return (
    (isTsbuildError(error, 'REGISTRY_AUTH') && !error.message.includes('status 401')) ||
    isTsbuildError(error, 'REGISTRY_NOT_FOUND') ||
    isTsbuildError(error, 'REGISTRY_PROTOCOL') ||
    (isTsbuildError(error, 'REGISTRY_REFUSED') && !/status (5\d\d|429)/.test(error.message))
  );
}

/** How often bytes with another digest are asked for. */
const DAMAGE_TRIES = 2;

/** An answer that ended early: it is asked for again, and in the end it is `outcome`. */
class CutError extends Error {
  readonly outcome: TsbuildError;
  constructor(outcome: TsbuildError) {
    super(outcome.message);
    this.outcome = outcome;
  }
}

export type AskedFor = (endpoint: Endpoint, action: string) => Asked;

/** Mirrors are told whose images they are asked for. */
export function withNamespace({ namespace }: Endpoint, path: string): string {
  return namespace === undefined
    ? path
    : `${path}${path.includes('?') ? '&' : '?'}ns=${encodeURIComponent(namespace)}`;
}

function descriptorOf(head: Response, name: string): Descriptor | undefined {
  const digest = head.header('docker-content-digest');
  const size = Number(head.header('content-length'));
  const mediaType = typeOf(head);
  // The length of something that a proxy compressed is not the manifest's.
  if ((head.header('content-encoding') ?? 'identity') !== 'identity') return undefined;
  if (digest === undefined || !isDigest(digest) || !Number.isSafeInteger(size) || size <= 0) return undefined;
  if (mediaType === undefined || (isDigest(name) && digest !== name)) return undefined;
  return { mediaType, digest, size };
}

/** The stated type, where it says something. */
function typeOf(response: Response): string | undefined {
  const stated = response.header('content-type')?.split(';', 1)[0]?.trim().toLowerCase();
  return stated !== undefined && isManifestType(stated) ? stated : undefined;
}

function checkManifest(
  bytes: Uint8Array,
  response: Response,
  wanted: Digest | undefined,
  asked: Asked,
): Descriptor {
  const stated = response.header('docker-content-digest');
  const named = [wanted, stated].filter((each) => each !== undefined).filter(isDigest);
  for (const expected of named)
    if (expected !== digestOf(bytes, expected))
      throw new TsbuildError(
        'DIGEST_MISMATCH',
        `${beginning(asked)} failed: it has the digest ${digestOf(bytes, expected)}, not ${expected} (${bytes.byteLength} bytes)`,
        { hint: 'the registry, or something before it, damaged or exchanged it; try again' },
      );
  const parsed = parseManifestOrIndex(bytes, `manifest ${wanted ?? asked.action}`);
  const inside = parsed.kind === 'index' ? parsed.index.mediaType : parsed.manifest.mediaType;
  const type = typeOf(response);
  const isContrary = parsed.statesType && type !== undefined && type !== inside;
  if (isContrary)
    throw protocolError(
      asked,
      `the manifest says that it is ${JSON.stringify(inside)}, its Content-Type ${JSON.stringify(type)}`,
    );
  return {
    mediaType: parsed.statesType ? inside : (type ?? inside),
    digest: named[0] ?? digestOf(bytes),
    size: bytes.byteLength,
  };
}

async function readBounded(response: Response, asked: Asked): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of response.body) {
      size += chunk.byteLength;
      if (size > MAX_DOCUMENT) throw protocolError(asked, `the manifest has more than ${MAX_DOCUMENT} bytes`);
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof TsbuildError) throw error;
    throw new CutError(
      new TsbuildError('REGISTRY_UNREACHABLE', `${beginning(asked)} failed: the answer was cut`, {
        cause: error,
      }),
    );
  }
  const expected = Number(response.header('content-length'));
  if (Number.isSafeInteger(expected) && expected > size)
    throw new CutError(
      new TsbuildError(
        'REGISTRY_UNREACHABLE',
        `${beginning(asked)} failed: the answer ended after ${size} of ${expected} bytes`,
      ),
    );
  return Buffer.concat(chunks);
}

/** A proxy may compress though nobody asked; what comes out must then be what the digest says. */
function decoded(
  bytes: Uint8Array,
  response: Response,
  wanted: Digest | undefined,
  asked: Asked,
): Uint8Array {
  const encoding = response.header('content-encoding')?.toLowerCase() ?? 'identity';
  if (encoding === 'identity') return bytes;
  const expected = wanted ?? response.header('docker-content-digest');
  if (encoding === 'gzip' && expected !== undefined) {
    const plain = tryGunzip(bytes);
    if (plain !== undefined && isDigest(expected) && digestOf(plain, expected) === expected) return plain;
  }
  throw protocolError(asked, `the manifest comes encoded as ${JSON.stringify(encoding)}`);
}

function tryGunzip(bytes: Uint8Array): Uint8Array | undefined {
  try {
    return gunzipSync(bytes, { maxOutputLength: MAX_DOCUMENT });
  } catch {
    return undefined;
  }
}
