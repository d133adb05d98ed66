/**
 * Pushing. A pusher takes layers as they come to exist, compresses and uploads them while the build goes on, and
 * finishes with config, manifest and tag.
 */
import pLimit from 'p-limit';
import type { Digest, DiffID } from '../base/digest.ts';
import { copyBlob, copyImage } from '../content/copy-image.ts';
import type { StoredImage } from '../image/image-store.ts';
import type { Descriptor } from '../oci/documents.ts';
import { familiarName, type Reference } from '../oci/reference.ts';
import type { RemoteSink } from '../registry/registry.ts';
import type { Engine } from './engine.ts';
import { withVertex, type CallOptions } from './with-vertex.ts';

export interface Pusher {
  /** Starts on a layer; once per layer, in the background. */
  addLayer(diffID: DiffID): void;
  /**
   * Waits for the layers, then pushes config and manifest, for several images an index too, and sets the tag.
   * Returns the digest of what the tag names.
   */
  finish(images: readonly StoredImage[]): Promise<Digest>;
  /** Stops what runs, without an error. */
  abandon(): Promise<void>;
}

const PARALLEL_LAYERS = 3;

export async function createPushers(
  engine: Engine,
  references: readonly Reference[],
  options: CallOptions,
): Promise<readonly Pusher[]> {
  const registry = await engine.registry();
  return references.map((reference) => createPusher(engine, reference, registry.sink(reference), options));
}

function createPusher(engine: Engine, reference: Reference, sink: RemoteSink, options: CallOptions): Pusher {
  const { host, forms } = engine;
  const name = familiarName(reference);
  const vertex = `push ${name}`;
  const abort = new AbortController();
  const signal = AbortSignal.any([options.signal, abort.signal]);
  const limit = pLimit(PARALLEL_LAYERS);
  const layers = new Map<DiffID, Promise<void>>();
  const report = (blob: Descriptor, current: number, done: boolean): void =>
    options.sink.emit({
      kind: 'transfer',
      vertex,
      item: blob.digest,
      action: 'pushing',
      current,
      total: blob.size,
      unit: 'bytes',
      done,
      at: host.now(),
    });
  const copyOptions = { signal, onProgress: report };
  let announced = false;

  function announce(): void {
    if (announced) return;
    announced = true;
    options.sink.emit({ kind: 'vertex', vertex, name: `pushing ${name}`, at: host.now() });
    options.sink.emit({ kind: 'status', vertex, status: { kind: 'started' }, at: host.now() });
  }

  async function uploadLayer(diffID: DiffID): Promise<void> {
    const descriptor = await forms.descriptorOf(diffID, 'gzip', signal);
    await copyBlob(descriptor, forms.source, sink, copyOptions);
  }

  return {
    addLayer(diffID) {
      announce();
      if (layers.has(diffID)) return;
      const running = limit(() => uploadLayer(diffID));
      // why: a failure is reported by finish(); until then it must not count as unhandled.
      running.catch(() => undefined);
      layers.set(diffID, running);
    },
    async finish(images) {
      announce();
      return withVertex(
        { emit: (event) => (event.kind === 'vertex' ? undefined : options.sink.emit(event)) },
        host,
        vertex,
        name,
        async () => {
          await Promise.all(layers.values());
          const manifest = await forms.createRoot(images, { form: 'gzip', format: 'oci', signal });
          await copyImage(manifest, forms.source, sink, copyOptions);
          await sink.tag(reference, manifest, { signal });
          return manifest.digest;
        },
      );
    },
    async abandon() {
      abort.abort();
      await Promise.allSettled(layers.values());
    },
  };
}

/** Pushes an image that is complete. */
export async function pushImage(
  engine: Engine,
  image: StoredImage,
  reference: Reference,
  options: CallOptions,
): Promise<Digest> {
  const [pusher] = await createPushers(engine, [reference], options);
  if (pusher === undefined) throw new RangeError('no pusher');
  for (const diffID of image.config.rootfs.diff_ids) pusher.addLayer(diffID);
  try {
    return await pusher.finish([image]);
  } catch (error) {
    await pusher.abandon();
    throw error;
  }
}
