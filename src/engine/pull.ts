/**
 * Pulling: the manifest for a platform, its config, its layers, each verified against what named it.
 *
 * Layers are kept as the blobs that they came as; they are decompressed when somebody looks into them, and checked
 * against the config's diffIDs then.
 */
import { TsbuildError } from '../base/errors.ts';
import { collect, copyImage, isManifestType } from '../content/copy-image.ts';
import type { StoredImage } from '../image/image-store.ts';
import { MEDIA_TYPES, type Descriptor, type Manifest, type Platform } from '../oci/documents.ts';
import { MAX_DOCUMENT, parseManifestOrIndex } from '../oci/parse.ts';
import { selectPlatform } from '../oci/platform.ts';
import { familiarName, type Reference } from '../oci/reference.ts';
import type { BlobSource } from '../content/roles.ts';
import type { Engine } from './engine.ts';
import { withVertex, type CallOptions } from './with-vertex.ts';

const MAX_DEPTH = 4;

/** Pulls and tags. Throws REGISTRY_*, IMAGE_INVALID, PLATFORM_NOT_FOUND, DIGEST_MISMATCH. */
export async function pullImage(
  engine: Engine,
  reference: Reference,
  platform: Platform,
  options: CallOptions,
): Promise<StoredImage> {
  const name = familiarName(reference);
  return withVertex(options.sink, engine.host, `pull ${name}`, `[internal] pull ${name}`, async () => {
    const source = (await engine.registry()).source(reference);
    const root = await source.resolve(reference, { signal: options.signal });
    const image = await storeImage(engine, source, root, platform, `pull ${name}`, {
      ...options,
      repository: `${reference.registry}/${reference.repository}`,
    });
    if (reference.digest === undefined) engine.images.tag(reference, image.id);
    return image;
  });
}

/** Brings the image for a platform into the store, from whatever holds it. */
export async function storeImage(
  engine: Engine,
  source: BlobSource,
  root: Descriptor,
  platform: Platform,
  vertex: string,
  options: CallOptions & { readonly repository?: string },
): Promise<StoredImage> {
  const descriptor = await choose(source, root, platform, options.signal, 0);
  const { host, content } = engine;
  await copyImage(descriptor, source, content, {
    signal: options.signal,
    onProgress: (blob, current, done) =>
      options.sink.emit({
        kind: 'transfer',
        vertex,
        item: blob.digest,
        action: 'pulling',
        current,
        total: blob.size,
        unit: 'bytes',
        done,
        at: host.now(),
      }),
  });
  const parsed = parseManifestOrIndex(
    await content.read(descriptor.digest, MAX_DOCUMENT),
    `manifest ${descriptor.digest}`,
  );
  if (parsed.kind === 'index')
    throw new TsbuildError('IMAGE_INVALID', `${descriptor.digest} is an index, not a manifest`);
  return adopt(engine, descriptor, parsed.manifest, options.repository);
}

async function choose(
  source: BlobSource,
  root: Descriptor,
  platform: Platform,
  signal: AbortSignal,
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
  const parsed = parseManifestOrIndex(await collect(source.open(root, { signal })), `index ${root.digest}`);
  if (parsed.kind === 'manifest') return root;
  return choose(source, selectPlatform(parsed.index, platform), platform, signal, depth + 1);
}

async function adopt(
  engine: Engine,
  descriptor: Descriptor,
  manifest: Manifest,
  repository: string | undefined,
): Promise<StoredImage> {
  const { content, images, compressed } = engine;
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
    const { mediaType, digest, size } = layer;
    compressed.put(diffID, 'origin', {
      mediaType,
      digest,
      size,
      ...(repository === undefined ? {} : { repository }),
    });
  }
  return image;
}
