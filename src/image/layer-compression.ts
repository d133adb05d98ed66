/**
 * Compression of layers under way: once per (layer, engine, level), a few at a time, and what has come out can be read
 * already. It begins with a layer that is there as a file, or with one that is still being packed.
 */
import pLimit from 'p-limit';
import type { DiffID } from '../base/digest.ts';
import { TsbuildError } from '../base/errors.ts';
import { createSharedSignal, type SharedSignal } from '../base/shared-signal.ts';
import type { CompressedBlobs } from '../content/compressed-blobs.ts';
import type { BlobDraft, ContentStore } from '../content/content-store.ts';
import { createGrowingBlob, type GrowingBlob } from '../content/growing-blob.ts';
import type { Compressed, CompressOptions, Compressor } from '../layer/compress.ts';
import type { GrowingLayer, Layer } from '../layer/layer.ts';
import type { CompressedForm } from '../layer/layer-form.ts';
import { MEDIA_TYPES, type Descriptor } from '../oci/documents.ts';

/** Layers that are compressed at a time: each takes all processors. */
const PARALLEL = 2;

/** A blob under way. */
export interface GrowingForm {
  readonly kind: 'growing';
  /** Awaited by somebody in any case: it rejects with what went wrong. */
  readonly blob: Promise<Descriptor>;
  /** Bytes before compression. */
  readonly layerSize: number;
  readonly read: GrowingBlob['read'];
}

export interface LayerCompression {
  /** In turn; resolves when it has begun. `layer` is asked for then; what it throws is thrown. */
  start(
    diffID: DiffID,
    how: Compression,
    layer: (signal: AbortSignal) => Promise<Layer>,
    signal: AbortSignal,
  ): Promise<GrowingForm>;
  /**
   * Begins where nobody waits for a turn; `start` finds it under way once the layer is in the store, unless `isKnown`
   * says then that its blob is there. Resolves when it is over, whatever came of it.
   */
  startEarly(early: EarlyCompression): Promise<void>;
}

export interface Compression {
  readonly form: CompressedForm;
  readonly compressor: Compressor;
}

export interface EarlyCompression {
  readonly layer: GrowingLayer;
  /** Its tar, open. */
  readonly from: number;
  readonly how: Compression;
  readonly isKnown: (diffID: DiffID) => boolean;
  readonly signal: AbortSignal;
}

interface Making {
  readonly started: Promise<GrowingForm>;
  readonly shared: SharedSignal;
}

type Compress = (to: number, options: CompressOptions) => Promise<{ diffID: DiffID; made: Compressed }>;

export function createLayerCompression(content: ContentStore, compressed: CompressedBlobs): LayerCompression {
  const making = new Map<string, Making>();
  const limit = pLimit(PARALLEL);

  async function makeBlob(
    { form, compressor }: Compression,
    { draft, growing }: { readonly draft: BlobDraft; readonly growing: GrowingBlob },
    compress: Compress,
    signal: AbortSignal,
  ): Promise<Descriptor> {
    try {
      const { diffID, made } = await compress(draft.fd, { signal, onWritten: growing.grown });
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

  return {
    start(diffID, how, layerOf, signal) {
      const { compressor } = how;
      const key = `${diffID} ${compressor.name}`;
      const running = making.get(key);
      if (running !== undefined) {
        running.shared.join(signal);
        return running.started;
      }
      const shared = createSharedSignal();
      shared.join(signal);
      const started = new Promise<GrowingForm>((resolve, reject) => {
        const work = limit(async () => {
          const layer = await layerOf(shared.signal);
          using draft = content.draft();
          const growing = createGrowingBlob(draft.path);
          const compress: Compress = async (to, io) => ({
            diffID,
            made: await compressor.compress(layer, to, io),
          });
          const blob = makeBlob(how, { draft, growing }, compress, shared.signal);
          resolve({ kind: 'growing', blob, layerSize: layer.size, read: growing.read });
          await blob;
        });
        work.catch(reject).finally(() => making.delete(key));
      });
      making.set(key, { started, shared });
      return started;
    },
    async startEarly({ layer, from, how, isKnown, signal }) {
      const { compressGrowing, name } = how.compressor;
      if (compressGrowing === undefined || limit.activeCount + limit.pendingCount >= PARALLEL) return;
      await limit(async () => {
        using draft = content.draft();
        const growing = createGrowingBlob(draft.path);
        const shared = createSharedSignal();
        const pointless = new AbortController();
        shared.join(signal);
        const compress: Compress = async (to, io) => {
          const made = await compressGrowing(from, layer.sizes(), to, io);
          return { diffID: diffIDOf(await layer.made), made };
        };
        const ends = AbortSignal.any([shared.signal, pointless.signal]);
        const blob = makeBlob(how, { draft, growing }, compress, ends);
        let named: string | undefined;
        let isOver = false;
        void layer.made.then((whole) => {
          const key = `${whole?.diffID ?? ''} ${name}`;
          if (isOver) return;
          if (whole === undefined || making.has(key) || isKnown(whole.diffID)) return pointless.abort();
          const form = { kind: 'growing', blob, layerSize: whole.size, read: growing.read } as const;
          making.set(key, { started: Promise.resolve(form), shared });
          named = key;
        });
        await blob.catch(() => undefined);
        isOver = true;
        if (named !== undefined) making.delete(named);
      });
    },
  };
}

function diffIDOf(layer: Layer | undefined): DiffID {
  if (layer === undefined) throw new TsbuildError('ABORTED', 'the layer was given up');
  return layer.diffID;
}
