/**
 * Pushing. A pusher takes layers as they come to exist, compresses and uploads them while the build goes on, and
 * finishes with config, manifests and tags. One pusher a repository, however many tags it gets.
 *
 * Until it is told to begin it asks nothing: where nothing had to be made, one look at the tag says that nothing has to
 * be pushed.
 */
import pLimit from 'p-limit';
import type { Digest, DiffID } from '../base/digest.ts';
import { isTsbuildError, TsbuildError } from '../base/errors.ts';
import { copyImage } from '../content/copy-image.ts';
import type { StoredImage } from '../image/image-store.ts';
import type { AnnotationsByImage, ManifestFormat, ManifestOptions } from '../image/manifest.ts';
import type { OnPacking } from '../layer/layer.ts';
import type { LayerForm } from '../layer/layer-form.ts';
import type { Descriptor } from '../oci/documents.ts';
import { isForeignLayer } from '../oci/media-types.ts';
import { MAX_DOCUMENT, parseManifestOrIndex } from '../oci/parse.ts';
import { familiarName, type Reference } from '../oci/reference.ts';
import type { RemoteSink } from '../registry/registry.ts';
import type { Engine } from './engine.ts';
import { createLayerPushing } from './push-layer.ts';
import { transferOptions } from './transfer-progress.ts';
import { withVertex, type CallOptions } from './with-vertex.ts';

export interface PushOptions extends CallOptions {
  /** undefined: what was pulled stays what it was, everything else is OCI. */
  readonly format?: ManifestFormat | undefined;
  /** Sets no tags: the image is found by its digest alone. */
  readonly byDigest?: boolean;
  /** Of layers that were not pulled, or of all with `force`; default: gzip. */
  readonly form?: LayerForm | undefined;
}

export interface Pusher {
  /** A layer that will be pushed, in the background as soon as that has begun. Idempotent. */
  addLayer(diffID: DiffID): void;
  /** A layer that will be pushed once it is packed: compressing it begins now, if pushing has begun. */
  readonly watch: OnPacking;
  /** Starts on the layers, those to come as well: what is made now will hardly be there. `finish` does where nobody did. */
  begin(): void;
  /** Throws REGISTRY_* where the registry does not let us push: better now than after the build. */
  checkPermission(): Promise<void>;
  /**
   * Waits for the layers, then pushes config and manifest, for several images an index too, and sets the tags.
   * Returns the digest of what the tags name.
   */
  finish(images: readonly StoredImage[], annotations?: AnnotationsByImage): Promise<Digest>;
  /** Stops what runs, without an error. */
  abandon(): Promise<void>;
}

const PARALLEL_LAYERS = 3;
const USUAL: LayerForm = { compression: 'gzip' };

export async function createPushers(
  engine: Engine,
  references: readonly Reference[],
  options: PushOptions,
): Promise<readonly Pusher[]> {
  if (options.format === 'docker' && options.form?.compression === 'zstd')
    throw new TsbuildError('USAGE', "docker's documents have no name for zstd layers", {
      hint: 'use --format oci, or --compression gzip',
    });
  const registry = await engine.registry();
  const byRepository = new Map<string, Reference[]>();
  for (const reference of references) {
    const key = `${reference.registry}/${reference.repository}`;
    byRepository.set(key, [...(byRepository.get(key) ?? []), reference]);
  }
  const registries = new Set<string>();
  return [...byRepository.values()].flatMap((group) => {
    const [destination] = group;
    if (destination === undefined) return [];
    const streams = !registries.has(destination.registry);
    registries.add(destination.registry);
    return [createPusher(engine, group, { destination, streams }, registry.sink(destination), options)];
  });
}

