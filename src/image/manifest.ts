/**
 * From a stored image to something that can travel: layers get the form that the destination wants (layer-forms.ts),
 * and a manifest names them.
 */
import type { Digest, DiffID } from '../base/digest.ts';
import { TsbuildError } from '../base/errors.ts';
import type { BlobSource } from '../content/roles.ts';
import type { LayerForm } from '../layer/layer-form.ts';
import { MEDIA_TYPES, type Descriptor, type Index, type Manifest, type Platform } from '../oci/documents.ts';
import { typeIn } from '../oci/media-types.ts';
import type { StoredImage } from './image-store.ts';
import { createLayerForms, type LayerForms, type LayerFormsOptions } from './layer-forms.ts';

export type ManifestFormat = 'oci' | 'docker';

/** By the id of the image whose manifest has them. */
export type AnnotationsByImage = ReadonlyMap<Digest, NonNullable<Manifest['annotations']>>;

export interface ManifestOptions {
  readonly form: LayerForm;
  readonly format: ManifestFormat;
  /** Of OCI manifests; docker's have none. */
  readonly annotations?: AnnotationsByImage | undefined;
  readonly signal: AbortSignal;
}

export interface Forms extends LayerForms {
  /** Writes the manifest to the content store; all that it names can be read from `source`. */
  createManifest(image: StoredImage, options: ManifestOptions): Promise<Descriptor>;
  /** The manifest of one image, or an index of several, one per platform. */
  createRoot(images: readonly StoredImage[], options: ManifestOptions): Promise<Descriptor>;
  /** Every blob of such manifests. */
  readonly source: BlobSource;
}

export function createForms(options: LayerFormsOptions): Forms {
  const { content, layers, blobs } = options;
  const forms = createLayerForms(options);

  async function createManifest(
    image: StoredImage,
    { form, format, annotations, signal }: ManifestOptions,
  ): Promise<Descriptor> {
    const config = {
      mediaType: format === 'oci' ? MEDIA_TYPES.config : MEDIA_TYPES.dockerConfig,
      digest: image.id,
      size: content.size(image.id) ?? 0,
    };
    const layerDescriptors: Descriptor[] = [];
    for (const diffID of image.config.rootfs.diff_ids) {
      const descriptor = await forms.descriptorOf(diffID, form, signal);
      layerDescriptors.push(
        format === 'oci' ? descriptor : { ...descriptor, mediaType: dockerLayerType(descriptor.mediaType) },
      );
    }
    const mediaType = format === 'oci' ? MEDIA_TYPES.manifest : MEDIA_TYPES.dockerManifest;
    const own = format === 'oci' ? annotations?.get(image.id) : undefined;
    const manifest: Manifest = {
      ...{ schemaVersion: 2, mediaType, config, layers: layerDescriptors },
      ...(own === undefined ? {} : { annotations: own }),
    };
    return { mediaType, ...content.write(JSON.stringify(manifest)) };
  }

  return {
    ...forms,
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
        const tar = blobs.isHere(blob) ? undefined : layers.get(blob.digest as DiffID);
        return tar === undefined ? blobs.open(blob, options) : tar.tar();
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

function dockerLayerType(mediaType: string): string {
  const type = typeIn('docker', mediaType);
  if (type === undefined)
    throw new TsbuildError('IMAGE_INVALID', `docker images cannot hold ${JSON.stringify(mediaType)}`, {
      hint: 'use the OCI format',
    });
  return type;
}
