/**
 * Pulling: the manifest for a platform, its config, its layers, each verified against what named it.
 *
 * Layers are kept as the blobs that they came as; they are decompressed when somebody looks into them, and checked
 * against the config's diffIDs then. A base image of a build is pulled lazily: where its layers can be had is
 * remembered, and they are fetched when somebody looks into them (lazy-blobs.ts).
 */
import { isTsbuildError, TsbuildError } from '../base/errors.ts';
import { collect, copyImage, isManifestType } from '../content/copy-image.ts';
import type { StoredImage } from '../image/image-store.ts';
import { MEDIA_TYPES, type Descriptor, type Manifest, type Platform } from '../oci/documents.ts';
import { isForeignLayer } from '../oci/media-types.ts';
import { MAX_DOCUMENT, parseManifestOrIndex } from '../oci/parse.ts';
import { formatPlatform, isCompatible, selectPlatform } from '../oci/platform.ts';
import { familiarName, type Reference } from '../oci/reference.ts';
import { namingFullDisk } from './full-disk.ts';
import type { ContentStore } from '../content/content-store.ts';
import type { BlobSource, IoOptions } from '../content/roles.ts';
import type { Engine } from './engine.ts';
import { withinBudget } from './gc/within-budget.ts';
import { transferOptions } from './transfer-progress.ts';
import { withVertex, type CallOptions } from './with-vertex.ts';

const MAX_DEPTH = 4;

export interface PullOptions extends CallOptions {
  /** Layers stay in the registry until somebody looks into them. */
  readonly isLazy?: boolean;
}

/** Pulls and tags. Throws REGISTRY_*, IMAGE_INVALID, PLATFORM_NOT_FOUND, DIGEST_MISMATCH. */
export async function pullImage(
  engine: Engine,
  reference: Reference,
  platform: Platform,
  options: PullOptions,
): Promise<StoredImage> {
  using _lease = engine.leases.enter();
  const name = familiarName(reference);
  return await namingFullDisk(engine.options.root, () =>
    withVertex(options.sink, engine.host, `pull ${name}`, `[internal] pull ${name}`, async () => {
      const source = (await engine.registry()).source(reference);
      const vertex = `pull ${name}`;
      const { onNotice } = transferOptions(vertex, 'pulling', engine.host, options);
      const root = await source.resolve(reference, { signal: options.signal, onNotice });
      const repository = `${reference.registry}/${reference.repository}`;
      const image = await withinBudget(engine.budget, options.signal, (signal) =>
        storeImage(engine, source, root, platform, vertex, { ...options, signal, repository }),
      );
      if (reference.digest === undefined) engine.images.tag(reference, image.id);
      return image;
    }),
  );
}

/** Brings the image for a platform into the store, from whatever holds it. */
export async function storeImage(
  engine: Engine,
  source: BlobSource,
  root: Descriptor,
  platform: Platform,
  vertex: string,
  options: PullOptions & { readonly repository?: string },
): Promise<StoredImage> {
  const { host, content } = engine;
  const io = transferOptions(vertex, 'pulling', host, options);
  const documents = keepingDocuments(source, content);
  const asking = { signal: io.signal, onNotice: io.onNotice };
  const descriptor = await chooseManifest(documents, root, platform, asking);
  const manifest = await readManifest(documents, descriptor, asking);
  // A registry does not have what lies elsewhere, so that is fetched in any case.
  const stays = new Set<string>(
    options.isLazy === true && options.repository !== undefined
      ? manifest.layers.filter((layer) => !isForeignLayer(layer)).map(({ digest }) => digest)
      : [],
  );
  stays.delete(manifest.config.digest);
  await copyImage(descriptor, documents, content, { ...io, isLeftOut: ({ digest }) => stays.has(digest) });
  const image = await adopt(engine, descriptor, manifest, options.repository);
  if (!isCompatible(image.config, platform))
    options.sink.emit({
      kind: 'warning',
      message: `the image is for ${formatPlatform(image.config)}, not for ${formatPlatform(platform)}`,
      vertex,
      at: host.now(),
    });
  return image;
}

