/**
 * CopyOp: files into a root file system, as a layer written straight from their sources; no file is created
 * anywhere. Also WORKDIR, which makes directories.
 */
import { closeSync, openSync } from 'node:fs';
import { toByteString, toText, type ByteString } from '../../base/byte-string.ts';
import { digestOf, type CacheKey, type Digest } from '../../base/digest.ts';
import { isTsbuildError, TsbuildError } from '../../base/errors.ts';
import { canonicalJson, type Json } from '../../base/json.ts';
import type { CopyOp, CopySource } from '../../graph/ops.ts';
import type { IgnoreMatcher } from '../../layer/ignore-patterns.ts';
import type { LayerStore } from '../../layer/layer.ts';
import { emptyTree, openTree } from '../../layer/open-tree.ts';
import type { Tree } from '../../layer/tree.ts';
import { resolveOwner, resolveWorkdirUser, type Ownership } from '../../oci/user.ts';
import type { Snapshotter } from '../../../snapshotter/snapshotter.ts';
import type { OpHandler, VertexContext } from '../handler.ts';
import type { RecordStore } from '../records.ts';
import { identityOf, pushLayer, type Result, type StackResult } from '../result.ts';
import type { Stacks } from '../stack.ts';
import { asJson } from '../solve.ts';
import { isArchive, readArchive, type Archive } from './copy/archive.ts';
import { digestSelection } from './copy/digest.ts';
import { createLayerPlan, type LayerPlan, type Planned } from './copy/layer-plan.ts';
import { placeArchive } from './copy/place-archive.ts';
import { createPlacing, secondsOf, type Placing, type SourceTree } from './copy/place.ts';
import { selectSources } from './copy/select.ts';
import type { Selected } from './copy/selected.ts';
import { writePlannedLayer } from './copy/write-layer.ts';
import type { StatCache } from './context/stat-cache.ts';
import { readOwnerFiles, type OwnerFiles } from './owner-files.ts';

/** A build context: its files, what is left out of it, and what is known of it. Owned by whoever opened it. */
export interface OpenContext {
  readonly tree: Tree;
  readonly ignore: IgnoreMatcher | undefined;
  readonly statCache: StatCache;
  /** As in messages: `the build context`. */
  readonly where: string;
}

export interface CopyHandlerOptions {
  readonly snapshotter: () => Promise<Snapshotter>;
  readonly stacks: Stacks;
  readonly layers: LayerStore;
  readonly records: RecordStore;
  readonly context: (name: string) => OpenContext;
  /** Path of a blob on disk. */
  readonly blobPath: (blob: Digest) => string;
  /** A path for a new temporary file. */
  readonly spool: () => string;
  readonly maxMtime?: number;
  readonly now: () => number;
}

export function createCopyHandler(options: CopyHandlerOptions): OpHandler<CopyOp> {
  return {
    async cacheMap(context) {
      const { op } = context;
      const sources: Json[] = [];
      for (const source of op.sources) sources.push(await sourceIdentity(options, context, source));
      const { destination, owner, chmod, parents, link, unpack, workdirUser, instruction, excludes } = op;
      return {
        named: {
          kind: 'copy',
          instruction,
          parent: identityOf(stackOf(context.inputs[0])),
          sources,
          ...asJsonObject({ destination, owner, chmod, parents, link, unpack, workdirUser, excludes }),
          ...(options.maxMtime === undefined ? {} : { maxMtime: options.maxMtime }),
        },
      };
    },

    async exec(context) {
      const parent = stackOf(context.inputs[0]);
      await using opened = await openStack(options, parent);
      const plan = createLayerPlan(opened.tree);
      const archives: Archive[] = [];
      const disposals: (() => Promise<void> | void)[] = [];
      try {
        const owner = ownerOf(context, opened.tree);
        if (context.op.instruction === 'WORKDIR')
          planWorkdir(context, plan, opened.tree, options.maxMtime ?? 0);
        else await planSources(options, context, plan, opened.tree, owner, archives, disposals);
        using writer = options.layers.create();
        await writePlannedLayer(plan, writer, {
          signal: context.signal,
          ...(options.maxMtime === undefined ? {} : { maxMtime: options.maxMtime }),
        });
        const layer = writer.commit();
        return pushLayer(parent, { diffID: layer.diffID, created: options.now() });
      } finally {
        for (const archive of archives) archive[Symbol.dispose]();
        for (const dispose of disposals.reverse()) await dispose();
      }
    },
  };
}

