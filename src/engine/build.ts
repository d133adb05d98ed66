/**
 * The build: Dockerfile → graph → records and layers → image → wherever it shall go.
 *
 * Nothing is exported at the end that could have travelled before: with --push, each layer is compressed and
 * uploaded as soon as it exists, while later vertices run. Several platforms are built one after the other over
 * the same records, so a vertex that they share runs once; what cannot run here is said before anything runs.
 */
import type { Digest } from '../base/digest.ts';
import { TsbuildError } from '../base/errors.ts';
import type { BuildGraph } from '../graph/graph.ts';
import type { StoredImage } from '../image/image-store.ts';
import type { ManifestFormat } from '../image/manifest.ts';
import { compileIgnoreFile, parseIgnoreFile } from '../layer/ignore-patterns.ts';
import type { Platform } from '../oci/documents.ts';
import { parseReference, withDefaultTag, type Reference } from '../oci/reference.ts';
import type { GitSources } from '../solver/exec/git.ts';
import type { Result, StackResult } from '../solver/result.ts';
import { solve, type Solution } from '../solver/solve.ts';
import { createBuildGraph } from '../../frontend/frontend.ts';
import { gitVertex } from '../../frontend/lower/sources.ts';
import type { Entitlement, FrontendRequest, GitSource } from '../../frontend/request.ts';
import { assembleConfig } from './assemble.ts';
import {
  openBuildSources,
  withContextTree,
  type BuildSources,
  type ContextSpec,
  type DockerfileSpec,
} from './build-sources.ts';
import { newestTime } from './context-time.ts';
import { createContexts, type ContextSource, type Contexts } from './contexts.ts';
import type { Engine } from './engine.ts';
import { createHandlers, type Resources } from './handlers.ts';
import type { Output } from './outputs.ts';
import type { Pusher } from './push.ts';
import { resolveImage } from './resolve-image.ts';
import type { CallOptions } from './with-vertex.ts';

export interface BuildRequest {
  readonly dockerfile: DockerfileSpec;
  /** Contexts by name; `context` is the build context. */
  readonly contexts: ReadonlyMap<string, ContextSpec>;
  readonly target?: string;
  /** None: the machine's own. Several give an index. */
  readonly platforms: readonly Platform[];
  readonly buildArgs: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly tags: readonly string[];
  readonly noCache: boolean | readonly string[];
  readonly pull: boolean;
  readonly push: boolean;
  /** Of what is pushed; OCI where nothing is said. */
  readonly format?: ManifestFormat;
  /** Pushes without tags. */
  readonly pushByDigest?: boolean;
  readonly network: 'default' | 'none' | 'host';
  readonly allow: readonly Entitlement[];
  readonly extraHosts: readonly string[];
  readonly resources: Resources;
  readonly outputs: readonly Output[];
  readonly secret: (id: string) => Promise<Uint8Array | undefined>;
  readonly sshSocket: (id: string) => string | undefined;
  /** Environment of git. */
  readonly gitEnvironment: Readonly<Record<string, string | undefined>>;
}

export interface BuildResult {
  /** The machine's own platform, where there are several. */
  readonly image: StoredImage;
  readonly images: readonly StoredImage[];
  readonly references: readonly Reference[];
  readonly executed: number;
  readonly cached: number;
  /** Digest of the manifest (or index) that was pushed or exported, where there is one. */
  readonly manifest?: Digest;
}

/** What the frontend needs, found and opened; `--check` and `--call` need no more. Owned by the caller. */
export interface PreparedBuild extends Disposable {
  readonly sources: BuildSources;
  readonly contexts: Contexts;
  readonly frontendRequest: (platform: Platform) => FrontendRequest;
  readonly solveGraph: (graph: BuildGraph, onResult?: OnResult) => Promise<Solution>;
}

/** Frontends whose language is ours. */
const OWN_SYNTAX = /^(?:docker\.io\/)?docker\/dockerfile(?:-upstream)?(?:[:@].*)?$|^dockerfile\.v0$/;

type OnResult = Parameters<typeof solve>[1]['onResult'];