async function readManifest(source: BlobSource, descriptor: Descriptor, io: IoOptions): Promise<Manifest> {
  const bytes = await collect(source.open(descriptor, io));
  const parsed = parseManifestOrIndex(bytes, `manifest ${descriptor.digest}`);
  if (parsed.kind === 'manifest') return parsed.manifest;
  throw new TsbuildError('IMAGE_INVALID', `${descriptor.digest} is an index, not a manifest`);
}

/** Manifests that the store has are not asked for: registries count that as pulls. */
function keepingDocuments(source: BlobSource, content: ContentStore): BlobSource {
  return {
    ...source,
    open(blob, io) {
      if (!isManifestType(blob.mediaType)) return source.open(blob, io);
      return content.size(blob.digest) === blob.size ? content.open(blob, io) : keep(blob, io);
    },
  };
  async function* keep(blob: Descriptor, io: IoOptions): AsyncGenerator<Uint8Array> {
    const bytes = await collect(source.open(blob, io));
    content.write(bytes, blob.digest);
    yield bytes;
  }
}

/** The manifest for a platform, of an index or of what is one already. Throws PLATFORM_NOT_FOUND. */
export function chooseManifest(
  source: BlobSource,
  root: Descriptor,
  platform: Platform,
  io: IoOptions,
): Promise<Descriptor> {
  return choose(source, root, platform, io, 0);
}

async function choose(
  source: BlobSource,
  root: Descriptor,
  platform: Platform,
  io: IoOptions,
  depth: number,
): Promise<Descriptor> {
  if (!isManifestType(root.mediaType))
    throw new TsbuildError(
      'IMAGE_INVALID',
      `${root.digest} has the media type ${JSON.stringify(root.mediaType)}, which is no image`,
    );
  if (root.mediaType === MEDIA_TYPES.manifest || root.mediaType === MEDIA_TYPES.dockerManifest) return root;
  if (depth >= MAX_DEPTH)
    throw new TsbuildError('IMAGE_INVALID', `indexes are nested more than ${MAX_DEPTH} deep`);
  const { signal, onNotice } = io;
  const parsed = parseManifestOrIndex(
    await collect(source.open(root, { signal, onNotice })),
    `index ${root.digest}`,
  );
  if (parsed.kind === 'manifest') return root;
  // What an index lists besides images (of other kinds, or unknown) is nobody's platform.
  const manifests = parsed.index.manifests.filter(({ mediaType }) => isManifestType(mediaType));
  try {
    const chosen = selectPlatform({ ...parsed.index, manifests }, platform);
    return await choose(source, chosen, platform, io, depth + 1);
  } catch (error) {
    if (!isTsbuildError(error, 'PLATFORM_NOT_FOUND')) throw error;
    const nested = manifests.filter((each) => each.platform === undefined && isIndexType(each.mediaType));
    for (const each of nested) {
      const found = await choose(source, each, platform, io, depth + 1).catch((inner: unknown) => {
        if (isTsbuildError(inner, 'PLATFORM_NOT_FOUND')) return undefined;
        throw inner;
      });
      if (found !== undefined) return found;
    }
    throw error;
  }
}

function isIndexType(mediaType: string): boolean {
  return mediaType === MEDIA_TYPES.index || mediaType === MEDIA_TYPES.dockerIndex;
}

async function adopt(
  engine: Engine,
  descriptor: Descriptor,
  manifest: Manifest,
  repository: string | undefined,
): Promise<StoredImage> {
  const { content, images, blobs } = engine;
  const image = await images.putBytes(await content.read(manifest.config.digest, MAX_DOCUMENT), descriptor);
  const { diff_ids } = image.config.rootfs;
  if (diff_ids.length !== manifest.layers.length)
    throw new TsbuildError(
      'IMAGE_INVALID',
      `the manifest names ${manifest.layers.length} layers, the config ${diff_ids.length}`,
    );
  for (const [index, diffID] of diff_ids.entries()) {
    const layer = manifest.layers[index];
    if (layer === undefined) continue;
    blobs.addLayer(diffID, layer, isForeignLayer(layer) ? undefined : repository);
  }
  return image;
}
