/**
 * The caches of one build, read and written. Whatever is wrong with a cache, nothing here throws: it costs a warning,
 * and the build goes on.
 */
import { digestOf, hexOf, type CacheKey, type Digest, type DiffID } from '../../base/digest.ts';
import { TsbuildError } from '../../base/errors.ts';
import { canonicalJson, type Json } from '../../base/json.ts';
import { layoutPath } from '../../content/lazy-blobs.ts';
import type { BuildGraph, Vertex } from '../../graph/graph.ts';
import type { StoredImage } from '../../image/image-store.ts';
import type { AnnotationsByImage } from '../../image/manifest.ts';
import type { Platform } from '../../oci/documents.ts';
import { MAX_DOCUMENT } from '../../oci/parse.ts';
import { formatPlatform } from '../../oci/platform.ts';
import type { StepRecord } from '../../solver/handler.ts';
import type { RecordStore } from '../../solver/records.ts';
import type { RemoteRecords } from '../../solver/remote-records.ts';
import type { Result } from '../../solver/result.ts';
import { inOrder } from '../../solver/solve.ts';
import type { Engine } from '../engine.ts';
import type { OpenLayer } from '../layer-access.ts';
import type { CallOptions } from '../with-vertex.ts';
import type { CachePlace } from './cache-place.ts';
import { openCacheReader, type CacheReader } from './cache-reader.ts';
import type { CacheDestination, CacheMode, CacheSource, PlaceDestination } from './cache-spec.ts';
import { createCacheWriter, type CacheWriter, type PlanDraft } from './cache-writer.ts';
import { createDirectoryPlace } from './directory-place.ts';
import type { MountUse } from './mounts/mount-use.ts';
import type { TravellingMounts, TravellingMountsOptions } from './mounts/travelling-mounts.ts';
import { createRegistryPlace } from './registry-place.ts';
import type { TravellingStep } from './step-document.ts';

export interface CacheRequest {
  readonly from: readonly CacheSource[];
  readonly to: readonly CacheDestination[];
  /** What tells this build from others that use the same cache. */
  readonly identity: Readonly<Record<string, Json>>;
  /** For people, e.g. `Dockerfile`. */
  readonly title: string;
  readonly platforms: readonly Platform[];
  /** Whether a layer is one of a base image: those do not travel. */
  readonly isBase: (diffID: DiffID) => boolean;
  /** Whether a layer turned out to be nowhere: who says that it has it is not believed. */
  readonly wasLost: (diffID: DiffID) => boolean;
  /** Of a step, verified; undefined: nobody has it, which `wasLost` says from then on. */
  readonly openLayer: OpenLayer;
}

export interface BuildCache {
  /** Waits until what the caches know of base images is in the store, so that nobody has to ask for it. */
  ready(): Promise<void>;
  /** `platform`: as the request has it. */
  forGraph(graph: BuildGraph, platform: Platform): GraphCache;
  /**
   * Brings layers of the images into the store that lie in directories, which may be gone tomorrow; with `isExported`
   * all that caches have, since bytes that go somewhere must be those of the image. Throws LAYER_LOST where they are not,
   * or nobody has them any more: what makes them has to be executed.
   */
  bring(images: readonly StoredImage[], isExported: boolean): Promise<void>;
  /** What the manifests of the images get as annotations; undefined where no cache goes into images. */
  annotationsOf(images: readonly StoredImage[]): Promise<AnnotationsByImage | undefined>;
  /** Waits for the steps that are being written, and writes plans of the graphs that were built. */
  finish(images: readonly StoredImage[]): Promise<void>;
}

/** The caches as one graph sees them. */
export interface GraphCache extends RemoteRecords {
  /** The local store, which notes what this graph asks of it. */
  readonly records: RecordStore;
  /** Brings a cache mount, where those travel. Never throws. */
  readonly arrive?: ((mount: MountUse) => Promise<void>) | undefined;
}

interface Destination {
  readonly writer: CacheWriter;
  readonly mode: CacheMode;
}

/** Larger documents of base images are fetched as ever. */
const MAX_BASE_DOCUMENT = 256 << 10;
const MAX_BASE_DOCUMENTS = 100;

