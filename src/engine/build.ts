/**
 * The build: Dockerfile → graph → records and layers → image → wherever it shall go.
 *
 * Nothing is exported at the end that could have travelled before: with --push, each layer is compressed and
 * uploaded as soon as it exists, while later vertices run.
 */
import type { Digest } from '../base/digest.ts';
import { TsbuildError } from '../base/errors.ts';
import type { StoredImage } from '../image/image-store.ts';
import type { Platform } from '../oci/documents.ts';
import { parseReference, withDefaultTag, type Reference } from '../oci/reference.ts';
import type { Result } from '../solver/result.ts';
import { solve } from '../solver/solve.ts';
import { createBuildGraph } from '../../frontend/frontend.ts';
import type { NamedContext } from '../../frontend/request.ts';
import { assembleConfig } from './assemble.ts';
import { createContexts, type ContextSource } from './contexts.ts';
import type { Engine } from './engine.ts';
import { createHandlers } from './handlers.ts';
import type { Output } from './outputs.ts';
import { resolveImage } from './resolve-image.ts';
import type { CallOptions } from './with-vertex.ts';

export interface BuildRequest {
  readonly dockerfile: { readonly file: string; readonly text: string };
  /** Directories by name; `context` is the build context. */
  readonly contexts: ReadonlyMap<string, ContextSource>;
  /** What names in FROM and --from mean instead. */
  readonly namedContexts: Readonly<Record<string, NamedContext>>;
  readonly target?: string;
  readonly platform?: Platform;
  readonly buildArgs: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly tags: readonly string[];
  readonly noCache: boolean;
  readonly pull: boolean;
  readonly push: boolean;
  readonly network: 'default' | 'none' | 'host';
  readonly extraHosts: readonly string[];
  readonly outputs: readonly Output[];
  readonly secret: (id: string) => Promise<Uint8Array | undefined>;
  readonly sshSocket: (id: string) => string | undefined;
}

export interface BuildResult {
  readonly image: StoredImage;
  readonly references: readonly Reference[];
  readonly executed: number;
  readonly cached: number;
  /** Digest of the manifest that was pushed or exported, where there is one. */
  readonly manifest?: Digest;
}

/** Throws TsbuildError; nothing is tagged unless everything succeeded. */
export async function build(
  engine: Engine,
  request: BuildRequest,
  { sink, signal }: CallOptions,
): Promise<BuildResult> {
  const { host } = engine;
  const references = request.tags.map((tag) => withDefaultTag(parseReference(tag)));
  if (request.push && references.length === 0)
    throw new TsbuildError('USAGE', '--push needs a name to push to', {
      hint: 'add -t REGISTRY/REPOSITORY[:TAG]',
    });
  const platform = request.platform ?? engine.options.platform;
  const graph = await createBuildGraph({
    ...request.dockerfile,
    ...(request.target === undefined ? {} : { target: request.target }),
    platform,
    buildPlatform: engine.options.platform,
    buildArgs: request.buildArgs,
    labels: request.labels,
    noCache: request.noCache,
    network: request.network,
    namedContexts: request.namedContexts,
    onWarning: ({ message, rule, source }) =>
      sink.emit({ kind: 'warning', message: `${rule}: ${message}`, source, at: host.now() }),
    resolveImage: (reference, wanted) =>
      resolveImage(reference, wanted, { engine, sink, signal, pull: request.pull }),
  });
  if (graph.unusedArgs.length > 0)
    sink.emit({
      kind: 'warning',
      message: `build arguments were given that no ARG asks for: ${graph.unusedArgs.join(', ')}`,
      at: host.now(),
    });

  const pushers = request.push
    ? await (await import('./push.ts')).createPushers(engine, references, { sink, signal })
    : [];
  using contexts = createContexts(request.contexts, engine.options.root, host);
  const handlers = createHandlers({
    engine,
    contexts,
    graph,
    extraHosts: request.extraHosts,
    secret: request.secret,
    sshSocket: request.sshSocket,
  });
  try {
    const layersOf = chainOf(graph.target.id, graph.history);
    const solution = await solve(graph.target, {
      handlers,
      records: engine.records,
      isAvailable: (result) => Promise.resolve(isAvailable(engine, result)),
      host,
      sink,
      parallelism: engine.options.parallelism,
      signal,
      onResult(vertex, result) {
        if (result.kind === 'stack' && layersOf.has(vertex.id))
          for (const pusher of pushers) for (const { diffID } of result.layers) pusher.addLayer(diffID);
      },
    });
    contexts.save();
    if (solution.executed > 0) {
      engine.layers.sync();
      await (await engine.snapshotter()).sync();
    }
    const config = assembleConfig(graph, solution.results, host.now());
    const image = engine.images.put(config);
    const manifest = await deliver(engine, image, references, request, pushers, { sink, signal });
    for (const reference of references) engine.images.tag(reference, image.id);
    return {
      image,
      references,
      executed: solution.executed,
      cached: solution.cached,
      ...(manifest === undefined ? {} : { manifest }),
    };
  } catch (error) {
    for (const pusher of pushers) await pusher.abandon();
    throw error;
  }
}

/** Vertices whose layers are layers of the image. */
function chainOf(
  target: Digest,
  history: readonly { readonly vertex?: { readonly id: Digest } }[],
): ReadonlySet<Digest> {
  return new Set([target, ...history.flatMap(({ vertex }) => (vertex === undefined ? [] : [vertex.id]))]);
}

function isAvailable(engine: Engine, result: Result): boolean {
  if (result.kind === 'file') return engine.content.size(result.blob) === result.size;
  return result.kind !== 'stack' || result.layers.every(({ diffID }) => engine.images.hasLayer(diffID));
}

async function deliver(
  engine: Engine,
  image: StoredImage,
  references: readonly Reference[],
  request: BuildRequest,
  pushers: readonly { finish(image: StoredImage): Promise<Digest> }[],
  options: CallOptions,
): Promise<Digest | undefined> {
  let manifest: Digest | undefined;
  for (const pusher of pushers) manifest = await pusher.finish(image);
  if (request.outputs.length === 0) return manifest;
  const { writeOutput } = await import('./outputs.ts');
  for (const output of request.outputs)
    manifest = (await writeOutput(engine, image, references, output, options)) ?? manifest;
  return manifest;
}
