/**
 * Layers in the form in which they travel. One that came from elsewhere travels as the blob that it came as, which may
 * lie in a registry still; others are compressed once per (layer, engine, level), and the result is remembered. While
 * a layer is being compressed it can be read already.
 */
import pLimit from 'p-limit';
import type { DiffID } from '../base/digest.ts';
import { TsbuildError } from '../base/errors.ts';
import { createSharedSignal, type SharedSignal } from '../base/shared-signal.ts';
import type { CompressedBlobs } from '../content/compressed-blobs.ts';
import type { BlobDraft, ContentStore } from '../content/content-store.ts';
import { createGrowingBlob, type GrowingBlob } from '../content/growing-blob.ts';
import type { LazyBlobs } from '../content/lazy-blobs.ts';
import type { Compressor } from '../layer/compress.ts';
import type { CompressedForm, LayerForm } from '../layer/layer-form.ts';
import type { Layer, LayerStore } from '../layer/layer.ts';
import { MEDIA_TYPES, type Descriptor } from '../oci/documents.ts';
import { isForeignLayer, typeIn } from '../oci/media-types.ts';
import type { LayerFiles } from './layer-files.ts';

/** Layers that are compressed at a time: each takes all processors. */
const PARALLEL = 2;

export type FormedLayer =
  | { readonly kind: 'ready'; readonly blob: Descriptor }
  /** Under way. `blob` is awaited by somebody in any case: it rejects with what went wrong. */
  | {
      readonly kind: 'growing';
      readonly blob: Promise<Descriptor>;
      /** Bytes before compression. */
      readonly layerSize: number;
      readonly read: GrowingBlob['read'];
    };

export interface LayerForms {
  /** Begins where something must be made; resolves when that is under way. Throws BLOB_NOT_FOUND, NATIVE_MISSING. */
  begin(diffID: DiffID, form: LayerForm, signal: AbortSignal): Promise<FormedLayer>;
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
type Ready =
  | { readonly blob: Descriptor }
  | { readonly compression: 'uncompressed' }
  | { readonly compression: CompressedForm; readonly compressor: Compressor };

interface Making {
  readonly started: Promise<FormedLayer>;
  readonly shared: SharedSignal;
}

export function createLayerForms(options: LayerFormsOptions): LayerForms {
  const { content, layers, compressed, blobs, files } = options;
  const making = new Map<string, Making>();
  const limit = pLimit(PARALLEL);

  /** The layer as a plain file: compressing and uncompressed forms need one. */
  async function fileOf(diffID: DiffID, signal: AbortSignal): Promise<Layer> {
    const layer = await files.bring(diffID, { signal });
    if (layer === undefined) throw missing(diffID);
    return layer;
  }

  /** Runs in turn; resolves when it has begun. */
  function start(
    diffID: DiffID,
    form: CompressedForm,
    compressor: Compressor,
    signal: AbortSignal,
  ): Promise<FormedLayer> {
    const key = `${diffID} ${compressor.name}`;
    const running = making.get(key);
    if (running !== undefined) {
      running.shared.join(signal);
      return running.started;
    }
    const shared = createSharedSignal();
    shared.join(signal);
    const started = new Promise<FormedLayer>((resolve, reject) => {
      const work = limit(async () => {
        const layer = await fileOf(diffID, shared.signal);
        using draft = content.draft();
        const growing = createGrowingBlob(draft.path);
        const blob = compressInto(layer, form, compressor, draft, growing, shared.signal);
        resolve({ kind: 'growing', blob, layerSize: layer.size, read: growing.read });
        await blob;
      });
      work.catch(reject).finally(() => making.delete(key));
    });
    making.set(key, { started, shared });
    return started;
  }

  async function compressInto(
    { diffID, ...layer }: Layer,
    form: CompressedForm,
    compressor: Compressor,
    draft: BlobDraft,
    growing: GrowingBlob,
    signal: AbortSignal,
  ): Promise<Descriptor> {
    try {
      const made = await compressor.compress({ diffID, ...layer }, draft.fd, {
        signal,
        onWritten: growing.grown,
      });
      draft.publish(made);
      const mediaType = form === 'gzip' ? MEDIA_TYPES.layerGzip : MEDIA_TYPES.layerZstd;
      compressed.put(diffID, compressor.name, { mediaType, ...made });
      growing.end();
      return { mediaType, ...made };
    } catch (error) {
      growing.fail(error);
      throw error;
    }
  }

  async function ready(diffID: DiffID, { compression, level, force = false }: LayerForm): Promise<Ready> {
    const origin = blobs.ofLayer(diffID);
    const tar = layers.get(diffID);
    if (compression === 'uncompressed' && tar !== undefined) return { blob: uncompressed(tar) };
    const stays =
      origin !== undefined && (!force || isForeignLayer(origin) || compressionOf(origin) === compression);
    if (stays) return { blob: { ...origin, mediaType: typeIn('oci', origin.mediaType) ?? origin.mediaType } };
    if (compression === 'uncompressed') return { compression };
    const { createCompressor } = await import('../layer/compress.ts');
    const compressor = await createCompressor(compression, level);
    const before = compressed.get(diffID, compressor.name);
    return before !== undefined && blobs.isHere(before) ? { blob: before } : { compression, compressor };
  }

  async function begin(diffID: DiffID, form: LayerForm, signal: AbortSignal): Promise<FormedLayer> {
    const found = await ready(diffID, form);
    if ('blob' in found) return { kind: 'ready', blob: found.blob };
    if (found.compression === 'uncompressed')
      return { kind: 'ready', blob: uncompressed(await fileOf(diffID, signal)) };
    return start(diffID, found.compression, found.compressor, signal);
  }

  return {
    begin,
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
