/** Planning the layer of a COPY or ADD: every source placed, archives read and unpacked into the plan. */
import { closeSync, openSync } from 'node:fs';
import { toText, type ByteString } from '../../../base/byte-string.ts';
import { isTsbuildError, TsbuildError } from '../../../base/errors.ts';
import type { CopyOp, CopySource } from '../../../graph/ops.ts';
import { CAPABILITY } from '../../../layer/pack-entry.ts';
import type { Tree } from '../../../layer/tree.ts';
import { resolveOwner, type Ownership } from '../../../oci/user.ts';
import type { VertexContext } from '../../handler.ts';
import { readOwnerFiles, type OwnerFiles } from '../owner-files.ts';
import { isArchive, readArchive, type Archive } from './archive.ts';
import type { Gathered } from './gathered.ts';
import { createLayerPlan, type LayerPlan } from './layer-plan.ts';
import type { CopyHandlerOptions } from './options.ts';
import { placeArchive } from './place-archive.ts';
import { createPlacing, secondsOf, type Placing } from './place.ts';
import type { Planned } from './planned.ts';
import { nameOf, parentOf, type Selected } from './selected.ts';
import type { OpenedSource } from './sources.ts';
import { planWorkdir } from './workdir.ts';

export interface GatheredSource {
  readonly source: OpenedSource;
  readonly gathered: readonly Gathered[];
}

export interface PlanningOptions {
  readonly options: CopyHandlerOptions;
  readonly context: VertexContext<CopyOp>;
  readonly parent: Tree;
  /** Of those that are paths in something. */
  readonly sources: ReadonlyMap<CopySource, GatheredSource>;
  readonly warn: (message: string, hint?: string) => void;
}

/** Disposing closes the archives and files that were opened for it; the plan must have been carried out before. */
export interface PlannedCopy extends Disposable {
  readonly plan: LayerPlan;
}

export async function planCopy(planning: PlanningOptions): Promise<PlannedCopy> {
  const { options, context, parent, warn } = planning;
  const plan = createLayerPlan(parent);
  const archives: Archive[] = [];
  const filesBelow: number[] = [];
  const dispose = (): void => {
    for (const archive of archives.splice(0)) archive[Symbol.dispose]();
    for (const fd of filesBelow.splice(0)) closeSync(fd);
  };
  try {
    if (context.op.instruction === 'WORKDIR')
      planWorkdir(context.op, plan, parent, options.maxMtime ?? 0, warn);
    else {
      const owner = ownerOf(context.op, parent, warn);
      await placeSources({ ...planning, plan, archives, filesBelow, owner });
    }
    return { plan, [Symbol.dispose]: dispose };
  } catch (error) {
    dispose();
    throw error;
  }
}

interface PlacingSources extends PlanningOptions {
  readonly plan: LayerPlan;
  readonly archives: Archive[];
  /** Descriptors of files of the parent that become part of the layer. */
  readonly filesBelow: number[];
  readonly owner: Ownership | undefined;
}

function ownerOf(op: CopyOp, parent: Tree, warn: PlanningOptions['warn']): Ownership | undefined {
  if (op.owner === undefined) return undefined;
  const isNumeric = /^\d+$/.test(op.owner.user) && /^\d*$/.test(op.owner.group ?? '');
  const files: OwnerFiles = isNumeric ? {} : readOwnerFiles(parent);
  return resolveOwner(op.owner, files, (kind, name) =>
    warn(
      `--chown: the image has no ${kind} ${JSON.stringify(name)}; files will belong to 0`,
      `create the ${kind} before, or use a number`,
    ),
  );
}

async function placeSources(placed: PlacingSources): Promise<void> {
  const { options, context, plan, parent, owner, sources } = placed;
  const { op } = context;
  const selections = [...sources.values()].flatMap(({ gathered }) => gathered);
  const times = selections.map(({ selected }) => secondsOf(selected.stat.mtimeNs));
  // why: the wall clock would make two builds of the same files differ; the newest file is as good a time.
  const defaultMtime = options.maxMtime ?? Math.max(0, ...times);
  const placing = createPlacing({ op, plan, parent, owner, defaultMtime });
  for (const source of op.sources) {
    if (source.kind === 'inline') placing.placeNamed(source.name, inlineEntry(source.content, placing));
    else if (source.kind === 'whole') await placeWhole(placed, source.input, placing);
    else {
      const found = sources.get(source);
      for (const each of found?.gathered ?? [])
        if (found !== undefined && !(await placedAsArchive(placed, found.source, each.selected, placing)))
          placing.placeGathered(found.source, each);
    }
  }
  if (op.parents && selections.length === 0)
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
  placed: PlacingSources,
  source: OpenedSource,
  selected: Selected,
  placing: Placing,
): Promise<boolean> {
  if (placed.context.op.unpack === 'never' || selected.stat.type !== 'file') return false;
  using directory = source.tree.directory(parentOf(selected.path));
  const fd = directory.open(nameOf(selected.path));
  try {
    if (!(await isArchive(fd))) return false;
    await addArchive(placed, fd, placing);
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

async function addArchive(placed: PlacingSources, fd: number, placing: Placing): Promise<void> {
  const { options, context, plan, parent, owner, archives, filesBelow } = placed;
  const archive = await readArchive(fd, options.spool(), context.signal);
  archives.push(archive);
  placeArchive(archive, {
    plan,
    destination: placing.destination.path,
    created: placing.created,
    owner,
    identity: `archive ${archives.length}`,
    fileBelow: (path) => openBelow(parent, path, filesBelow),
  });
}

/** A file of `parent` as an entry; what is opened for it is added to `opened`. */
export function openBelow(parent: Tree, path: ByteString, opened: number[]): Planned | undefined {
  const stat = parent.lstat(path);
  if (stat?.type !== 'file') return undefined;
  using directory = parent.directory(parentOf(path));
  const fd = directory.open(nameOf(path));
  opened.push(fd);
  const { mode, uid, gid, size } = stat;
  const capability = directory.xattr(nameOf(path), CAPABILITY);
  return {
    ...{ type: 'file', mode, uid, gid, size, mtime: secondsOf(stat.mtimeNs) },
    content: { kind: 'range', fd, offset: 0 },
    ...(capability === undefined ? {} : { capability }),
  };
}

async function placeWhole(placed: PlacingSources, index: number, placing: Placing): Promise<void> {
  const { options, context, owner } = placed;
  const input = context.inputs[index];
  if (input?.kind !== 'file')
    throw new TsbuildError('INSTRUCTION_UNSUPPORTED', 'this kind of source is not supported');
  const path = options.blobPath(input.blob);
  if (context.op.unpack === 'always') {
    const fd = openSync(path, 'r');
    try {
      if (await isArchive(fd)) {
        await addArchive(placed, fd, placing);
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
