/**
 * From a stored image to something that can travel: layers get the form that the destination wants, and a manifest
 * names them.
 *
 * A pulled layer travels as the blob that it came with. Others are compressed once per (layer, engine, level), and
 * the result is remembered.
 */
import type { DiffID } from '../base/digest.ts';
import { TsbuildError } from '../base/errors.ts';
import type { CompressedBlobs } from '../content/compressed-blobs.ts';
import type { ContentStore } from '../content/content-store.ts';
import type { BlobSource } from '../content/roles.ts';
import { gzipBlocks, gzipEngine } from '../layer/compress.ts';
import type { LayerStore } from '../layer/layer.ts';
import { MEDIA_TYPES, type Descriptor, type Index, type Manifest, type Platform } from '../oci/documents.ts';
import { typeIn } from '../oci/media-types.ts';
import type { ImageStore, StoredImage } from './image-store.ts';

export type LayerForm = 'gzip' | 'uncompressed';
export type ManifestFormat = 'oci' | 'docker';

export interface ManifestOptions {
  readonly form: LayerForm;
  readonly format: ManifestFormat;
  readonly signal: AbortSignal;
}

export interface Forms {
  /** The layer in the wanted form: its blob is in the content store, or (uncompressed) in the layer store. */
  descriptorOf(diffID: DiffID, form: LayerForm, signal: AbortSignal): Promise<Descriptor>;
  /** Writes the manifest to the content store; all that it names can be read from `source`. */
  createManifest(image: StoredImage, options: ManifestOptions): Promise<Descriptor>;
  /** The manifest of one image, or an index of several, one per platform. */
  createRoot(images: readonly StoredImage[], options: ManifestOptions): Promise<Descriptor>;
  /** Every blob of such manifests. */
  readonly source: BlobSource;
}

export interface FormsOptions {
  readonly content: ContentStore;
  readonly layers: LayerStore;
  readonly compressed: CompressedBlobs;
  readonly images: ImageStore;
}

const LEVEL = 6;

export function createForms({ content, layers, compressed, images }: FormsOptions): Forms {
  const making = new Map<DiffID, Promise<Descriptor>>();

  function known(diffID: DiffID, how: string): Descriptor | undefined {
    const blob = compressed.get(diffID, how);
    if (blob === undefined || content.size(blob.digest) !== blob.size) return undefined;
    return { mediaType: blob.mediaType, digest: blob.digest, size: blob.size };
  }

  async function compress(diffID: DiffID, signal: AbortSignal): Promise<Descriptor> {
    const engine = gzipEngine(LEVEL);
    const before = known(diffID, engine);
    if (before !== undefined) return before;
    const layer = images.openLayer(diffID);
    if (layer === undefined) throw missing(diffID);
    const made = await content.ingest(abortable(gzipBlocks(layer.tar(), LEVEL), signal));
    const descriptor = { mediaType: MEDIA_TYPES.layerGzip, ...made };
    compressed.put(diffID, engine, descriptor);
    return descriptor;
  }

  function descriptorOf(diffID: DiffID, form: LayerForm, signal: AbortSignal): Promise<Descriptor> {
    const origin = known(diffID, 'origin');
    const tar = layers.get(diffID);
    if (form === 'uncompressed' && tar !== undefined)
      return Promise.resolve({ mediaType: MEDIA_TYPES.layer, digest: diffID, size: tar.size });
    if (origin !== undefined)
      return Promise.resolve({ ...origin, mediaType: ociLayerType(origin.mediaType) });
    const running = making.get(diffID) ?? compress(diffID, signal).finally(() => making.delete(diffID));
    making.set(diffID, running);
    return running;
  }

  async function createManifest(
    image: StoredImage,
    { form, format, signal }: ManifestOptions,
  ): Promise<Descriptor> {
    const config = {
      mediaType: format === 'oci' ? MEDIA_TYPES.config : MEDIA_TYPES.dockerConfig,
      digest: image.id,
      size: content.size(image.id) ?? 0,
    };
    const layerDescriptors: Descriptor[] = [];
    for (const diffID of image.config.rootfs.diff_ids) {
      const descriptor = await descriptorOf(diffID, form, signal);
      layerDescriptors.push(
        format === 'oci' ? descriptor : { ...descriptor, mediaType: dockerLayerType(descriptor.mediaType) },
      );
    }
    const mediaType = format === 'oci' ? MEDIA_TYPES.manifest : MEDIA_TYPES.dockerManifest;
    const manifest: Manifest = { schemaVersion: 2, mediaType, config, layers: layerDescriptors };
    return { mediaType, ...content.write(JSON.stringify(manifest)) };
  }

  return {
    descriptorOf,
    createManifest,
    async createRoot(images, options) {
      const [only] = images;
      if (only !== undefined && images.length === 1) return createManifest(only, options);
      const manifests: Descriptor[] = [];
      for (const image of images)
        manifests.push({ ...(await createManifest(image, options)), platform: platformOf(image) });
      const mediaType = options.format === 'oci' ? MEDIA_TYPES.index : MEDIA_TYPES.dockerIndex;
      const index: Index = { schemaVersion: 2, mediaType, manifests };
      return { mediaType, ...content.write(JSON.stringify(index)) };
    },
    source: {
      open(blob, options) {
        const tar = content.size(blob.digest) === undefined ? layers.get(blob.digest as DiffID) : undefined;
        return tar === undefined ? content.open(blob, options) : tar.tar();
      },
    },
  };
}

function platformOf({ config }: StoredImage): Platform {
  const { os, architecture, variant } = config;
  const version = config['os.version'];
  return {
    os,
    architecture,
    ...(variant === undefined ? {} : { variant }),
    ...(version === undefined ? {} : { 'os.version': version }),
  };
}

function missing(diffID: DiffID): TsbuildError {
  return new TsbuildError('BLOB_NOT_FOUND', `cannot find the bytes of layer ${diffID}`, {
    hint: 'build or pull the image again',
  });
}

async function* abortable(
  source: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    signal.throwIfAborted();
    yield chunk;
  }
}

/** Families are never mixed in one image; the bytes are the same. */
function ociLayerType(mediaType: string): string {
  return typeIn('oci', mediaType) ?? mediaType;
}

function dockerLayerType(mediaType: string): string {
  const type = typeIn('docker', mediaType);
  if (type === undefined)
    throw new TsbuildError('IMAGE_INVALID', `docker images cannot hold ${JSON.stringify(mediaType)}`, {
      hint: 'use the OCI format',
    });
  return type;
}
