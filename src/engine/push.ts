/**
 * Pushing. A pusher takes layers as they come to exist, compresses and uploads them while the build goes on, and
 * finishes with config, manifests and tags. One pusher a repository, however many tags it gets.
 */
import pLimit from 'p-limit';
import type { Digest, DiffID } from '../base/digest.ts';
import { TsbuildError } from '../base/errors.ts';
import { copyBlob, copyImage } from '../content/copy-image.ts';
import type { StoredImage } from '../image/image-store.ts';
import type { ManifestFormat } from '../image/manifest.ts';
import type { Descriptor } from '../oci/documents.ts';
import { isForeignLayer } from '../oci/media-types.ts';
import { MAX_DOCUMENT, parseManifestOrIndex } from '../oci/parse.ts';
import { familiarName, parseReference, type Reference } from '../oci/reference.ts';
import type { RemoteSink } from '../registry/registry.ts';
import type { Engine } from './engine.ts';
import { transferOptions } from './transfer-progress.ts';
import { withVertex, type CallOptions } from './with-vertex.ts';

export interface PushOptions extends CallOptions {
  /** undefined: what was pulled stays what it was, everything else is OCI. */
  readonly format?: ManifestFormat | undefined;
  /** Sets no tags: the image is found by its digest alone. */
  readonly byDigest?: boolean;
}

export interface Pusher {
  /** Starts on a layer; once per layer, in the background. */
  addLayer(diffID: DiffID): void;
  /** Throws REGISTRY_* where the registry does not let us push: better now than after the build. */
  checkPermission(): Promise<void>;
  /**
   * Waits for the layers, then pushes config and manifest, for several images an index too, and sets the tags.
   * Returns the digest of what the tags name.
   */
  finish(images: readonly StoredImage[]): Promise<Digest>;
  /** Stops what runs, without an error. */
  abandon(): Promise<void>;
}

const PARALLEL_LAYERS = 3;

export async function createPushers(
  engine: Engine,
  references: readonly Reference[],
  options: PushOptions,
): Promise<readonly Pusher[]> {
  const registry = await engine.registry();
  const byRepository = new Map<string, Reference[]>();
  for (const reference of references) {
    const key = `${reference.registry}/${reference.repository}`;
    byRepository.set(key, [...(byRepository.get(key) ?? []), reference]);
  }
  return [...byRepository.values()].flatMap((group) => {
    const [first] = group;
    return first === undefined ? [] : [createPusher(engine, group, registry.sink(first), options)];
  });
}

function createPusher(
  engine: Engine,
  references: readonly Reference[],
  sink: RemoteSink,
  options: PushOptions,
): Pusher {
  const { host, forms } = engine;
  const name = references.map(familiarName).join(', ');
  const vertex = `push ${name}`;
  const abort = new AbortController();
  const signal = AbortSignal.any([options.signal, abort.signal]);
  const limit = pLimit(PARALLEL_LAYERS);
  const layers = new Map<DiffID, Promise<void>>();
  const io = transferOptions(vertex, 'pushing', host, { sink: options.sink, signal });
  const copyOptions = { ...io, isLeftOut: isForeignLayer };
  const asking = { signal, onNotice: io.onNotice };
  let announced = false;

  function announce(): void {
    if (announced) return;
    announced = true;
    options.sink.emit({ kind: 'vertex', vertex, name: `pushing ${name}`, at: host.now() });
    options.sink.emit({ kind: 'status', vertex, status: { kind: 'started' }, at: host.now() });
  }

  async function uploadLayer(diffID: DiffID): Promise<void> {
    const descriptor = await forms.descriptorOf(diffID, 'gzip', signal);
    if (isForeignLayer(descriptor)) return;
    const origin = originOf(engine, diffID, descriptor);
    await copyBlob(descriptor, forms.source, sink, { ...io, ...(origin === undefined ? {} : { origin }) });
  }

  async function pushAll(images: readonly StoredImage[]): Promise<Digest> {
    await Promise.all(layers.values());
    const pulled = options.format === undefined ? pulledManifest(engine, images) : undefined;
    const { format = 'oci' } = options;
    const manifest = pulled ?? (await forms.createRoot(images, { form: 'gzip', format, signal }));
    await copyImage(manifest, forms.source, sink, copyOptions);
    if (options.byDigest !== true)
      for (const reference of references) await sink.tag(reference, manifest, asking);
    return manifest.digest;
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
    checkPermission: () => sink.checkPush(asking),
    async finish(images) {
      announce();
      const quiet = {
        emit: (event: Parameters<typeof options.sink.emit>[0]): void =>
          event.kind === 'vertex' ? undefined : options.sink.emit(event),
      };
      return withVertex(quiet, host, vertex, name, () => pushAll(images));
    },
    async abandon() {
      abort.abort();
      await Promise.allSettled(layers.values());
    },
  };
}

/** The repository that a layer came from, for mounting it from there. */
function originOf(engine: Engine, diffID: DiffID, { digest }: Descriptor): Reference | undefined {
  const origin = engine.compressed.get(diffID, 'origin');
  return origin?.repository === undefined || origin.digest !== digest
    ? undefined
    : parseReference(origin.repository);
}

/** The manifest that the only image was pulled with, if everything that it names is at hand: it travels as it came. */
export function pulledManifest(engine: Engine, images: readonly StoredImage[]): Descriptor | undefined {
  const [image] = images;
  const { content } = engine;
  if (image?.manifest === undefined || images.length > 1) return undefined;
  if (content.size(image.manifest.digest) !== image.manifest.size) return undefined;
  const blobs = blobsOf(engine, image.manifest);
  const isHere = blobs?.every((blob) => isForeignLayer(blob) || content.size(blob.digest) === blob.size);
  return isHere === true ? image.manifest : undefined;
}

function blobsOf({ content }: Engine, manifest: Descriptor): readonly Descriptor[] | undefined {
  const parsed = parseManifestOrIndex(content.readNow(manifest.digest, MAX_DOCUMENT), manifest.digest);
  return parsed.kind === 'index' ? undefined : [parsed.manifest.config, ...parsed.manifest.layers];
}

/** Pushes an image that is complete. */
export async function pushImage(
  engine: Engine,
  image: StoredImage,
  references: readonly Reference[],
  options: PushOptions,
): Promise<Digest> {
  const pushers = await createPushers(engine, references, options);
  const keepsManifest = options.format === undefined && pulledManifest(engine, [image]) !== undefined;
  let digest: Digest | undefined;
  try {
    for (const pusher of pushers)
      for (const diffID of keepsManifest ? [] : image.config.rootfs.diff_ids) pusher.addLayer(diffID);
    for (const pusher of pushers) digest = await pusher.finish([image]);
  } catch (error) {
    for (const pusher of pushers) await pusher.abandon();
    throw error;
  }
  if (digest === undefined) throw new TsbuildError('USAGE', 'there is no name to push to');
  return digest;
}
