/**
 * The distribution client: repositories as sources and sinks of blobs (contract in registry.ts).
 *
 * Spec: OCI distribution-spec v1.1.1. Once a tag is resolved everything is asked for by digest.
 */
import { createDigester, digestOf, isDigest } from '../base/digest.ts';
import { TsbuildError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { isManifestType } from '../content/copy-image.ts';
import { MEDIA_TYPES, type Descriptor } from '../oci/documents.ts';
import { MAX_DOCUMENT, parseManifestOrIndex } from '../oci/parse.ts';
import type { Reference } from '../oci/reference.ts';
import { createAuthorizer } from './auth.ts';
import type { Asked } from './registry-error.ts';
import type { Registry, RemoteSink, RemoteSource } from './registry.ts';
import { statusError } from './registry-error.ts';
import type { RegistrySettings } from './settings.ts';
import { createTransport, type Response, type Transport } from './transport.ts';
import { uploadBlob } from './upload.ts';

const ACCEPT = [
  MEDIA_TYPES.index,
  MEDIA_TYPES.manifest,
  MEDIA_TYPES.dockerIndex,
  MEDIA_TYPES.dockerManifest,
].join(', ');
/** Resumes without progress before a download is given up. */
const MAX_RESUMES = 5;

export function createRegistry(settings: RegistrySettings, host: Host): Registry {
  const transport = createTransport(settings, host);
  return {
    source: (reference) => createSource(transport, reference),
    sink: (reference) => createSink(transport, reference),
    async checkLogin(registry, credentials, { signal }) {
      const authority = authorityOf(registry);
      await checkLogin(settings, host, authority, registry, credentials, signal);
    },
    [Symbol.asyncDispose]: () => transport.close(),
  };
}

/** Docker Hub's registry has another name than its images. */
export function authorityOf(registry: string): string {
  return registry === 'docker.io' || registry === 'index.docker.io'
    ? 'registry-1.docker.io'
    : registry.toLowerCase();
}

function createSource(transport: Transport, reference: Reference): RemoteSource {
  const { registry, repository } = reference;
  const authority = authorityOf(registry);
  const scopes = [`repository:${repository}:pull`];
  const asked = (action: string): Asked => ({ side: 'pull from', host: registry, repository, action });

  async function fetchManifest(
    name: string,
    signal: AbortSignal,
  ): Promise<{ readonly bytes: Uint8Array; readonly type: string | undefined }> {
    const response = await transport.request(authority, {
      method: 'GET',
      url: `/v2/${repository}/manifests/${name}`,
      asked: asked(`fetching manifest ${name}`),
      scopes,
      headers: { accept: ACCEPT },
      accept: [200],
      signal,
    });
    return { bytes: await readBounded(response, registry), type: response.header('content-type') };
  }

  async function* openBlob(
    blob: Descriptor,
    signal: AbortSignal,
    onProgress?: (current: number) => void,
  ): AsyncGenerator<Uint8Array> {
    const digester = createDigester();
    let resumes = 0;
    while (digester.size < blob.size) {
      const from = digester.size;
      const response = await transport.request(authority, {
        method: 'GET',
        url: `/v2/${repository}/blobs/${blob.digest}`,
        asked: asked(`fetching blob ${blob.digest}`),
        scopes,
        headers: from === 0 ? {} : { range: `bytes=${from}-` },
        accept: [200, 206],
        signal,
      });
      let skip = response.status === 206 ? 0 : from;
      try {
        for await (const chunk of response.body) {
          const part = chunk.subarray(Math.min(skip, chunk.byteLength));
          skip -= chunk.byteLength - part.byteLength;
          if (part.byteLength === 0) continue;
          digester.update(part);
          if (digester.size > blob.size)
            throw new TsbuildError(
              'SIZE_MISMATCH',
              `blob ${blob.digest} of ${registry} is larger than its ${blob.size} bytes`,
            );
          onProgress?.(digester.size);
          yield part;
        }
      } catch (error) {
        if (signal.aborted || error instanceof TsbuildError) throw error;
      }
      resumes = digester.size > from ? 0 : resumes + 1;
      if (digester.size < blob.size && resumes >= MAX_RESUMES)
        throw new TsbuildError(
          'REGISTRY_UNREACHABLE',
          `cannot pull from ${registry}: blob ${blob.digest} ends after ${digester.size} of ${blob.size} bytes`,
        );
    }
    const actual = digester.digest();
    if (actual !== blob.digest)
      throw new TsbuildError(
        'DIGEST_MISMATCH',
        `blob ${blob.digest} of ${registry}/${repository} has the digest ${actual}`,
        { hint: 'the registry or something before it damaged it; try again' },
      );
  }

  async function* openManifest(blob: Descriptor, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const { bytes } = await fetchManifest(blob.digest, signal);
    const actual = digestOf(bytes);
    if (actual !== blob.digest)
      throw new TsbuildError(
        'DIGEST_MISMATCH',
        `manifest ${blob.digest} of ${registry}/${repository} has the digest ${actual}`,
      );
    yield bytes;
  }

  return {
    async resolve({ tag = 'latest', digest }, { signal }) {
      const name = digest ?? tag;
      const head = await transport
        .request(authority, {
          method: 'HEAD',
          url: `/v2/${repository}/manifests/${name}`,
          asked: asked(`resolving ${name}`),
          scopes,
          headers: { accept: ACCEPT },
          accept: [200, 404, 405, 400],
          signal,
        })
        .catch((error: unknown) => {
          // why: an answer to HEAD has no body; the reason comes with GET.
          if (
            error instanceof TsbuildError &&
            (error.code === 'REGISTRY_AUTH' || error.code === 'REGISTRY_REFUSED')
          )
            return undefined;
          throw error;
        });
      const found = head === undefined || head.status !== 200 ? undefined : descriptorOf(head);
      if (found !== undefined && (digest === undefined || found.digest === digest)) return found;
      const { bytes, type } = await fetchManifest(name, signal);
      const actual = digestOf(bytes);
      if (digest !== undefined && actual !== digest)
        throw new TsbuildError(
          'DIGEST_MISMATCH',
          `manifest ${digest} of ${registry}/${repository} has the digest ${actual}`,
        );
      return {
        mediaType: mediaTypeOf(bytes, type, `${registry}/${repository}`),
        digest: actual,
        size: bytes.byteLength,
      };
    },
    open: (blob, { signal, onProgress }) =>
      isManifestType(blob.mediaType) ? openManifest(blob, signal) : openBlob(blob, signal, onProgress),
  };
}

function descriptorOf(head: Response): Descriptor | undefined {
  const digest = head.header('docker-content-digest');
  const size = Number(head.header('content-length'));
  const mediaType = head.header('content-type')?.split(';', 1)[0]?.trim();
  if (
    digest === undefined ||
    !isDigest(digest) ||
    !Number.isSafeInteger(size) ||
    size <= 0 ||
    mediaType === undefined ||
    !isManifestType(mediaType)
  )
    return undefined;
  return { mediaType, digest, size };
}

function mediaTypeOf(bytes: Uint8Array, header: string | undefined, what: string): string {
  const stated = header?.split(';', 1)[0]?.trim();
  const parsed = parseManifestOrIndex(bytes, what);
  const inside = parsed.kind === 'index' ? parsed.index.mediaType : parsed.manifest.mediaType;
  return stated !== undefined && isManifestType(stated) ? stated : inside;
}

async function readBounded(response: Response, registry: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body) {
    size += chunk.byteLength;
    if (size > MAX_DOCUMENT)
      throw new TsbuildError(
        'REGISTRY_PROTOCOL',
        `${registry} sent a manifest of more than ${MAX_DOCUMENT} bytes`,
      );
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function createSink(transport: Transport, reference: Reference): RemoteSink {
  const { registry, repository } = reference;
  const authority = authorityOf(registry);
  const scopes = [`repository:${repository}:pull,push`];
  const asked = (action: string): Asked => ({ side: 'push to', host: registry, repository, action });
  const manifests = new Map<string, Uint8Array>();

  async function putManifest(
    name: string,
    descriptor: Descriptor,
    bytes: Uint8Array,
    signal: AbortSignal,
  ): Promise<void> {
    const response = await transport.request(authority, {
      method: 'PUT',
      url: `/v2/${repository}/manifests/${name}`,
      asked: asked(`putting manifest ${name}`),
      scopes,
      headers: { 'content-type': descriptor.mediaType, 'content-length': `${bytes.byteLength}` },
      body: () => bytes,
      accept: [200, 201, 202],
      signal,
    });
    await response.discard();
    const answered = response.header('docker-content-digest');
    if (answered !== undefined && answered !== descriptor.digest)
      throw new TsbuildError(
        'DIGEST_MISMATCH',
        `${registry} stored the manifest as ${answered}, not as ${descriptor.digest}`,
      );
  }

  return {
    async has(blob, { signal }) {
      const isManifest = isManifestType(blob.mediaType);
      const response = await transport.request(authority, {
        method: 'HEAD',
        url: `/v2/${repository}/${isManifest ? 'manifests' : 'blobs'}/${blob.digest}`,
        asked: asked(`looking for ${blob.digest}`),
        scopes,
        headers: isManifest ? { accept: ACCEPT } : {},
        accept: [200, 404, 405],
        signal,
      });
      await response.discard();
      // why: a manifest is put again for its tag, so its bytes are needed in any case.
      return response.status === 200 && !isManifest;
    },
    async put(blob, open, { signal, onProgress }) {
      if (!isManifestType(blob.mediaType)) {
        await uploadBlob(transport, {
          authority,
          repository,
          scopes,
          asked,
          blob,
          open,
          signal,
          ...(onProgress === undefined ? {} : { onProgress }),
        });
        return;
      }
      const chunks: Uint8Array[] = [];
      for await (const chunk of open()) chunks.push(Uint8Array.from(chunk));
      const bytes = Buffer.concat(chunks);
      manifests.set(blob.digest, bytes);
      await putManifest(blob.digest, blob, bytes, signal);
    },
    async tag({ tag }, manifest, { signal }) {
      const bytes = manifests.get(manifest.digest);
      if (tag === undefined) return;
      if (bytes === undefined)
        throw new TsbuildError(
          'REGISTRY_PROTOCOL',
          `the manifest ${manifest.digest} was not put before it is tagged`,
        );
      await putManifest(tag, manifest, bytes, signal);
    },
  };
}

async function checkLogin(
  settings: RegistrySettings,
  host: Host,
  authority: string,
  registry: string,
  credentials: { readonly username: string; readonly password: string },
  signal: AbortSignal,
): Promise<void> {
  const asked: Asked = {
    side: 'log in to',
    host: registry,
    repository: '',
    action: 'checking the credentials',
  };
  // Its own transport, so that the keychain's credentials do not answer for the new ones.
  const transport = createTransport({ ...settings, configFiles: [] }, host);
  try {
    const probe = await transport.request(authority, {
      method: 'GET',
      url: '/v2/',
      asked,
      scopes: [],
      accept: [200, 401],
      signal,
    });
    await probe.discard();
    if (probe.status === 200) return;
    const { request } = await import('./http-client.ts');
    const authorizer = createAuthorizer({
      authority,
      settings,
      host,
      credentials,
      send: (url, init) => request(url, init),
    });
    authorizer.challenged(probe.header('www-authenticate'));
    const authorization = await authorizer.authorization([], { fresh: true, asked, signal });
    const again = await transport.request(authority, {
      method: 'GET',
      url: '/v2/',
      asked,
      scopes: [],
      headers: authorization === undefined ? {} : { authorization },
      accept: [200, 401, 403],
      signal,
    });
    await again.discard();
    if (again.status !== 200)
      throw statusError(asked, again.status, 'unauthorized: incorrect username or password');
  } finally {
    await transport.close();
  }
}
