/** A build before anything is solved: its sources found and opened, and what it takes to solve a graph. */
import { TsbuildError } from '../base/errors.ts';
import type { BuildGraph, Vertex } from '../graph/graph.ts';
import { formatPlatform } from '../oci/platform.ts';
import { compileIgnoreFile, parseIgnoreFile } from '../layer/ignore-patterns.ts';
import type { Platform } from '../oci/documents.ts';
import type { GitSources } from '../solver/exec/git.ts';
import type { OpHandlers } from '../solver/handler.ts';
import type { Result, StackResult } from '../solver/result.ts';
import { solve, type Solution, type SolveOptions } from '../solver/solve.ts';
import type { RecordStore } from '../solver/records.ts';
import type { Project } from '../solver/why/journal.ts';
import type { SurveyedStep } from '../solver/why/survey.ts';
import { gitVertex } from '../../frontend/lower/sources.ts';
import type { FrontendRequest, GitSource } from '../../frontend/request.ts';
import type { GraphCache } from './cache/build-cache.ts';
import { openBuildSources, withContextTree, type BuildSources, type ContextSpec } from './build-sources.ts';
import { newestTime } from './context-time.ts';
import { createContexts, type ContextSource, type Contexts } from './contexts.ts';
import type { Engine } from './engine.ts';
import { createHandlers, type OpenHandlers } from './handlers.ts';
import { createLayerAccess } from './layer-access.ts';
import { createLayerLoss, type LayerLoss } from './layer-loss.ts';
import { projectOf } from './project.ts';
import { resolveImage } from './resolve-image.ts';
import type { CallOptions } from './with-vertex.ts';
import type { BuildRequest } from './build-request.ts';

/** What the frontend needs, found and opened; `--check` and `--call` need no more. Owned by the caller. */
export interface PreparedBuild extends Disposable {
  readonly sources: BuildSources;
  readonly contexts: Contexts;
  readonly frontendRequest: (platform: Platform) => FrontendRequest;
  readonly solveGraph: (graph: BuildGraph, options?: SolveGraphOptions) => Promise<Solution>;
  /** What solving it would do; executes nothing. */
  readonly surveyGraph: (graph: BuildGraph, cache?: GraphCache) => Promise<readonly SurveyedStep[]>;
  readonly loss: LayerLoss;
}

interface SolveGraphOptions {
  readonly onResult?: (vertex: Vertex, result: Result) => void;
  readonly onPacking?: SolveOptions['onPacking'];
  readonly cache?: GraphCache | undefined;
  readonly mustBeCached?: SolveOptions['mustBeCached'];
  /** Where it throws, the build ends with that; no step is to blame. */
  readonly beforeExecute?: () => Promise<void>;
}

/** What it finds stays in the store until it is disposed of. */
export async function prepareBuild(
  engine: Engine,
  request: BuildRequest,
  options: CallOptions,
): Promise<PreparedBuild> {
  const lease = engine.leases.enter();
  try {
    const prepared = await prepare(engine, request, options);
    return {
      ...prepared,
      [Symbol.dispose]() {
        prepared[Symbol.dispose]();
        lease[Symbol.dispose]();
      },
    };
  } catch (error) {
    lease[Symbol.dispose]();
    throw error;
  }
}

function ofPlatform(project: Project, { platform }: SolvableGraph): Project {
  return platform === undefined ? project : { ...project, platform: formatPlatform(platform) };
}

/** A repository is of no platform. */
type SolvableGraph = Pick<BuildGraph, 'target' | 'sourceDateEpoch'> & Partial<Pick<BuildGraph, 'platform'>>;

/** Whose list nobody keeps, what is in a stage would be known by a digest that no later build could explain. */
function withoutContents(records: RecordStore): RecordStore {
  return { ...records, putContentDigest: () => undefined };
}

