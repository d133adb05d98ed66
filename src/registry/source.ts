/**
 * Reading from a repository: mirrors first, in their order, then the registry itself. Once a tag is resolved
 * everything is asked for by digest, so a tag that moves meanwhile cannot mix two images.
 */
import { digestOf, type Digest } from '../base/digest.ts';
import { isTsbuildError, TsbuildError } from '../base/errors.ts';
import { isManifestType } from '../content/copy-image.ts';
import type { IoOptions } from '../content/roles.ts';
import type { Descriptor } from '../oci/documents.ts';
import type { Reference } from '../oci/reference.ts';
import { downloadBlob } from './download.ts';
import { endpointsFor, type Endpoint } from './endpoints.ts';
import { createManifestReader, type AskedFor } from './manifests.ts';
import { openBlobRange } from './range.ts';
import type { RemoteSource } from './registry.ts';
import type { RegistrySettings } from './settings.ts';
import type { Transport } from './transport.ts';

/** Larger `data` of a descriptor is not used: it is fetched. */
const MAX_INLINE = 64 * 1024;

export function createSource(
  transport: Transport,
  settings: RegistrySettings,
  reference: Reference,
): RemoteSource {
  const { registry, repository } = reference;
  const all = once(() => endpointsFor(reference, 'pull', settings));
  const askedFor: AskedFor = (endpoint, action) => ({
    side: 'pull from',
    host: registry,
    repository,
    action,
    ...(endpoint.isMirror ? { via: endpoint.authority } : {}),
  });
  const manifests = createManifestReader(transport, settings, askedFor);
  /** Who served a blob last, and whose bytes were bad. */
  const served = new Map<Digest, Endpoint>();
  const distrusted = new Map<Digest, Set<Endpoint>>();

  async function placesFor(kind: 'tag' | 'digest'): Promise<readonly Endpoint[]> {
    const unwanted = kind === 'tag' ? 'digest-only' : 'tag-only';
    const found = (await all()).filter(({ pulls }) => pulls !== unwanted);
    if (found.length > 0) return found;
    throw new TsbuildError(
      'REGISTRY_NOT_FOUND',
      `cannot pull from ${registry}: none of its mirrors may be asked by ${kind}, and falling back is not allowed`,
      {
        hint: kind === 'tag' ? 'pull by digest, or let a mirror resolve tags' : 'let a mirror serve digests',
      },
    );
  }

  /** The first answer; where nobody has one, the registry's own refusal, else the weightiest of the mirrors'. */
  async function fromFirst<T>(
    places: readonly Endpoint[],
    { onNotice }: IoOptions,
    work: (endpoint: Endpoint) => Promise<T>,
  ): Promise<T> {
    let failure: unknown;
    for (const endpoint of places) {
      try {
        return await work(endpoint);
      } catch (error) {
        if (!(error instanceof TsbuildError) || error.code === 'ABORTED' || error.code === 'CONFIG_INVALID')
          throw error;
        if (error.code === 'DIGEST_MISMATCH')
          onNotice?.({ kind: 'warning', host: endpoint.authority, text: error.message });
        if (!endpoint.isMirror) throw error;
        if (failure === undefined || isTsbuildError(error, 'REGISTRY_AUTH')) failure = error;
      }
    }
    throw failure;
  }

  async function* openManifest(blob: Descriptor, options: IoOptions): AsyncGenerator<Uint8Array> {
    const places = await placesFor('digest');
    const { bytes } = await fromFirst(places, options, async (endpoint) => {
      const fetched = await manifests.get(endpoint, blob.digest, options);
      if (fetched.bytes.byteLength !== blob.size)
        throw new TsbuildError(
          'SIZE_MISMATCH',
          `manifest ${blob.digest} of ${registry}/${repository} has ${fetched.bytes.byteLength} bytes, not ${blob.size}`,
        );
      return fetched;
    });
    yield bytes;
  }

  async function* openBlob(
    blob: Descriptor,
    options: IoOptions & { readonly isVerifiedBySink?: boolean },
  ): AsyncGenerator<Uint8Array> {
    const inline = inlineData(blob);
    if (inline !== undefined) {
      yield inline;
      return;
    }
    const places = await placesFor('digest');
    const bad = distrusted.get(blob.digest);
    const good = places.filter((endpoint) => bad?.has(endpoint) !== true);
    yield* downloadBlob({
      transport,
      settings,
      endpoints: good.length > 0 ? good : places,
      askedFor,
      blob,
      options,
      onServed: (endpoint) => void served.set(blob.digest, endpoint),
    });
  }

  return {
    async get({ tag = 'latest', digest }, options) {
      const places = await placesFor(digest === undefined ? 'tag' : 'digest');
      return fromFirst(places, options, (endpoint) => manifests.get(endpoint, digest ?? tag, options));
    },
    async *openRange(blob, range, options) {
      const [endpoint] = (await all()).filter(({ isMirror }) => !isMirror);
      if (endpoint === undefined)
        throw new TsbuildError(
          'REGISTRY_NOT_FOUND',
          `cannot pull from ${registry}: only its mirrors may be asked`,
        );
      const asked = askedFor(endpoint, `fetching a part of blob ${blob.digest}`);
      yield* openBlobRange(transport, endpoint, asked, blob, range, options);
    },
    async resolve({ tag = 'latest', digest }, options) {
      const name = digest ?? tag;
      const places = await placesFor(digest === undefined ? 'tag' : 'digest');
      return fromFirst(
        places,
        options,
        async (endpoint) =>
          (await manifests.head(endpoint, name, options)) ??
          (await manifests.get(endpoint, name, options)).descriptor,
      );
    },
    open: (blob, options) =>
      isManifestType(blob.mediaType) ? openManifest(blob, options) : openBlob(blob, options),
    distrust(blob) {
      const endpoint = served.get(blob.digest);
      const where = `${registry}/${repository}`;
      if (endpoint === undefined) return where;
      distrusted.set(blob.digest, (distrusted.get(blob.digest) ?? new Set()).add(endpoint));
      return endpoint.isMirror ? `${where} (by ${endpoint.authority})` : where;
    },
  };
}

/** The bytes themselves, where the descriptor or nothing at all holds them. */
function inlineData({ data, size, digest }: Descriptor): Uint8Array | undefined {
  if (size === 0) {
    const nothing = new Uint8Array();
    return digestOf(nothing, digest) === digest ? nothing : undefined;
  }
  if (data === undefined || size > MAX_INLINE) return undefined;
  const bytes = Buffer.from(data, 'base64');
  return bytes.byteLength === size && digestOf(bytes, digest) === digest ? bytes : undefined;
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
}
