/**
 * What refers to an image: signatures, attestations, SBOMs. Registries list it by an API, or we keep a list in an
 * index under the tag `sha256-<hex>`, as the specification wants where there is no API.
 *
 * Spec: OCI distribution-spec v1.1.1, "Listing Referrers", "Pushing Manifests with Subject".
 */
import { algorithmOf, digestOf, hexOf, type Digest } from '../base/digest.ts';
import { isTsbuildError, TsbuildError } from '../base/errors.ts';
import type { IoOptions } from '../content/roles.ts';
import { MEDIA_TYPES, type Descriptor, type Index, type Manifest } from '../oci/documents.ts';
import { MAX_DOCUMENT, parseManifestOrIndex } from '../oci/parse.ts';
import { readText, type Response } from './answer.ts';
import type { Endpoint } from './endpoints.ts';
import { ACCEPT } from './manifests.ts';
import { nextPage } from './paging.ts';
import { protocolError, readRefusal, refusalError, type Asked } from './registry-error.ts';
import type { RegistrySettings } from './settings.ts';
import type { Transport } from './transport.ts';
import { scopesOf } from './upload-session.ts';

export interface ReferrersOf {
  readonly transport: Transport;
  readonly settings: RegistrySettings;
  readonly endpoint: Endpoint;
  readonly askedFor: (action: string) => Asked;
}

const MAX_PAGES = 100;
const MAX_RACES = 5;

/** `sha256-<hex>`; no more than 64 digits. */
export function fallbackTag(subject: Digest): string {
  return `${algorithmOf(subject)}-${hexOf(subject).slice(0, 64)}`;
}

export async function listReferrers(
  of: ReferrersOf,
  subject: Digest,
  io: IoOptions & { readonly artifactType?: string },
): Promise<readonly Descriptor[]> {
  const { referrers } = of.settings;
  const listed = referrers === 'tag' ? undefined : await byApi(of, subject, io);
  const found = listed ?? (referrers === 'api' ? [] : (await byTag(of, subject, io)).manifests);
  return found.filter(
    (each) => io.artifactType === undefined || (each.artifactType ?? '') === io.artifactType,
  );
}

/** undefined where the registry has no such API. */
async function byApi(
  { transport, endpoint, askedFor }: ReferrersOf,
  subject: Digest,
  { signal, onNotice, artifactType }: IoOptions & { readonly artifactType?: string },
): Promise<readonly Descriptor[] | undefined> {
  const asked = askedFor('listing referrers');
  const filter = artifactType === undefined ? '' : `?artifactType=${encodeURIComponent(artifactType)}`;
  let url: string | undefined = `/${endpoint.repository}/referrers/${subject}${filter}`;
  const found: Descriptor[] = [];
  for (let page = 0; url !== undefined && page < MAX_PAGES; page += 1) {
    const response: Response = await transport.request(endpoint, {
      method: 'GET',
      url,
      asked,
      scopes: [`repository:${endpoint.repository}:pull`],
      headers: { accept: MEDIA_TYPES.index },
      accept: [200, 400, 404, 405],
      signal,
      onNotice,
    });
    if (response.status !== 200) {
      await response.discard();
      return undefined;
    }
    found.push(...(await readIndex(response, asked)).manifests);
    url = nextPage(response, asked);
  }
  return found;
}

interface Kept {
  readonly manifests: readonly Descriptor[];
  readonly etag: string | undefined;
}

/** The list under the tag; empty where there is none, or where the tag is something else. */
async function byTag(
  { transport, endpoint, askedFor }: ReferrersOf,
  subject: Digest,
  { signal, onNotice }: IoOptions,
): Promise<Kept> {
  const asked = askedFor('listing referrers');
  const response = await transport.request(endpoint, {
    method: 'GET',
    url: `/${endpoint.repository}/manifests/${fallbackTag(subject)}`,
    asked,
    scopes: [`repository:${endpoint.repository}:pull`],
    headers: { accept: ACCEPT },
    accept: [200, 404],
    signal,
    onNotice,
  });
  if (response.status === 404) {
    await response.discard();
    return { manifests: [], etag: undefined };
  }
  const bytes = Buffer.from(await readText(response, MAX_DOCUMENT));
  // why: GitLab takes the tag for the digest and gives the image itself, whose children are no referrers.
  if (digestOf(bytes, subject) === subject) return { manifests: [], etag: undefined };
  const parsed = parseManifestOrIndex(bytes, `tag ${fallbackTag(subject)}`);
  if (parsed.kind !== 'index')
    throw protocolError(asked, `the tag ${fallbackTag(subject)} is an image, not a list of referrers`);
  return { manifests: parsed.index.manifests, etag: response.header('etag') };
}

/** Puts a manifest into the list under its subject's tag, unless it is there. */
export async function addReferrer(
  of: ReferrersOf,
  subject: Descriptor,
  descriptor: Descriptor,
  document: Manifest | Index,
  io: IoOptions,
): Promise<void> {
  const added = describe(descriptor, document);
  for (let races = 0; ; races += 1) {
    const before = await byTag(of, subject.digest, io);
    if (before.manifests.some(({ digest }) => digest === added.digest)) return;
    const manifests = [...before.manifests, added].sort((a, b) => (a.digest < b.digest ? -1 : 1));
    const isWritten = await writeList(of, subject.digest, manifests, before, io);
    if (isWritten) return;
    if (races >= MAX_RACES)
      throw new TsbuildError(
        'REGISTRY_REFUSED',
        `cannot push to ${of.askedFor('').host}: others keep changing the list of referrers of ${subject.digest}`,
      );
  }
}

function describe({ mediaType, digest, size }: Descriptor, document: Manifest | Index): Descriptor {
  const config = 'config' in document ? document.config.mediaType : undefined;
  const artifactType = document.artifactType ?? config;
  return {
    mediaType,
    digest,
    size,
    ...(document.annotations === undefined ? {} : { annotations: document.annotations }),
    ...(artifactType === undefined ? {} : { artifactType }),
  };
}

/** false where somebody else was faster. */
async function writeList(
  { transport, endpoint, askedFor }: ReferrersOf,
  subject: Digest,
  manifests: readonly Descriptor[],
  { etag }: Kept,
  { signal, onNotice }: IoOptions,
): Promise<boolean> {
  const index: Index = { schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests };
  const bytes = Buffer.from(JSON.stringify(index));
  const asked = askedFor(`putting the list of referrers ${fallbackTag(subject)}`);
  const response = await transport.request(endpoint, {
    method: 'PUT',
    url: `/${endpoint.repository}/manifests/${fallbackTag(subject)}`,
    asked,
    scopes: scopesOf(endpoint),
    headers: {
      'content-type': MEDIA_TYPES.index,
      'content-length': `${bytes.byteLength}`,
      // Two writers at once would lose one of the two.
      ...(etag === undefined ? {} : { 'if-match': etag }),
    },
    body: () => bytes,
    accept: [200, 201, 202, 204, 412],
    signal,
    onNotice,
  });
  await response.discard();
  return response.status !== 412;
}

async function readIndex(response: Response, asked: Asked): Promise<Index> {
  const text = await readText(response, MAX_DOCUMENT);
  try {
    const parsed = parseManifestOrIndex(Buffer.from(text), 'list of referrers');
    if (parsed.kind === 'index') return parsed.index;
  } catch (error) {
    if (!isTsbuildError(error, 'IMAGE_INVALID')) throw error;
    throw refusalError(asked, readRefusal(response.status, error.message));
  }
  throw protocolError(asked, 'the list of referrers is no index');
}
