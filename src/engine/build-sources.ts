/**
 * What a build is made from: contexts of all kinds become what the frontend and the solver understand, and the
 * Dockerfile's text is found, in a directory, in an archive or in a repository.
 */
import { createReadStream } from 'node:fs';
import { toByteString } from '../base/byte-string.ts';
import { TsbuildError } from '../base/errors.ts';
import { suggest } from '../base/suggest.ts';
import { toText } from '../base/byte-string.ts';
import type { StoredImage } from '../image/image-store.ts';
import { decompress, peekHead } from '../layer/decompress.ts';
import { openTree, emptyTree } from '../layer/open-tree.ts';
import { BLOCK } from '../layer/tar-header.ts';
import { looksLikeTar } from '../layer/tar-reader.ts';
import type { Tree } from '../layer/tree.ts';
import type { Platform } from '../oci/documents.ts';
import type { VertexProgress } from '../solver/handler.ts';
import type { StackResult } from '../solver/result.ts';
import { createStacks } from '../solver/stack.ts';
import type { GitSource, NamedContext } from '../../frontend/request.ts';
import type { ContextSource } from './contexts.ts';
import type { Engine } from './engine.ts';
import { snapshotOfImage } from './export-rootfs.ts';
import { createLayerAccess } from './layer-access.ts';
import { withVertex, type CallOptions } from './with-vertex.ts';

/** A context as the user named it. */
export type ContextSpec =
  | ({ readonly kind: 'directory' } & ContextSource)
  | { readonly kind: 'image'; readonly reference: string }
  | { readonly kind: 'stage'; readonly name: string }
  /** `oci-layout://path[:tag|@digest]`; the path is absolute. */
  | { readonly kind: 'layout'; readonly path: string; readonly select?: string }
  | { readonly kind: 'git'; readonly source: GitSource }
  | { readonly kind: 'http'; readonly url: string }
  /** A tar, compressed or not, or a Dockerfile alone; read once. */
  | { readonly kind: 'stream'; readonly stream: AsyncIterable<Uint8Array> };

export interface DockerfileText {
  /** As shown to the user. */
  readonly file: string;
  readonly text: string;
}

/** The Dockerfile, or where in the build context it lies (`undefined`: at its usual place). */
export type DockerfileSpec = DockerfileText | { readonly inContext: string | undefined };

export interface SourceSpecs {
  readonly dockerfile: DockerfileSpec;
  /** By name; `context` is the build context. */
  readonly contexts: ReadonlyMap<string, ContextSpec>;
  readonly platform: Platform;
}

export interface BuildSources {
  readonly dockerfile: DockerfileText;
  readonly directories: ReadonlyMap<string, ContextSource>;
  /** The build context, where it is no directory. */
  readonly context?: NamedContext;
  readonly named: Readonly<Record<string, NamedContext>>;
}

export interface SourceTools extends CallOptions {
  /** Solves a repository to its files. */
  readonly solveGit: (source: GitSource) => Promise<StackResult>;
  readonly secret: (id: string) => Promise<Uint8Array | undefined>;
}

const MAX_DOCKERFILE = 16 << 20;

export async function openBuildSources(
  engine: Engine,
  specs: SourceSpecs,
  tools: SourceTools,
): Promise<BuildSources> {
  const directories = new Map<string, ContextSource>();
  const named: Record<string, NamedContext> = {};
  let main: { readonly context: NamedContext; readonly dockerfile?: DockerfileText } | undefined;
  for (const [name, spec] of specs.contexts) {
    if (spec.kind === 'directory') directories.set(name, spec);
    const isMain = name === 'context';
    const opened = await openContext(engine, name, spec, specs, tools);
    if (isMain) main = spec.kind === 'directory' ? undefined : opened;
    else named[name] = opened.context;
  }
  const { dockerfile } = specs;
  const text =
    'text' in dockerfile
      ? dockerfile
      : (main?.dockerfile ?? (await findDockerfile(engine, main?.context, dockerfile.inContext, tools)));
  return {
    dockerfile: text,
    directories,
    named,
    ...(main === undefined ? {} : { context: main.context }),
  };
}

interface Opened {
  readonly context: NamedContext;
  /** Where the source was a Dockerfile and nothing else. */
  readonly dockerfile?: DockerfileText;
}

async function openContext(
  engine: Engine,
  name: string,
  spec: ContextSpec,
  specs: SourceSpecs,
  tools: SourceTools,
): Promise<Opened> {
  const isMain = name === 'context';
  switch (spec.kind) {
    case 'directory':
      return { context: { kind: 'directory' } };
    case 'image':
    case 'stage':
    case 'git':
      return { context: spec };
    case 'layout': {
      const { openLayoutImage } = await import('./layout-context.ts');
      const image = await openLayoutImage(engine, spec, specs.platform, tools);
      return { context: storedContext(spec.path, image) };
    }
    case 'http':
      return openHttp(engine, spec.url, isMain, specs.platform, tools);
    case 'stream':
      return openBytes(engine, spec.stream, '-', isMain, specs.platform, tools);
  }
}

function storedContext(reference: string, image: StoredImage): NamedContext {
  return { kind: 'stored', image: { reference, manifest: image.id, config: image.config } };
}