export async function openBuildCache(
  engine: Engine,
  request: CacheRequest,
  options: CallOptions,
): Promise<BuildCache> {
  const { signal, sink } = options;
  const { host } = engine;
  const warn = (message: string): void => sink.emit({ kind: 'warning', message, at: host.now() });
  const readers = new Map<string, CacheReader>();
  const idOf = (platform: Platform): string =>
    hexOf(digestOf(canonicalJson({ ...request.identity, platform: formatPlatform(platform) }))).slice(0, 32);
  const wanted = request.platforms.map(idOf);

  async function readerOf(spec: CacheSource | PlaceDestination, warns: boolean): Promise<CacheReader> {
    const place = await openPlace(engine, spec);
    const name = nameOf(place);
    const known = readers.get(name);
    if (known !== undefined) return known;
    const { platforms } = request;
    const reader = openCacheReader(place, {
      signal,
      wanted,
      platforms,
      warn: warns ? warn : () => undefined,
    });
    readers.set(name, reader);
    return reader;
  }

  const sources: CacheReader[] = [];
  for (const spec of request.from) sources.push(await readerOf(spec, true));
  const destinations: Destination[] = [];
  const places = request.to.filter((spec) => spec.kind !== 'inline');
  const isBroken = (place: CachePlace): boolean => readers.get(nameOf(place))?.isBroken() === true;
  const mounts = await openMounts(engine, request.from, places, { ...options, isBroken, warn });
  for (const spec of places) {
    const reader = await readerOf(spec, false);
    const writer = createCacheWriter({
      ...options,
      engine,
      place: reader.place,
      reader,
      form: spec.form,
      wasLost: request.wasLost,
      warn,
    });
    destinations.push({ writer, mode: spec.mode });
  }
  const graphs: { readonly graph: BuildGraph; readonly draft: () => Omit<PlanDraft, 'documents'> }[] = [];

  async function seed(): Promise<void> {
    for (const { plans } of sources)
      for (const plan of await plans) {
        for (const text of plan.documents.slice(0, MAX_BASE_DOCUMENTS))
          if (text.length <= MAX_BASE_DOCUMENT) engine.content.write(text);
        for (const [key, digest] of plan.contents)
          if (engine.records.getContentDigest(key as CacheKey) === undefined)
            engine.records.putContentDigest(key as CacheKey, digest);
      }
  }
  const seeded = seed();
  // why: a failure of the local store is reported by ready().
  seeded.catch(() => undefined);

  /** Layers become known here, as far as nobody knows better. */
  function adopt({ record, blobs }: TravellingStep, { repository }: CachePlace): void {
    if (record.result.kind !== 'stack') return;
    for (const { diffID } of record.result.layers) {
      const blob = blobs.get(diffID);
      const isWanted = !request.isBase(diffID) && !request.wasLost(diffID) && !engine.images.hasLayer(diffID);
      if (blob !== undefined && isWanted) engine.blobs.addLayer(diffID, blob, repository);
    }
  }

  async function find(key: CacheKey): Promise<StepRecord | undefined> {
    await seeded.catch(() => undefined);
    const found = await Promise.all(
      sources.map(async (reader) => ({ place: reader.place, step: await reader.find(key) })),
    );
    let first: StepRecord | undefined;
    for (const { place, step } of found) {
      if (step === undefined) continue;
      adopt(step, place);
      first ??= step.record;
      if (isComplete(engine, step.record)) return step.record;
    }
    return first;
  }

  async function earlier(): Promise<readonly StepRecord[]> {
    return (await Promise.all(sources.map(({ plans }) => plans))).flat().flatMap(({ records }) => records);
  }

  /** Manifests and configs of the base images, with what led to them. */
  async function baseDocuments(graph: BuildGraph): Promise<readonly string[]> {
    const digests = new Set<Digest>();
    for (const { op } of inOrder(graph.target)) {
      if (op.kind !== 'image' || op.image === undefined) continue;
      const image = await engine.images.byID(op.image.manifest);
      if (image?.manifest !== undefined) digests.add(image.manifest.digest).add(image.id);
    }
    const texts = [...digests].flatMap((digest) => textOf(engine, digest) ?? []);
    const earlier = (await Promise.all(sources.map(({ plans }) => plans)))
      .flat()
      .flatMap((plan) => plan.documents);
    const above = earlier.filter((text) => [...digests].some((digest) => text.includes(digest)));
    return [...new Set([...texts, ...above])].sort();
  }

  /** Layers that can be had and that steps made. */
  function ownLayers(result: Result): readonly DiffID[] {
    if (result.kind !== 'stack') return [];
    return result.layers
      .map(({ diffID }) => diffID)
      .filter((diffID) => !request.isBase(diffID) && engine.images.hasLayer(diffID));
  }

  /** Of the graphs that were built; `images` in their order. */
  async function draftsOf(
    images: readonly StoredImage[],
  ): Promise<readonly { readonly image: StoredImage; readonly draft: PlanDraft }[]> {
    const drafts = [];
    for (const [index, { graph, draft }] of graphs.entries()) {
      const image = images[index];
      if (image === undefined) continue;
      const documents = await baseDocuments(graph);
      drafts.push({ image, draft: { ...draft(), documents, image: image.id } });
    }
    return drafts;
  }

  return {
    ready: () => seeded,
    forGraph(graph, platform) {
      const used = new Map<Digest, StepRecord>();
      const contents = new Map<Digest, Digest>();
      const chain = new Set([
        graph.target.id,
        ...graph.history.flatMap(({ vertex }) => (vertex === undefined ? [] : [vertex.id])),
      ]);
      graphs.push({
        graph,
        draft: () => ({
          id: idOf(platform),
          title: `${formatPlatform(platform)} ${request.title}`,
          records: uniqueRecords(graph, used),
          contents,
        }),
      });
      return {
        find,
        earlier,
        records: noting(engine.records, contents),
        arrive: mounts === undefined ? undefined : (mount) => mounts.arrive(mount),
        keep(record, vertex: Vertex) {
          used.set(vertex.id, record);
          for (const { writer, mode } of destinations)
            writer.keep(record, mode === 'max' || chain.has(vertex.id) ? ownLayers(record.result) : []);
        },
      };
    },
    async bring(images, isExported) {
      if (!isExported && !request.from.some(({ kind }) => kind === 'local')) return;
      for (const diffID of new Set(images.flatMap(({ config }) => config.rootfs.diff_ids))) {
        const blob = engine.layers.get(diffID) === undefined ? engine.blobs.ofLayer(diffID) : undefined;
        if (blob === undefined) continue;
        const [holder = ''] = engine.blobs.repositoriesOf(blob.digest);
        const isLocal = layoutPath(holder) !== undefined;
        if (request.isBase(diffID)) {
          if (isLocal) await engine.blobs.fetch(blob, { signal });
        } else if ((isLocal || isExported) && (await request.openLayer(diffID)) === undefined)
          throw new TsbuildError('LAYER_LOST', `cannot find the bytes of layer ${diffID}`);
      }
    },
    async annotationsOf(images) {
      if (places.length === request.to.length) return undefined;
      const { INLINE_ANNOTATION, inlineAnnotation } = await import('./inline-plan.ts');
      const annotations = new Map<Digest, Readonly<Record<string, string>>>();
      for (const { image, draft } of await draftsOf(images)) {
        const text = inlineAnnotation(draft, image);
        if (text === undefined) warn('the cache is too large to travel in the image: use type=registry');
        else annotations.set(image.id, { [INLINE_ANNOTATION]: text });
      }
      return annotations;
    },
    async finish(images) {
      const drafts = (await draftsOf(images)).map(({ draft }) => draft);
      await Promise.all([...destinations.map(({ writer }) => writer.finish(drafts)), mounts?.save()]);
    },
  };
}