export async function prepareBuild(
  engine: Engine,
  request: BuildRequest,
  { sink, signal }: CallOptions,
): Promise<PreparedBuild> {
  const { host } = engine;
  const { platform: machine, root } = engine.options;
  let gitSources: Promise<GitSources> | undefined;
  const git = (): Promise<GitSources> => (gitSources ??= openGit(engine, request));
  let contexts = createContexts(new Map(), root, host);

  function solveGraph(
    graph: Pick<BuildGraph, 'target' | 'sourceDateEpoch'>,
    onResult?: OnResult,
  ): Promise<Solution> {
    const { extraHosts, resources, secret, sshSocket } = request;
    const handlers = createHandlers({
      engine,
      contexts,
      graph,
      extraHosts,
      warn: (message) => sink.emit({ kind: 'warning', message, at: host.now() }),
      resources,
      allowed: new Set([
        ...request.allow,
        ...(request.network === 'host' ? (['network.host'] as const) : []),
      ]),
      secret,
      sshSocket,
      git,
    });
    return solve(graph.target, {
      handlers,
      records: engine.records,
      isAvailable: (result) => Promise.resolve(isAvailable(engine, result)),
      host,
      sink,
      parallelism: engine.options.parallelism,
      signal,
      ...(onResult === undefined ? {} : { onResult }),
    });
  }

  async function solveGit(source: GitSource): Promise<StackResult> {
    const { result } = await solveGraph({ target: gitVertex(source) });
    if (result.kind !== 'stack') throw new TsbuildError('CONTEXT_INVALID', 'a repository has no files');
    return result;
  }

  const [platform = machine] = request.platforms;
  const sources = await openBuildSources(
    engine,
    { dockerfile: request.dockerfile, contexts: contextsOf(request), platform },
    { sink, signal, solveGit, secret: request.secret },
  );
  contexts = createContexts(sources.directories, root, host);
  const isIgnored = ignoredBy(sources.directories.get('context'));
  return {
    sources,
    contexts,
    solveGraph,
    frontendRequest: (wanted) => ({
      ...sources.dockerfile,
      ...(request.target === undefined ? {} : { target: request.target }),
      platform: wanted,
      isPlatformGiven: request.platforms.length > 0,
      buildPlatform: machine,
      buildArgs: request.buildArgs,
      labels: request.labels,
      noCache: request.noCache,
      network: request.network,
      allow: request.allow,
      ...(sources.context === undefined ? {} : { context: sources.context }),
      namedContexts: sources.named,
      ...(isIgnored === undefined ? {} : { isIgnored }),
      contextTime: () => withContextTree(engine, sources.context, { solveGit }, newestTime),
      resolveImage: (reference, each) =>
        resolveImage(reference, each, { engine, sink, signal, pull: request.pull }),
    }),
    [Symbol.dispose]: () => contexts[Symbol.dispose](),
  };
}

/** Patterns with exceptions cannot be judged without the files. */
/** With BUILDKIT_CONTEXT_KEEP_GIT_DIR, repositories that are contexts keep their .git. */
function contextsOf({ contexts, buildArgs }: BuildRequest): ReadonlyMap<string, ContextSpec> {
  if (!/^(1|t|true)$/i.test(buildArgs['BUILDKIT_CONTEXT_KEEP_GIT_DIR'] ?? '')) return contexts;
  return new Map(
    [...contexts].map(([name, spec]) => [
      name,
      spec.kind === 'git' ? { ...spec, source: { ...spec.source, keepGitDir: true } } : spec,
    ]),
  );
}

function ignoredBy(source: ContextSource | undefined): ((path: string) => boolean) | undefined {
  const { ignoreText = '', ignoreFile = '.dockerignore' } = source ?? {};
  const patterns = parseIgnoreFile(ignoreText);
  if (patterns.length === 0 || patterns.some((pattern) => pattern.startsWith('!'))) return undefined;
  const matcher = compileIgnoreFile(ignoreText, ignoreFile);
  return (path) => matcher.excludes(path);
}

async function openGit(engine: Engine, request: BuildRequest): Promise<GitSources> {
  const { createGitSources } = await import('./git.ts');
  const agent = request.sshSocket('default');
  return createGitSources({
    root: `${engine.options.root}/git`,
    host: engine.host,
    env: { ...request.gitEnvironment, ...(agent === undefined ? {} : { SSH_AUTH_SOCK: agent }) },
    secret: request.secret,
  });
}