async function prepare(
  engine: Engine,
  request: BuildRequest,
  { sink, signal }: CallOptions,
): Promise<PreparedBuild> {
  const { host } = engine;
  const { platform: machine, root } = engine.options;
  let gitSources: Promise<GitSources> | undefined;
  const git = (): Promise<GitSources> => (gitSources ??= openGit(engine, request));
  let contexts = createContexts(new Map(), root, host);
  const warn = (message: string): void => sink.emit({ kind: 'warning', message, at: host.now() });
  const failing = new AbortController();
  const fetching = { sink, signal: AbortSignal.any([signal, failing.signal]) };
  const loss = createLayerLoss({
    engine,
    access: createLayerAccess(engine, fetching),
    warn,
    signal: fetching.signal,
  });

  // Repositories that are contexts are solved before it is known.
  let project: Project | undefined = undefined;

  function handlersFor(
    graph: Pick<BuildGraph, 'sourceDateEpoch'>,
    records: RecordStore,
    cache: Pick<GraphCache, 'arrive'> | undefined,
    isAsking = false,
  ): OpenHandlers {
    const { cacheFrom = [], extraHosts, resources, secret, sshSocket } = request;
    return createHandlers({
      engine,
      records,
      speculates: !isAsking && (cache === undefined || cacheFrom.length === 0),
      arrive: cache?.arrive,
      openLayer: loss.openLayer,
      giveUp: (diffID, error) => loss.giveUp(diffID, error),
      contexts,
      graph,
      extraHosts,
      warn,
      resources,
      allowed: new Set([
        ...request.allow,
        ...(request.network === 'host' ? (['network.host'] as const) : []),
      ]),
      secret,
      sshSocket,
      git,
    });
  }

  async function solveGraph(graph: SolvableGraph, options: SolveGraphOptions = {}): Promise<Solution> {
    let ended: { readonly error: unknown } | undefined;
    const end = (error: unknown): void => {
      ended ??= { error };
      failing.abort();
    };
    using _watch = engine.budget.watch(end);
    const beforeExecute = async (): Promise<void> => {
      await options.beforeExecute?.().catch((error: unknown) => {
        end(error);
        throw new TsbuildError('ABORTED', 'the build was aborted', { cause: error });
      });
    };
    try {
      return await solveWithin(graph, { ...options, beforeExecute });
    } catch (error) {
      throw ended === undefined ? error : ended.error;
    }
  }

  async function solveWithin(graph: SolvableGraph, options: SolveGraphOptions): Promise<Solution> {
    const { handlers, end } = handlersFor(graph, options.cache?.records ?? engine.records, options.cache);
    try {
      return await solveBy(handlers, graph, options);
    } finally {
      await end();
    }
  }

  function solveBy(
    handlers: OpHandlers,
    graph: SolvableGraph,
    { cache, onPacking, onResult, mustBeCached, beforeExecute }: SolveGraphOptions,
  ): Promise<Solution> {
    return solve(graph.target, {
      handlers,
      records: cache?.records ?? engine.records,
      ...(cache === undefined ? {} : { remote: cache }),
      isAvailable: (result) => Promise.resolve(loss.isAvailable(result)),
      hasFiles: (result) =>
        result.kind !== 'stack' ||
        result.layers.slice(-1).every(({ diffID }) => engine.images.hasLayer(diffID)),
      locks: engine.stepLocks,
      host,
      sink,
      parallelism: engine.options.parallelism,
      signal,
      abort: failing,
      ...(project === undefined ? {} : { project: ofPlatform(project, graph) }),
      ...(mustBeCached === undefined ? {} : { mustBeCached }),
      ...(beforeExecute === undefined ? {} : { beforeExecute }),
      onPacking,
      onResult(vertex, result) {
        if (vertex.op.kind === 'image') loss.noteBase(result);
        onResult?.(vertex, result);
      },
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
  project = projectOf(request.contexts.get('context'), sources.dockerfile);
  const isIgnored = ignoredBy(sources.directories.get('context'));
  return {
    sources,
    contexts,
    solveGraph,
    async surveyGraph(graph, cache) {
      const { survey } = await import('../solver/why/survey.ts');
      const records = cache?.records ?? engine.records;
      return survey(graph.target, {
        // Asking executes nothing, so that there is nothing to end, and nothing to pack.
        ...{ handlers: handlersFor(graph, withoutContents(records), cache, true).handlers },
        records,
        remote: cache,
        isAvailable: (result) => Promise.resolve(loss.isAvailable(result)),
        host,
        project: ofPlatform(project, graph),
        signal,
      });
    },
    loss,
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
      contextTime: () => withContextTree(engine, sources.context, { solveGit, sink, signal }, newestTime),
      resolveImage: (reference, each) =>
        resolveImage(reference, each, { engine, sink, signal, pull: request.pull }),
    }),
    [Symbol.dispose]: () => contexts[Symbol.dispose](),
  };
}

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

/** Patterns with exceptions cannot be judged without the files. */
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
    retention: engine.retention,
    env: { ...request.gitEnvironment, ...(agent === undefined ? {} : { SSH_AUTH_SOCK: agent }) },
    secret: request.secret,
  });
}
