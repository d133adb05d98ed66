/**
 * Layers as plain files, for drivers that mount them and for whatever reads them more than once. What is compressed is
 * decompressed into the layer store, what lies in a registry is fetched in the same pass, several side by side; blobs
 * are kept, so that a base travels on as it came.
 */
import { closeSync, openSync } from 'node:fs';
import pLimit from 'p-limit';
import { algorithmOf, type DiffID } from '../base/digest.ts';
import { ioError, isTsbuildError, TsbuildError } from '../base/errors.ts';
import { createSharedSignal, type SharedSignal } from '../base/shared-signal.ts';
import type { CompressedBlob } from '../content/compressed-blobs.ts';
import type { ContentStore } from '../content/content-store.ts';
import { isDamage } from '../content/copy-image.ts';
import type { LazyBlobs } from '../content/lazy-blobs.ts';
import type { IoOptions } from '../content/roles.ts';
import { decompress } from '../layer/decompress.ts';
import { expandLayer, type Expanded } from '../layer/expand.ts';
import type { Layer, LayerStore, LayerWriter } from '../layer/layer.ts';

/** Each takes a core to decompress, and a part of others to digest and write. */
const PARALLEL = 3;

export interface LayerFiles {
  /**
   * The layer as a file in the layer store; undefined where no bytes of it can be had. Once, however many ask. Throws
   * DIGEST_MISMATCH, ARCHIVE_INVALID, REGISTRY_*, DISK_FULL, ABORTED.
   */
  bring(diffID: DiffID, options: IoOptions): Promise<Layer | undefined>;
}

export interface LayerFilesOptions {
  readonly content: ContentStore;
  readonly layers: LayerStore;
  readonly blobs: LazyBlobs;
}

interface Bringing {
  readonly done: Promise<Layer>;
  readonly shared: SharedSignal;
}

export function createLayerFiles({ content, layers, blobs }: LayerFilesOptions): LayerFiles {
  const bringing = new Map<DiffID, Bringing>();
  const limit = pLimit(PARALLEL);

  /** Downloaded, verified, kept and decompressed in one pass; undefined where that cannot be done natively. */
  async function fromRegistry(
    diffID: DiffID,
    blob: CompressedBlob,
    io: IoOptions,
  ): Promise<Layer | undefined> {
    using draft = content.draft();
    using writer = layers.create();
    const body = blobs.open(blob, { ...io, isVerifiedBySink: true });
    const made = await expandLayer(
      { kind: 'stream', body },
      { to: writer.descriptor, keep: draft.fd, signal: io.signal },
    );
    if (made === undefined) return undefined;
    if (made.blob.digest !== blob.digest)
      throw new TsbuildError(
        'DIGEST_MISMATCH',
        `blob ${blob.digest} came with the digest ${made.blob.digest}`,
      );
    draft.publish(made.blob);
    return commit(writer, diffID, made);
  }

  async function fromStore(diffID: DiffID, blob: CompressedBlob, { signal }: IoOptions): Promise<Layer> {
    using writer = layers.create();
    const fd = openBlob(content.path(blob.digest));
    let made: Expanded | undefined;
    try {
      made = await expandLayer({ kind: 'file', fd }, { to: writer.descriptor, signal });
    } finally {
      closeSync(fd);
    }
    if (made !== undefined) return commit(writer, diffID, made);
    using plain = layers.create();
    for await (const chunk of decompress(content.open(blob, { signal }))) plain.write(chunk);
    return checked(plain.commit(), diffID);
  }

  function commit(writer: LayerWriter, diffID: DiffID, { layer }: Expanded): Layer {
    if (layer.diffID !== diffID) throw mismatch(diffID, layer.diffID);
    writer.written(diffID, layer.size);
    return writer.commit();
  }

  function checked(layer: Layer, diffID: DiffID): Layer {
    if (layer.diffID === diffID) return layer;
    layers.remove(layer.diffID);
    throw mismatch(diffID, layer.diffID);
  }

  async function make(diffID: DiffID, blob: CompressedBlob, io: IoOptions): Promise<Layer> {
    if (!blobs.isHere(blob) && algorithmOf(blob.digest) === 'sha256') {
      try {
        const layer = await fromRegistry(diffID, blob, io);
        if (layer !== undefined) return layer;
      } catch (error) {
        // Damaged on its way: fetched again below, from elsewhere if there is another place.
        const isDamaged = isDamage(error) || isTsbuildError(error, 'ARCHIVE_INVALID');
        if (!isDamaged || blobs.isHere(blob)) throw error;
        blobs.distrust(blob);
      }
    }
    await blobs.fetch(blob, io);
    try {
      return await fromStore(diffID, blob, io);
    } catch (error) {
      // Its bytes are those of its digest, so it never was that layer.
      if (isDamage(error) || isTsbuildError(error, 'ARCHIVE_INVALID')) blobs.dropLayer(diffID);
      throw error;
    }
  }

  return {
    async bring(diffID, options) {
      const there = layers.get(diffID);
      const blob = there === undefined ? blobs.ofLayer(diffID) : undefined;
      if (blob === undefined) return there;
      const running = bringing.get(diffID);
      if (running !== undefined) {
        running.shared.join(options.signal);
        return running.done;
      }
      const shared = createSharedSignal();
      shared.join(options.signal);
      const done = limit(() => make(diffID, blob, { ...options, signal: shared.signal })).finally(() =>
        bringing.delete(diffID),
      );
      bringing.set(diffID, { done, shared });
      return done;
    },
  };
}

function openBlob(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    throw ioError('read a blob', error);
  }
}

function mismatch(diffID: DiffID, actual: string): TsbuildError {
  return new TsbuildError('DIGEST_MISMATCH', `layer ${diffID} has the digest ${actual}`, {
    hint: 'pull the image again, or build with --no-cache',
  });
}