function nameOf({ repository, tag }: CachePlace): string {
  return `${repository} ${tag}`;
}

/** undefined where no cache mount travels. */
async function openMounts(
  engine: Engine,
  from: readonly CacheSource[],
  to: readonly PlaceDestination[],
  options: CallOptions & Pick<TravellingMountsOptions, 'isBroken' | 'warn'>,
): Promise<TravellingMounts | undefined> {
  const places = (specs: readonly (CacheSource | PlaceDestination)[]): Promise<CachePlace[]> =>
    Promise.all(specs.filter((spec) => spec.mounts).map((spec) => openPlace(engine, spec)));
  const [sources, destinations] = [await places(from), await places(to)];
  if (sources.length + destinations.length === 0) return undefined;
  const { openTravellingMounts } = await import('./mounts/travelling-mounts.ts');
  return openTravellingMounts({ ...options, engine, sources, destinations });
}

async function openPlace(engine: Engine, spec: CacheSource | PlaceDestination): Promise<CachePlace> {
  if (spec.kind === 'local') return createDirectoryPlace(spec.directory, spec.tag, engine.host);
  return createRegistryPlace(await engine.registry(), spec.reference, ({ digest }) =>
    engine.blobs.repositoriesOf(digest),
  );
}

function isComplete({ images }: Engine, { result }: StepRecord): boolean {
  return result.kind === 'stack' && result.layers.every(({ diffID }) => images.hasLayer(diffID));
}

/** In the order of the graph, so that the same build gives the same plan. */
function uniqueRecords({ target }: BuildGraph, used: ReadonlyMap<Digest, StepRecord>): readonly StepRecord[] {
  const records = inOrder(target).flatMap(({ id }) => used.get(id) ?? []);
  return [...new Map(records.map((record) => [record.key, record])).values()];
}

function textOf({ content }: Engine, digest: Digest): string | undefined {
  const size = content.size(digest);
  if (size === undefined || size > MAX_BASE_DOCUMENT) return undefined;
  return Buffer.from(content.readNow(digest, MAX_DOCUMENT)).toString('utf8');
}

function noting(records: RecordStore, noted: Map<Digest, Digest>): RecordStore {
  return {
    ...records,
    getContentDigest(key) {
      const digest = records.getContentDigest(key);
      if (digest !== undefined) noted.set(key, digest);
      return digest;
    },
    putContentDigest(key, digest) {
      noted.set(key, digest);
      records.putContentDigest(key, digest);
    },
  };
}