function createPusher(
  engine: Engine,
  references: readonly Reference[],
  to: { readonly destination: Reference; readonly streams: boolean },
  sink: RemoteSink,
  options: PushOptions,
): Pusher {
  const { host, forms } = engine;
  const { format = 'oci', form = USUAL } = options;
  const name = references.map(familiarName).join(', ');
  const vertex = `push ${name}`;
  const abort = new AbortController();
  const signal = AbortSignal.any([options.signal, abort.signal]);
  const limit = pLimit(PARALLEL_LAYERS);
  const io = transferOptions(vertex, 'pushing', host, { sink: options.sink, signal });
  const pushing = createLayerPushing(engine, sink, { ...to, vertex, signal, sink: options.sink });
  const copyOptions = { ...io, isLeftOut: isForeignLayer };
  const asking = { signal, onNotice: io.onNotice };
  const layers = new Map<DiffID, Promise<void>>();
  const waiting = new Set<DiffID>();
  const early: Promise<void>[] = [];
  let isBegun = false;
  let announced = false;

  function announce(): void {
    if (announced) return;
    announced = true;
    options.sink.emit({ kind: 'vertex', vertex, name: `pushing ${name}`, at: host.now() });
    options.sink.emit({ kind: 'status', vertex, status: { kind: 'started' }, at: host.now() });
  }

  function start(diffID: DiffID): void {
    announce();
    const running = limit(() => pushing.push(diffID, form));
    // why: a failure is reported by finish(); until then it must not count as unhandled.
    running.catch(() => undefined);
    layers.set(diffID, running);
  }

  function begin(): void {
    isBegun = true;
    for (const diffID of waiting) start(diffID);
    waiting.clear();
  }

  async function pushAll(images: readonly StoredImage[], annotations?: AnnotationsByImage): Promise<Digest> {
    const wanted = { form, format, annotations, signal };
    const pulled = keepsPulled(options) ? pulledManifest(engine, images) : undefined;
    if (!isBegun) {
      const unchanged = pulled ?? (await readyRoot(engine, images, wanted));
      if (unchanged !== undefined && (await isThere(unchanged))) return unchanged.digest;
      begin();
    }
    await Promise.all(layers.values());
    await Promise.all(early);
    const manifest = pulled ?? (await forms.createRoot(images, wanted));
    await copyImage(manifest, forms.source, pushing.sink, copyOptions);
    if (options.byDigest !== true)
      for (const reference of references) await sink.tag(reference, manifest, asking);
    return manifest.digest;
  }

  /**
   * Whether the registry has this very manifest, and so everything that it names: registries take no other ones. Then
   * all names lead to it afterwards.
   */
  async function isThere(manifest: Descriptor): Promise<boolean> {
    const names = options.byDigest === true ? [] : references.flatMap(({ tag }) => tag ?? []);
    try {
      const elsewhere: string[] = [];
      for (const name of names)
        if ((await sink.findDigest(name, asking)) !== manifest.digest) elsewhere.push(name);
      const isNamed = elsewhere.length < names.length;
      if (!isNamed && (await sink.findDigest(manifest.digest, asking)) === undefined) return false;
      const bytes = engine.content.readNow(manifest.digest, MAX_DOCUMENT);
      for (const name of elsewhere) await sink.publish(name, manifest, bytes, asking);
      return true;
    } catch (error) {
      // Who may not look may push; if not, that is what is to be said.
      if (isTsbuildError(error, 'REGISTRY_AUTH') || isTsbuildError(error, 'REGISTRY_REFUSED')) return false;
      throw error;
    }
  }

  return {
    addLayer(diffID) {
      if (layers.has(diffID)) return;
      if (isBegun) start(diffID);
      else waiting.add(diffID);
    },
    watch(growing) {
      if (isBegun) early.push(forms.beginEarly(growing, form, signal));
    },
    begin,
    checkPermission: () => sink.checkPush(asking),
    async finish(images, annotations) {
      announce();
      const quiet = {
        emit: (event: Parameters<typeof options.sink.emit>[0]): void =>
          event.kind === 'vertex' ? undefined : options.sink.emit(event),
      };
      return withVertex(quiet, host, vertex, name, () => pushAll(images, annotations));
    },
    async abandon() {
      abort.abort();
      await Promise.allSettled([...layers.values(), ...early]);
    },
  };
}

/** The manifest, if nothing has to be compressed for it. */
async function readyRoot(
  { forms }: Engine,
  images: readonly StoredImage[],
  options: ManifestOptions,
): Promise<Descriptor | undefined> {
  for (const diffID of images.flatMap(({ config }) => config.rootfs.diff_ids))
    if ((await forms.ready(diffID, options.form)) === undefined) return undefined;
  return forms.createRoot(images, options);
}

/** Whether an image that was pulled travels as it came. */
function keepsPulled({ format, form }: PushOptions): boolean {
  return format === undefined && form?.force !== true;
}

/** The manifest that the only image was pulled with, if all that it names can be had: it travels as it came. */
export function pulledManifest(engine: Engine, images: readonly StoredImage[]): Descriptor | undefined {
  const [image] = images;
  const { content, blobs } = engine;
  if (image?.manifest === undefined || images.length > 1) return undefined;
  if (content.size(image.manifest.digest) !== image.manifest.size) return undefined;
  const named = blobsOf(engine, image.manifest);
  const isThere = named?.every((blob) => isForeignLayer(blob) || blobs.isKnown(blob));
  return isThere === true ? image.manifest : undefined;
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
  using _lease = engine.leases.enter();
  const pushers = await createPushers(engine, references, options);
  const keepsManifest = keepsPulled(options) && pulledManifest(engine, [image]) !== undefined;
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
