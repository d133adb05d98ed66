/**
 * The build: Dockerfile → graph → records and layers → image → wherever it shall go.
 *
 * Nothing is exported at the end that could have travelled before: with --push, each layer is compressed and
 * uploaded as soon as it exists, while later vertices run. Several platforms are built one after the other over
 * the same records, so a vertex that they share runs once; what cannot run here is said before anything runs.
 */
import type { Digest } from '../base/digest.ts';
import { isTsbuildError, TsbuildError } from '../base/errors.ts';
import { isFetchFailure } from '../content/lazy-blobs.ts';
import type { BuildGraph, Vertex } from '../graph/graph.ts';
import type { StoredImage } from '../image/image-store.ts';
import type { Platform } from '../oci/documents.ts';
import { parseReference, withDefaultTag, type Reference } from '../oci/reference.ts';
import type { SolveOptions } from '../solver/solve.ts';
import { assembleConfig } from './assemble.ts';
import type { Engine } from './engine.ts';
import { namingFullDisk } from './full-disk.ts';
import { checkInlineCache, openCache } from './open-cache.ts';
import type { Pusher } from './push.ts';
import type { CallOptions } from './with-vertex.ts';
import { createGraphs } from './build-graphs.ts';
import type { BuildRequest } from './build-request.ts';
import { prepareBuild, type PreparedBuild } from './prepare-build.ts';

export interface BuildResult {
  /** The machine's own platform, where there are several. */
  readonly image: StoredImage;
  readonly images: readonly StoredImage[];
  readonly references: readonly Reference[];
  readonly executed: number;
  readonly cached: number;
  /** Steps whose files nobody has, and nobody needed. */
  readonly skipped: number;
  /** Its sources are directories, and images of the store for this machine: nothing that somebody may change elsewhere. */
  readonly isLocal: boolean;
  /** Digest of the manifest (or index) that was pushed or exported, where there is one. */
  readonly manifest?: Digest;
}

/** Throws TsbuildError; nothing is tagged unless everything succeeded. */
export async function build(
  engine: Engine,
  request: BuildRequest,
  options: CallOptions,
): Promise<BuildResult> {
  const references = request.tags.map((tag) => withDefaultTag(parseReference(tag)));
  if (request.push && references.length === 0)
    throw new TsbuildError('USAGE', '--push needs a name to push to', {
      hint: 'add -t REGISTRY/REPOSITORY[:TAG]',
    });
  checkInlineCache(request);
  return namingFullDisk(engine.options.root, () => prepareAndBuild(engine, request, references, options));
}

async function prepareAndBuild(
  engine: Engine,
  request: BuildRequest,
  references: readonly Reference[],
  options: CallOptions,
): Promise<BuildResult> {
  using prepared = await prepareBuild(engine, request, options);
  const building = { engine, request, prepared, references, options };
  for (;;)
    try {
      return await buildAll(building);
    } catch (error) {
      // A cache that had a layer of ours when it was looked up has lost it: it is made again, here.
      const isLoss = isFetchFailure(error) || isTsbuildError(error, 'LAYER_LOST');
      if (!isLoss || options.signal.aborted || !(await prepared.loss.examine())) throw error;
    }
}

interface Building {
  readonly engine: Engine;
  readonly request: BuildRequest;
  readonly prepared: PreparedBuild;
  readonly references: readonly Reference[];
  readonly options: CallOptions;
}