function asJsonObject(value: object): Record<string, Json> {
  return asJson(value) as Record<string, Json>;
}

function stackOf(result: Result | undefined): StackResult {
  if (result?.kind !== 'stack')
    throw new TsbuildError('SPEC_INVALID', 'cannot copy into something that is no root file system');
  return result;
}

interface OpenedTree extends AsyncDisposable {
  readonly tree: Tree;
}

async function openStack(options: CopyHandlerOptions, stack: StackResult): Promise<OpenedTree> {
  const name = await options.stacks.snapshotOf(stack);
  if (name === undefined) return { tree: emptyTree(), [Symbol.asyncDispose]: () => Promise.resolve() };
  const view = await (await options.snapshotter()).view(name);
  const tree = openTree(view.mounts);
  return {
    tree,
    async [Symbol.asyncDispose]() {
      tree[Symbol.dispose]();
      await view[Symbol.asyncDispose]();
    },
  };
}

interface OpenedSource extends AsyncDisposable, SourceTree {
  readonly where: string;
  readonly statCache?: StatCache;
}

async function openSource(
  options: CopyHandlerOptions,
  context: Pick<VertexContext, 'inputs' | 'vertex'>,
  index: number,
): Promise<OpenedSource> {
  const input = context.inputs[index];
  if (input?.kind === 'context') {
    const { tree, ignore, statCache, where } = options.context(input.name);
    return {
      tree,
      isContext: true,
      statCache,
      where,
      isAsKeyed: (stat) => statCache.knows(stat),
      ...(ignore === undefined ? {} : { ignore }),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  }
  const opened = await openStack(options, stackOf(input));
  const name = context.vertex.inputs[index]?.name ?? 'the stage';
  return {
    tree: opened.tree,
    isContext: false,
    where: `the files of ${JSON.stringify(name)}`,
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
}

function selectFrom(source: OpenedSource, op: CopyOp, patterns: readonly string[]): readonly Selected[] {
  return selectSources(source.tree, patterns, {
    parents: op.parents,
    where: source.where,
    ...(source.ignore === undefined ? {} : { ignore: source.ignore }),
  });
}

/** What a source contributes to the key: its content, read at most once per content. */
async function sourceIdentity(
  options: CopyHandlerOptions,
  context: VertexContext<CopyOp>,
  source: CopySource,
): Promise<Json> {
  if (source.kind === 'inline') return { inline: source.name, content: digestOf(source.content) };
  const input = context.inputs[source.input];
  if (source.kind === 'whole') return { whole: input === undefined ? null : identityOf(input) };
  const { op } = context;
  if (input?.kind !== 'stack')
    return { files: await digestOfSource(options, context, source.input, source.patterns) };
  // why: a committed stack never changes, so what was read in it once need not be mounted and read again.
  const { chmod, owner, parents, excludes } = op;
  const question = asJsonObject({
    stack: identityOf(input),
    patterns: source.patterns,
    chmod,
    owned: owner !== undefined,
    parents,
    excludes,
  });
  const key = digestOf(canonicalJson(question)) as CacheKey;
  const known = options.records.getContentDigest(key);
  const digest = known ?? (await digestOfSource(options, context, source.input, source.patterns));
  if (known === undefined) options.records.putContentDigest(key, digest);
  return { files: digest };
}

/** Content of one path in any input, for mounts; `excludes` and owners do not matter there. */
export async function digestOfPath(
  options: CopyHandlerOptions,
  context: VertexContext,
  index: number,
  path: string,
): Promise<string> {
  const input = context.inputs[index];
  if (input === undefined || input.kind === 'file')
    throw new TsbuildError('INSTRUCTION_UNSUPPORTED', 'cannot mount a fetched file');
  if (input.kind === 'stack') return `${identityOf(input)} ${path}`;
  await using source = await openSource(options, context, index);
  const selection = selectSources(source.tree, [path], {
    parents: false,
    where: source.where,
    ...(source.ignore === undefined ? {} : { ignore: source.ignore }),
  });
  return digestSelection(source.tree, selection, {}, source);
}

async function digestOfSource(
  options: CopyHandlerOptions,
  context: VertexContext<CopyOp>,
  index: number,
  patterns: readonly string[],
): Promise<Digest> {
  await using source = await openSource(options, context, index);
  const selection = selectFrom(source, context.op, patterns);
  return digestSelection(source.tree, selection, context.op, source);
}

function ownerOf({ op, progress }: VertexContext<CopyOp>, parent: Tree): Ownership | undefined {
  if (op.owner === undefined) return undefined;
  const isNumeric = /^\d+$/.test(op.owner.user) && /^\d*$/.test(op.owner.group ?? '');
  const files: OwnerFiles = isNumeric ? {} : readOwnerFiles(parent);
  return resolveOwner(op.owner, files, (kind, name) =>
    progress.warn(
      `--chown: the image has no ${kind} ${JSON.stringify(name)}; files will belong to 0`,
      `create the ${kind} before, or use a number`,
    ),
  );
}

/** Directories on the way to the working directory, made where they are missing; also those that `..` leaves. */
function planWorkdir(
  { op, progress }: VertexContext<CopyOp>,
  plan: LayerPlan,
  parent: Tree,
  mtime: number,
): void {
  const names = op.destination.split('/');
  const paths = names
    .flatMap((name, index) => (name === '..' ? [names.slice(0, index).join('/')] : []))
    .concat(op.destination)
    .map((written) => parent.resolve(toByteString(written)))
    .filter((path) => isMissing(parent, path));
  if (paths.length === 0) return;
  const user = op.workdirUser ?? '';
  const owner = resolveWorkdirUser(user, readOwnerFiles(parent), (name) =>
    progress.warn(
      `WORKDIR: the image has no user ${JSON.stringify(name)}; the directory will belong to root`,
    ),
  );
  for (const path of paths) plan.ensureDirectories(path, { owner, mode: 0o755, mtime }, true);
}

function isMissing(parent: Tree, path: ByteString): boolean {
  const there = path === '' ? undefined : parent.lstat(path);
  if (there !== undefined && there.type !== 'directory')
    throw new TsbuildError(
      'COPY_DESTINATION_INVALID',
      `WORKDIR ${JSON.stringify(`/${toText(path)}`)} is not a directory in the image`,
    );
  return path !== '' && there === undefined;
}

async function planSources(
  options: CopyHandlerOptions,
  context: VertexContext<CopyOp>,
  plan: LayerPlan,
  parent: Tree,
  owner: Ownership | undefined,
  archives: Archive[],
  disposals: (() => Promise<void> | void)[],
): Promise<void> {
  const { op } = context;
  const opened = new Map<
    number,
    { readonly source: OpenedSource; readonly selection: readonly Selected[] }
  >();
  for (const source of op.sources) {
    if (source.kind !== 'paths') continue;
    const tree = await openSource(options, context, source.input);
    disposals.push(async () => tree[Symbol.asyncDispose]());
    opened.set(source.input, { source: tree, selection: selectFrom(tree, op, source.patterns) });
  }
  const times = [...opened.values()].flatMap(({ selection }) =>
    selection.map(({ stat }) => secondsOf(stat.mtimeNs)),
  );
  // why: the wall clock would make two builds of the same files differ; the newest file is as good a time.
  const defaultMtime = options.maxMtime ?? Math.max(0, ...times);
  const placing = createPlacing({ op, plan, parent, owner, defaultMtime });
  for (const source of op.sources) {
    if (source.kind === 'inline') placing.placeNamed(source.name, inlineEntry(source.content, placing));
    else if (source.kind === 'whole')
      await placeWhole(options, context, source.input, placing, plan, owner, archives);
    else {
      const found = opened.get(source.input);
      for (const selected of found?.selection ?? [])
        if (
          found !== undefined &&
          !(await placedAsArchive(options, context, found.source, selected, placing, plan, owner, archives))
        )
          placing.placeSelected(found.source, selected);
    }
  }
  if (op.parents && [...opened.values()].every(({ selection }) => selection.length === 0))
    plan.ensureDirectories(placing.destination.path, placing.created, true);
}

function inlineEntry(content: string, placing: Placing): Planned {
  const bytes = Buffer.from(content);
  const { owner, mtime } = placing.created;
  return {
    type: 'file',
    mode: placing.chmod.apply(0o644, 'file'),
    ...owner,
    mtime,
    size: bytes.byteLength,
    content: { kind: 'bytes', bytes },
  };
}

async function placedAsArchive(
  options: CopyHandlerOptions,
  { op, signal }: VertexContext<CopyOp>,
  source: OpenedSource,
  selected: Selected,
  placing: Placing,
  plan: LayerPlan,
  owner: Ownership | undefined,
  archives: Archive[],
): Promise<boolean> {
  if (op.unpack === 'never' || selected.stat.type !== 'file') return false;
  const slash = selected.path.lastIndexOf('/');
  using directory = source.tree.directory(selected.path.slice(0, Math.max(0, slash)));
  const fd = directory.open(selected.path.slice(slash + 1));
  try {
    if (!(await isArchive(fd))) return false;
    await addArchive(fd, options.spool(), signal, placing, plan, owner, archives);
    return true;
  } catch (error) {
    if (!isTsbuildError(error, 'ARCHIVE_INVALID')) throw error;
    const name = toText(selected.path);
    throw new TsbuildError('ARCHIVE_INVALID', `cannot unpack ${JSON.stringify(name)}: ${error.message}`, {
      cause: error,
      word: name,
      hint: error.hint ?? 'look at the file, or add it as it is with --unpack=false',
    });
  } finally {
    closeSync(fd);
  }
}

async function addArchive(
  fd: number,
  spool: string,
  signal: AbortSignal,
  placing: Placing,
  plan: LayerPlan,
  owner: Ownership | undefined,
  archives: Archive[],
): Promise<void> {
  const archive = await readArchive(fd, spool, signal);
  archives.push(archive);
  placeArchive(archive, {
    plan,
    destination: placing.destination.path,
    created: placing.created,
    owner,
    identity: `archive ${archives.length}`,
  });
}

async function placeWhole(
  options: CopyHandlerOptions,
  { inputs, op, signal }: VertexContext<CopyOp>,
  index: number,
  placing: Placing,
  plan: LayerPlan,
  owner: Ownership | undefined,
  archives: Archive[],
): Promise<void> {
  const input = inputs[index];
  if (input?.kind !== 'file')
    throw new TsbuildError('INSTRUCTION_UNSUPPORTED', 'this kind of source is not supported');
  const path = options.blobPath(input.blob);
  if (op.unpack === 'always') {
    const fd = openSync(path, 'r');
    try {
      if (await isArchive(fd)) {
        await addArchive(fd, options.spool(), signal, placing, plan, owner, archives);
        return;
      }
    } finally {
      closeSync(fd);
    }
  }
  const entry: Planned = {
    type: 'file',
    mode: placing.chmod.apply(0o600, 'file'),
    ...(owner ?? { uid: 0, gid: 0 }),
    mtime: input.mtime,
    size: input.size,
    content: { kind: 'path', path },
  };
  placing.placeNamed(input.filename, entry);
}