async function openHttp(
  engine: Engine,
  url: string,
  isMain: boolean,
  platform: Platform,
  tools: SourceTools,
): Promise<Opened> {
  const shown = url.replace(/:\/\/[^/@]*@/, '://***@');
  const vertex = `fetch ${shown}`;
  const progress: VertexProgress = {
    log: () => undefined,
    warn: () => undefined,
    transfer: (item) => tools.sink.emit({ kind: 'transfer', vertex, at: engine.host.now(), ...item }),
  };
  const { fetchFile } = await import('./fetch-file.ts');
  const file = await withVertex(tools.sink, engine.host, vertex, `fetch ${shown}`, () =>
    fetchFile(url, engine, { signal: tools.signal, progress, secret: tools.secret }),
  );
  const stream = createReadStream(engine.content.path(file.blob), { highWaterMark: 1 << 20 });
  return openBytes(engine, stream, shown, isMain, platform, tools);
}

/** An archive becomes an image without a name; anything else is a Dockerfile, if one is looked for. */
async function openBytes(
  engine: Engine,
  stream: AsyncIterable<Uint8Array>,
  from: string,
  isMain: boolean,
  platform: Platform,
  tools: SourceTools,
): Promise<Opened> {
  const { head, all } = await peekHead(decompress(stream), BLOCK);
  if (looksLikeTar(head)) {
    const { normaliseLayer } = await import('../image/import-rootfs.ts');
    const layer = await normaliseLayer(all, engine.layers, { spool: engine.spool(), signal: tools.signal });
    return { context: storedContext(from, putLayers(engine, [layer.diffID], platform)) };
  }
  if (!isMain)
    throw new TsbuildError('CONTEXT_INVALID', `${JSON.stringify(from)} is no archive`, {
      hint: 'a build context is a tar, compressed or not',
    });
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of all) {
    size += chunk.byteLength;
    if (size > MAX_DOCKERFILE)
      throw new TsbuildError('DOCKERFILE_SYNTAX', `the Dockerfile has more than ${MAX_DOCKERFILE} bytes`);
    chunks.push(Uint8Array.from(chunk));
  }
  const text = Buffer.concat(chunks).toString('utf8');
  return {
    context: storedContext('nothing', putLayers(engine, [], platform)),
    dockerfile: { file: from, text },
  };
}

function putLayers(
  engine: Engine,
  layers: StoredImage['config']['rootfs']['diff_ids'],
  { os, architecture, variant }: Platform,
): StoredImage {
  return engine.images.put({
    architecture,
    os,
    ...(variant === undefined ? {} : { variant }),
    config: {},
    history: layers.map(() => ({ created_by: 'build context' })),
    rootfs: { type: 'layers', diff_ids: layers },
  });
}

async function findDockerfile(
  engine: Engine,
  context: NamedContext | undefined,
  wanted: string | undefined,
  tools: Pick<SourceTools, 'solveGit' | 'sink' | 'signal'>,
): Promise<DockerfileText> {
  const text = await withContextTree(engine, context, tools, (tree) => readFrom(tree, wanted));
  if (text !== undefined) return text;
  throw new TsbuildError('DOCKERFILE_NOT_FOUND', 'there is no Dockerfile', { hint: 'name it with --file' });
}

/**
 * What `work` finds in the files of a build context that was fetched; undefined for those that are not: a
 * directory, an image, a stage. The tree is closed when `work` returns.
 */
export async function withContextTree<T>(
  engine: Engine,
  context: NamedContext | undefined,
  tools: Pick<SourceTools, 'solveGit' | 'sink' | 'signal'>,
  work: (tree: Tree) => T,
): Promise<T | undefined> {
  const snapshot = await snapshotOfContext(engine, context, tools);
  if (snapshot === undefined) return undefined;
  if (snapshot === 'empty') return work(emptyTree());
  await using view = await (await engine.snapshotter()).view(snapshot);
  using tree = openTree(view.mounts);
  return work(tree);
}

async function snapshotOfContext(
  engine: Engine,
  context: NamedContext | undefined,
  tools: Pick<SourceTools, 'solveGit' | 'sink' | 'signal'>,
): Promise<NonNullable<Awaited<ReturnType<typeof snapshotOfImage>>> | 'empty' | undefined> {
  if (context?.kind === 'stored') {
    const image = await engine.images.byID(context.image.manifest);
    return (image === undefined ? undefined : await snapshotOfImage(engine, image, tools)) ?? 'empty';
  }
  if (context?.kind !== 'git') return undefined;
  const stacks = createStacks({
    snapshotter: engine.snapshotter,
    openLayer: createLayerAccess(engine, tools),
  });
  return (await stacks.snapshotOf(await tools.solveGit(context.source))) ?? 'empty';
}

function readFrom(tree: Tree, wanted: string | undefined): DockerfileText {
  for (const file of wanted === undefined ? ['Dockerfile', 'dockerfile'] : [wanted]) {
    const bytes = tree.readFile(toByteString(file), MAX_DOCKERFILE);
    if (bytes !== undefined) return { file, text: Buffer.from(bytes).toString('utf8') };
  }
  using root = tree.directory('');
  const near = suggest(wanted ?? 'Dockerfile', root.names().map(toText));
  throw new TsbuildError(
    'DOCKERFILE_NOT_FOUND',
    `cannot find the Dockerfile ${JSON.stringify(wanted ?? 'Dockerfile')} in the build context`,
    {
      hint: near === undefined ? 'name it with --file' : `did you mean ${JSON.stringify(near)}?`,
    },
  );
}