async function buildAll({ engine, request, prepared, references, options }: Building): Promise<BuildResult> {
  const { host } = engine;
  const cache = await openCache(engine, request, prepared, options);
  const pushers = request.push ? await openPushers(engine, references, request, options) : [];
  let begun: Promise<void> | undefined;
  try {
    await cache?.ready();
    const graphs = await createGraphs(engine, request, prepared, options);
    const images: StoredImage[] = [];
    const counts = { executed: 0, cached: 0, skipped: 0 };
    for (const [index, graph] of graphs.entries()) {
      const layersOf = chainOf(graph);
      const platform = request.platforms[index] ?? engine.options.platform;
      const solution = await prepared.solveGraph(graph, {
        cache: cache?.forGraph(graph, platform),
        mustBeCached: await assertionOf(graph, request, prepared),
        beforeExecute: () => (begun ??= beginPushing(pushers)),
        onPacking: ({ id }) => {
          const [first] = pushers;
          return first !== undefined && layersOf.has(id) ? first.watch : undefined;
        },
        onResult(vertex, result) {
          // What is said to be nowhere may be made yet.
          if (result.kind === 'stack' && layersOf.has(vertex.id) && prepared.loss.isAvailable(result))
            for (const pusher of pushers) for (const { diffID } of result.layers) pusher.addLayer(diffID);
        },
      });
      counts.executed += solution.executed;
      counts.cached += solution.cached;
      counts.skipped += solution.skipped;
      images.push(engine.images.put(assembleConfig(graph, solution.results, host.now())));
    }
    prepared.contexts.save();
    const image = ownImage(images, engine.options.platform);
    let manifest: Digest | undefined;
    // Before any of it is an image anywhere.
    await cache?.bring(images, request.outputs.length > 0);
    const annotations = await cache?.annotationsOf(images);
    for (const pusher of pushers) manifest = await pusher.finish(images, annotations);
    if (request.outputs.length > 0) {
      const { writeOutput } = await import('./outputs.ts');
      for (const output of request.outputs)
        manifest =
          (await writeOutput(engine, images, references, output, { ...options, annotations })) ?? manifest;
    }
    for (const reference of references) engine.images.tag(reference, image.id);
    await cache?.finish(images);
    return {
      image,
      images,
      references,
      ...counts,
      isLocal: graphs.every(({ target }) => isLocal(target, engine.options.platform)),
      ...(manifest === undefined ? {} : { manifest }),
    };
  } catch (error) {
    for (const pusher of pushers) await pusher.abandon();
    // What was done before is of use to the next build.
    await cache?.finish([]);
    throw error;
  }
}

async function assertionOf(
  { target }: BuildGraph,
  { assertCached }: BuildRequest,
  { sources }: PreparedBuild,
): Promise<SolveOptions['mustBeCached']> {
  if (assertCached === undefined) return undefined;
  const { stepsToAssert } = await import('./assert-cached.ts');
  return stepsToAssert(target, assertCached, sources.dockerfile);
}

async function openPushers(
  engine: Engine,
  references: readonly Reference[],
  { format, form, pushByDigest }: BuildRequest,
  options: CallOptions,
): Promise<readonly Pusher[]> {
  const { createPushers } = await import('./push.ts');
  return createPushers(engine, references, {
    ...options,
    format: format ?? 'oci',
    form,
    byDigest: pushByDigest === true,
  });
}

/** Once it is known that we may: better than a refusal after the step. */
async function beginPushing(pushers: readonly Pusher[]): Promise<void> {
  await Promise.all(pushers.map((pusher) => pusher.checkPermission()));
  for (const pusher of pushers) pusher.begin();
}

function ownImage(images: readonly StoredImage[], machine: Platform): StoredImage {
  const own = images.find(({ config }) => config.architecture === machine.architecture) ?? images[0];
  if (own === undefined) throw new TsbuildError('USAGE', 'there is no platform to build for');
  return own;
}

function isLocal(target: Vertex, machine: Platform): boolean {
  const seen = new Set<Vertex>([target]);
  // A set's iteration comes to what is added meanwhile.
  for (const { op, inputs } of seen) {
    if (op.kind === 'http' || op.kind === 'git') return false;
    // Whether its programs can be executed here is found out each time.
    if (op.kind === 'image' && op.platform.architecture !== machine.architecture) return false;
    for (const input of inputs) seen.add(input);
  }
  return true;
}

/** Vertices whose layers are layers of the image. */
function chainOf({ target, history }: BuildGraph): ReadonlySet<Digest> {
  return new Set([target.id, ...history.flatMap(({ vertex }) => (vertex === undefined ? [] : [vertex.id]))]);
}
