/**
 * Layers in the form in which they travel. One that came from elsewhere travels as the blob that it came as, which may
 * lie in a registry still; others are compressed once per (layer, engine, level), and the result is remembered. While
 * a layer is being compressed it can be read already.
 */
import { closeSync } from 'node:fs';
import type { DiffID } from '../base/digest.ts';
import { TsbuildError } from '../base/errors.ts';
import type { CompressedBlobs } from '../content/compressed-blobs.ts';
import type { ContentStore } from '../content/content-store.ts';
import type { LazyBlobs } from '../content/lazy-blobs.ts';
import type { Compressor } from '../layer/compress.ts';
import type { GrowingLayer, Layer, LayerStore } from '../layer/layer.ts';
import type { CompressedForm, LayerForm } from '../layer/layer-form.ts';
import { MEDIA_TYPES, type Descriptor } from '../oci/documents.ts';
import { isForeignLayer, typeIn } from '../oci/media-types.ts';
import { createLayerCompression, type Compression, type GrowingForm } from './layer-compression.ts';
import type { LayerFiles } from './layer-files.ts';

export type FormedLayer = { readonly kind: 'ready'; readonly blob: Descriptor } | GrowingForm;

export interface LayerForms {
  /** Begins where something must be made; resolves when that is under way. Throws BLOB_NOT_FOUND, NATIVE_MISSING. */
  begin(diffID: DiffID, form: LayerForm, signal: AbortSignal): Promise<FormedLayer>;
  /**
   * Begins on a layer that is still being packed, where there is room for that; `begin` finds it under way. Resolves
   * when it is over, whatever came of it.
   */
  beginEarly(layer: GrowingLayer, form: LayerForm, signal: AbortSignal): Promise<void>;
  /** The blob that `begin` would say is ready; undefined where something must be made or fetched first. */
  ready(diffID: DiffID, form: LayerForm): Promise<Descriptor | undefined>;
  /** As `begin`, to its end: the blob is in the content store, in the layer store, or known to lie in a registry. */
  descriptorOf(diffID: DiffID, form: LayerForm, signal: AbortSignal): Promise<Descriptor>;
}

export interface LayerFormsOptions {
  readonly content: ContentStore;
  readonly layers: LayerStore;
  readonly compressed: CompressedBlobs;
  readonly blobs: LazyBlobs;
  readonly files: LayerFiles;
}

/** A blob, or what it takes to make it. */
type Ready = { readonly blob: Descriptor } | { readonly how: Compression | undefined };

export function createLayerForms(options: LayerFormsOptions): LayerForms {
  const { content, layers, compressed, blobs, files } = options;
  const compressing = createLayerCompression(content, compressed);

  /** The layer as a plain file: compressing and uncompressed forms need one. */
  async function fileOf(diffID: DiffID, signal: AbortSignal): Promise<Layer> {
    const layer = await files.bring(diffID, { signal });
    if (layer === undefined) throw missing(diffID);
    return layer;
  }

  /** What it came as from elsewhere, where it travels on as that. */
  function originOf(diffID: DiffID, { compression, force = false }: LayerForm): Descriptor | undefined {
    const origin = blobs.ofLayer(diffID);
    const stays =
      origin !== undefined && (!force || isForeignLayer(origin) || compressionOf(origin) === compression);
    return stays ? { ...origin, mediaType: typeIn('oci', origin.mediaType) ?? origin.mediaType } : undefined;
  }

  /** What was made of it before. */
  function madeOf(diffID: DiffID, { name }: Compressor): Descriptor | undefined {
    const before = compressed.get(diffID, name);
    return before !== undefined && blobs.isHere(before) ? before : undefined;
  }

  async function ready(diffID: DiffID, form: LayerForm): Promise<Ready> {
    const origin = originOf(diffID, form);
    if (origin !== undefined) return { blob: origin };
    if (form.compression === 'uncompressed') {
      const tar = layers.get(diffID);
      return tar === undefined ? { how: undefined } : { blob: uncompressed(tar) };
    }
    const how = await compressionFor(form.compression, form.level);
    const blob = madeOf(diffID, how.compressor);
    return blob === undefined ? { how } : { blob };
  }

  async function begin(diffID: DiffID, form: LayerForm, signal: AbortSignal): Promise<FormedLayer> {
    const found = await ready(diffID, form);
    if ('blob' in found) return { kind: 'ready', blob: found.blob };
    if (found.how === undefined) return { kind: 'ready', blob: uncompressed(await fileOf(diffID, signal)) };
    return compressing.start(diffID, found.how, (shared) => fileOf(diffID, shared), signal);
  }

  return {
    begin,
    async beginEarly(layer, form, signal) {
      if (form.compression === 'uncompressed') return;
      let from: number | undefined;
      try {
        // Before anything is waited for: the layer may be done then.
        from = layer.open();
        const how = await compressionFor(form.compression, form.level);
        const isKnown = (diffID: DiffID): boolean =>
          (originOf(diffID, form) ?? madeOf(diffID, how.compressor)) !== undefined;
        await compressing.startEarly({ layer, from, how, isKnown, signal });
      } catch {
        // Whoever needs the blob is told when it is made in the usual way.
      } finally {
        if (from !== undefined) closeSync(from);
      }
    },
    async ready(diffID, form) {
      const found = await ready(diffID, form);
      return 'blob' in found ? found.blob : undefined;
    },
    async descriptorOf(diffID, form, signal) {
      const formed = await begin(diffID, form, signal);
      return formed.blob;
    },
  };
}

async function compressionFor(form: CompressedForm, level: number | undefined): Promise<Compression> {
  const { createCompressor } = await import('../layer/compress.ts');
  return { form, compressor: await createCompressor(form, level) };
}

function uncompressed({ diffID, size }: Layer): Descriptor {
  return { mediaType: MEDIA_TYPES.layer, digest: diffID, size };
}

function compressionOf({ mediaType }: Descriptor): LayerForm['compression'] {
  if (/[.+]gzip$/.test(mediaType)) return 'gzip';
  return /[.+]zstd$/.test(mediaType) ? 'zstd' : 'uncompressed';
}

function missing(diffID: DiffID): TsbuildError {
  return new TsbuildError('BLOB_NOT_FOUND', `cannot find the bytes of layer ${diffID}`, {
    hint: 'build or pull the image again',
  });
}