/** Throws TsbuildError; nothing is tagged unless everything succeeded. */
export async function build(
  engine: Engine,
  request: BuildRequest,
  options: CallOptions,
): Promise<BuildResult> {
  const { host } = engine;
  const references = request.tags.map((tag) => withDefaultTag(parseReference(tag)));
  if (request.push && references.length === 0)
    throw new TsbuildError('USAGE', '--push needs a name to push to', {
      hint: 'add -t REGISTRY/REPOSITORY[:TAG]',
    });
  using prepared = await prepareBuild(engine, request, options);
  const pushers = request.push ? await openPushers(engine, references, request, options) : [];
  const graphs = await createGraphs(engine, request, prepared, options);
  try {
    const images: StoredImage[] = [];
    const counts = { executed: 0, cached: 0 };
    for (const graph of graphs) {
      const layersOf = chainOf(graph);
      const solution = await prepared.solveGraph(graph, (vertex, result) => {
        if (result.kind === 'stack' && layersOf.has(vertex.id))
          for (const pusher of pushers) for (const { diffID } of result.layers) pusher.addLayer(diffID);
      });
      counts.executed += solution.executed;
      counts.cached += solution.cached;
      images.push(engine.images.put(assembleConfig(graph, solution.results, host.now())));
    }
    prepared.contexts.save();
    if (counts.executed > 0) {
      engine.layers.sync();
      await (await engine.snapshotter()).sync();
    }
    const image = ownImage(images, engine.options.platform);
    let manifest: Digest | undefined;
    for (const pusher of pushers) manifest = await pusher.finish(images);
    if (request.outputs.length > 0) {
      const { writeOutput } = await import('./outputs.ts');
      for (const output of request.outputs)
        manifest = (await writeOutput(engine, images, references, output, options)) ?? manifest;
    }
    for (const reference of references) engine.images.tag(reference, image.id);
    return {
      image,
      images,
      references,
      ...counts,
      ...(manifest === undefined ? {} : { manifest }),
    };
  } catch (error) {
    for (const pusher of pushers) await pusher.abandon();
    throw error;
  }
}

/** What will be pushed to, once it is known that we may: better than a refusal after the build. */
async function openPushers(
  engine: Engine,
  references: readonly Reference[],
  { format, pushByDigest }: BuildRequest,
  options: CallOptions,
): Promise<readonly Pusher[]> {
  const { createPushers } = await import('./push.ts');
  const pushers = await createPushers(engine, references, {
    ...options,
    format: format ?? 'oci',
    byDigest: pushByDigest === true,
  });
  await Promise.all(pushers.map((pusher) => pusher.checkPermission()));
  return pushers;
}

/** One graph a platform. The same warning is not given twice. */
async function createGraphs(
  engine: Engine,
  request: BuildRequest,
  prepared: PreparedBuild,
  { sink }: CallOptions,
): Promise<readonly BuildGraph[]> {
  const { host } = engine;
  const machine = engine.options.platform;
  const seen = new Set<string>();
  const graphs: BuildGraph[] = [];
  for (const platform of request.platforms.length === 0 ? [machine] : request.platforms)
    graphs.push(
      await createBuildGraph({
        ...prepared.frontendRequest(platform),
        onWarning({ message, rule, source }) {
          const key = `${rule} ${source.range.startLine} ${message}`;
          if (seen.has(key)) return;
          seen.add(key);
          sink.emit({ kind: 'warning', message: `${rule}: ${message}`, source, at: host.now() });
        },
      }),
    );
  const unused = graphs.at(0)?.unusedArgs ?? [];
  if (unused.length > 0)
    sink.emit({
      kind: 'warning',
      message: `build arguments were given that no ARG asks for: ${unused.join(', ')}`,
      at: host.now(),
    });
  const syntax = graphs.at(0)?.syntax?.split(' ', 1)[0];
  if (syntax !== undefined && !OWN_SYNTAX.test(syntax))
    sink.emit({
      kind: 'warning',
      message: `the Dockerfile asks for the frontend ${JSON.stringify(syntax)}, which is not run: it is read as a Dockerfile`,
      at: host.now(),
    });
  if (graphs.some((graph) => graph.platform.architecture !== machine.architecture)) {
    const { checkRunnable } = await import('./emulation.ts');
    checkRunnable(
      graphs.map((graph) => graph.target),
      machine,
    );
  }
  return graphs;
}

function ownImage(images: readonly StoredImage[], machine: Platform): StoredImage {
  const own = images.find(({ config }) => config.architecture === machine.architecture) ?? images[0];
  if (own === undefined) throw new TsbuildError('USAGE', 'there is no platform to build for');
  return own;
}

/** Vertices whose layers are layers of the image. */
function chainOf({ target, history }: BuildGraph): ReadonlySet<Digest> {
  return new Set([target.id, ...history.flatMap(({ vertex }) => (vertex === undefined ? [] : [vertex.id]))]);
}

function isAvailable(engine: Engine, result: Result): boolean {
  if (result.kind === 'file') return engine.content.size(result.blob) === result.size;
  return result.kind !== 'stack' || result.layers.every(({ diffID }) => engine.images.hasLayer(diffID));
}
