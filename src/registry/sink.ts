/**
 * Writing to a repository: blobs first, then manifests by digest, tags last. What another repository of the same
 * registry is known to hold is mounted; what is on its way there already is waited for.
 *
 * Spec: OCI distribution-spec v1.1.1, "Push".
 */
import pLimit from 'p-limit';
import { digestOf, isDigest, type Digest } from '../base/digest.ts';
import { isTsbuildError, TsbuildError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { collect, isManifestType } from '../content/copy-image.ts';
import type { BlobSink, IoOptions } from '../content/roles.ts';
import type { Descriptor } from '../oci/documents.ts';
import { parseManifestOrIndex } from '../oci/parse.ts';
import type { Reference } from '../oci/reference.ts';
import { readText, type Response } from './answer.ts';
import { endpointsFor, type Endpoint } from './endpoints.ts';
import { ACCEPT } from './manifests.ts';
import { addReferrer } from './referrers.ts';
import { beginning, readRefusal, refusalError, type Asked } from './registry-error.ts';
import type { RemoteSink } from './registry.ts';
import type { RegistrySettings } from './settings.ts';
import type { Transport } from './transport.ts';
import { beginSession, giveUp, scopesOf } from './upload-session.ts';
import { uploadGrowing } from './upload-growing.ts';
import { uploadBlob } from './upload.ts';

/** Per registry, as its peers have it. */
const PARALLEL_UPLOADS = 4;

/** What all sinks of a client share: who has which blob, and what is on its way. */
export interface Uploads {
  readonly limitOf: (authority: string) => ReturnType<typeof pLimit>;
  readonly repositoriesOf: (authority: string, digest: Digest) => Set<string>;
  /** Uploads of one blob to one registry, one after the other. */
  readonly inTurn: (authority: string, digest: Digest, work: () => Promise<void>) => Promise<void>;
}

export function createUploads(): Uploads {
  const limits = new Map<string, ReturnType<typeof pLimit>>();
  const known = new Map<string, Set<string>>();
  const running = new Map<string, Promise<void>>();
  return {
    limitOf(authority) {
      const limit = limits.get(authority) ?? pLimit(PARALLEL_UPLOADS);
      limits.set(authority, limit);
      return limit;
    },
    repositoriesOf(authority, digest) {
      const key = `${authority} ${digest}`;
      const repositories = known.get(key) ?? new Set();
      known.set(key, repositories);
      return repositories;
    },
    async inTurn(authority, digest, work) {
      const key = `${authority} ${digest}`;
      const before = running.get(key) ?? Promise.resolve();
      const mine = before.catch(() => undefined).then(work);
      running.set(key, mine);
      try {
        await mine;
      } finally {
        if (running.get(key) === mine) running.delete(key);
      }
    },
  };
}

export interface SinkOptions {
  readonly transport: Transport;
  readonly settings: RegistrySettings;
  readonly host: Host;
  readonly uploads: Uploads;
}

export function createSink(options: SinkOptions, reference: Reference): RemoteSink {
  const { transport, settings, host, uploads } = options;
  const { registry, repository } = reference;
  const manifests = new Map<Digest, Uint8Array>();
  const incomplete = new WeakSet();
  const asked = (action: string): Asked => ({ side: 'push to', host: registry, repository, action });
  let endpoints: Promise<readonly Endpoint[]> | undefined;

  async function endpointOf(): Promise<Endpoint> {
    const [endpoint] = await (endpoints ??= endpointsFor(reference, 'push', settings));
    if (endpoint === undefined) throw new RangeError(registry);
    return endpoint;
  }

  /** A refused HEAD says nothing; the same as GET does. */
  async function isThere(
    path: string,
    action: string,
    { signal, onNotice }: IoOptions,
  ): Promise<Response | undefined> {
    const endpoint = await endpointOf();
    const shared = {
      url: `/${endpoint.repository}/${path}`,
      asked: asked(action),
      scopes: scopesOf(endpoint),
      signal,
      onNotice,
    };
    const accept: Record<string, string> = path.startsWith('manifests/') ? { accept: ACCEPT } : {};
    try {
      const head = await transport.request(endpoint, {
        ...shared,
        method: 'HEAD',
        headers: accept,
        accept: [200, 404, 405],
      });
      await head.discard();
      return head.status === 200 ? head : undefined;
    } catch (error) {
      const mayTellMore = isTsbuildError(error, 'REGISTRY_AUTH') || isTsbuildError(error, 'REGISTRY_REFUSED');
      // A 401 after all tokens were tried says enough.
      if (!mayTellMore || error.message.includes('status 401')) throw error;
      const get = await transport.request(endpoint, {
        ...shared,
        method: 'GET',
        headers: { ...accept, range: 'bytes=0-0' },
        accept: [200, 206, 404],
      });
      await get.discard();
      return get.status === 404 ? undefined : get;
    }
  }

  async function findDigest(name: string, io: IoOptions): Promise<string | undefined> {
    const what = isDigest(name) ? 'manifest' : 'tag';
    const there = await isThere(`manifests/${name}`, `looking for the ${what} ${name}`, io);
    return isDigest(name) && there !== undefined ? name : there?.header('docker-content-digest');
  }

  async function isFound(path: string, action: string, io: IoOptions): Promise<boolean> {
    return (await isThere(path, action, io)) !== undefined;
  }

  async function putManifest(
    name: string,
    { mediaType, digest }: Descriptor,
    bytes: Uint8Array,
    { signal, onNotice }: IoOptions,
  ): Promise<Response> {
    const endpoint = await endpointOf();
    const action = `putting manifest ${name}`;
    const response = await transport.request(endpoint, {
      method: 'PUT',
      url: `/${endpoint.repository}/manifests/${name}`,
      asked: asked(action),
      scopes: scopesOf(endpoint),
      headers: { 'content-type': mediaType, 'content-length': `${bytes.byteLength}` },
      body: () => bytes,
      accept: [200, 201, 202, 204, 400, 404],
      signal,
      onNotice,
    });
    if (response.status >= 400) {
      const refusal = readRefusal(response.status, await readText(response));
      const error = refusalError(asked(action), refusal);
      const lacks = refusal.codes.some((code) => code === 'MANIFEST_BLOB_UNKNOWN' || code === 'BLOB_UNKNOWN');
      if (lacks) incomplete.add(error);
      throw error;
    }
    await response.discard();
    const answered = response.header('docker-content-digest');
    if (answered !== undefined && !(isDigest(answered) && answered === digestOf(bytes, answered)))
      throw new TsbuildError(
        'DIGEST_MISMATCH',
        `${beginning(asked(action))} failed: it was stored as ${answered}, not as ${digest}`,
        { hint: 'something before the registry changes what is sent' },
      );
    return response;
  }

  async function putBlob(
    blob: Descriptor,
    open: () => AsyncIterable<Uint8Array>,
    io: Parameters<BlobSink['put']>[2],
  ): Promise<void> {
    const endpoint = await endpointOf();
    const { authority } = endpoint;
    const limit = uploads.limitOf(authority);
    const holders = uploads.repositoriesOf(authority, blob.digest);
    if (io.origin !== undefined && io.origin.registry === registry) holders.add(io.origin.repository);
    await uploads.inTurn(authority, blob.digest, () =>
      limit(async () => {
        if (
          holders.has(endpoint.repository) &&
          (await isThere(`blobs/${blob.digest}`, 'looking for a blob', io))
        )
          return;
        await uploadBlob({
          transport,
          settings,
          host,
          endpoint,
          asked,
          blob,
          open,
          mountFrom: [...holders].filter((each) => each !== endpoint.repository).slice(0, 2),
          options: io,
          onSessionLost: () => void (limit.concurrency = 1),
        });
        holders.add(endpoint.repository);
      }),
    );
  }

  return {
    isIncomplete: (error) => typeof error === 'object' && error !== null && incomplete.has(error),
    async has(blob, io) {
      // A manifest is small, and its bytes are needed for the tag in any case.
      if (isManifestType(blob.mediaType)) return false;
      const found = await isThere(`blobs/${blob.digest}`, `looking for ${blob.digest}`, io);
      if (found === undefined) return false;
      const { authority, repository: there } = await endpointOf();
      uploads.repositoriesOf(authority, blob.digest).add(there);
      return true;
    },
    async put(blob, open, io) {
      if (!isManifestType(blob.mediaType)) return putBlob(blob, open, io);
      const bytes = await collect(open());
      manifests.set(blob.digest, bytes);
      const response = await putManifest(blob.digest, blob, bytes, io);
      const parsed = parseManifestOrIndex(bytes, `manifest ${blob.digest}`);
      const document = parsed.kind === 'index' ? parsed.index : parsed.manifest;
      if (document.subject === undefined) return;
      const isListed = response.header('oci-subject') !== undefined && settings.referrers !== 'tag';
      if (isListed || settings.referrers === 'api') return;
      await addReferrer(
        { transport, endpoint: await endpointOf(), askedFor: asked, settings },
        document.subject,
        blob,
        document,
        io,
      );
    },
    async tag({ tag }, manifest, io) {
      if (tag === undefined) return;
      const bytes = manifests.get(manifest.digest);
      if (bytes === undefined)
        throw new RangeError(`the manifest ${manifest.digest} was not put before it is tagged`);
      // Where the tag leads there already, nothing is written: it may be immutable.
      if ((await findDigest(tag, io)) === manifest.digest) return;
      await putManifest(tag, manifest, bytes, io);
    },
    findDigest,
    async publish(tag, manifest, bytes, io) {
      await putManifest(tag, manifest, bytes, io);
    },
    async putGrowing({ open, made }, io) {
      // why: it may fail before anything here awaits it.
      made.catch(() => undefined);
      const endpoint = await endpointOf();
      const { authority, chunkSize } = endpoint;
      // Where pieces are wanted, one that has no end is not.
      if (chunkSize !== undefined) return made.then(() => false);
      const isThere = ({ digest }: Descriptor): Promise<boolean> =>
        isFound(`blobs/${digest}`, `looking for ${digest}`, io);
      const upload = { transport, endpoint, asked, open, made, isThere, options: io };
      const isDone = await uploads.limitOf(authority)(() => uploadGrowing(upload));
      if (isDone) uploads.repositoriesOf(authority, (await made).digest).add(endpoint.repository);
      return isDone;
    },
    async checkPush(io) {
      const upload = { transport, endpoint: await endpointOf(), asked, options: io };
      const session = await beginSession({ ...upload, asked: () => asked('asking for permission to push') });
      await giveUp(upload, session);
    },
  };
}
