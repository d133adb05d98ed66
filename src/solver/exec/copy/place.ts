/**
 * Placing what was selected into a layer plan: the rules of COPY and ADD for destinations, owners and modes
 * (Dockerfile reference, "COPY"; corner cases as BuildKit has them).
 */
import { toByteString, toText, type ByteString } from '../../../base/byte-string.ts';
import { TsbuildError } from '../../../base/errors.ts';
import type { CopyOp } from '../../../graph/ops.ts';
import { ListingCursor } from '../../../layer/listing.ts';
import type { EntryType, Tree } from '../../../layer/tree.ts';
import type { Ownership } from '../../../oci/user.ts';
import { parseChmod, type Chmod } from './chmod.ts';
import type { Gathered } from './gathered.ts';
import type { LayerPlan } from './layer-plan.ts';
import { plannedOf, type Created, type Planned, type PlannedTree } from './planned.ts';
import { joinPath, type Selected } from './selected.ts';

export interface PlaceContext {
  readonly op: CopyOp;
  readonly plan: LayerPlan;
  readonly parent: Tree;
  /** --chown, resolved in the parent. */
  readonly owner: Ownership | undefined;
  /** mtime of directories that nothing gives a time, in seconds. */
  readonly defaultMtime: number;
}

export interface SourceTree {
  readonly tree: Tree;
  readonly isContext: boolean;
}

interface Destination {
  readonly path: ByteString;
  /** What is copied goes into it, under its own name. */
  readonly isDirectory: boolean;
}

export interface Placing {
  placeGathered(source: SourceTree, gathered: Gathered): void;
  /** A file with a name of its own (heredoc, fetched file). */
  placeNamed(name: string, entry: Planned): void;
  readonly destination: Destination;
  readonly created: Created;
  readonly chmod: Chmod;
}

export function createPlacing(context: PlaceContext): Placing {
  const { op, plan, owner } = context;
  const chmod = parseChmod(op.chmod);
  const root = { uid: 0, gid: 0 };
  const created: Created = {
    owner: owner ?? root,
    mode: chmod.created ?? 0o755,
    mtime: context.defaultMtime,
  };
  const destination = resolveDestination(context);

  /** The same few modes come again and again. */
  const modes = new Map<string, number>();
  function modeOf(mode: number, type: EntryType): number {
    const key = `${mode} ${type}`;
    let changed = modes.get(key);
    if (changed === undefined) modes.set(key, (changed = chmod.apply(mode, type)));
    return changed;
  }

  function treeOf(source: SourceTree, gathered: Gathered, target: ByteString): PlannedTree {
    const given = owner ?? (source.isContext ? root : undefined);
    return { target, source: source.tree, gathered, owner: given, modeOf, modes: chmod.modes, created };
  }

  function targetOf(selected: Selected): ByteString {
    if (op.parents) {
      const kept = selected.pivot === '' ? selected.asked : selected.asked.slice(selected.pivot.length + 1);
      return joinPath(destination.path, kept);
    }
    if (selected.stat.type === 'directory') return destination.path;
    const name = selected.asked.slice(selected.asked.lastIndexOf('/') + 1);
    return intoDirectory(name);
  }

  function intoDirectory(name: ByteString): ByteString {
    const inside = destination.isDirectory || plan.typeAt(destination.path) === 'directory';
    return inside ? joinPath(destination.path, name) : destination.path;
  }

  /** --parents: directories on the way look like the source's, but for their owner. */
  function mirrorParents(source: SourceTree, selected: Selected): void {
    const cut = selected.pivot === '' ? 0 : selected.pivot.length + 1;
    plan.ensureDirectories(destination.path, created, true);
    for (
      let slash = selected.asked.indexOf('/', cut);
      slash >= 0;
      slash = selected.asked.indexOf('/', slash + 1)
    ) {
      const target = joinPath(destination.path, selected.asked.slice(cut, slash));
      if (plan.typeAt(target) !== undefined) continue;
      const mode = source.tree.stat(selected.asked.slice(0, slash))?.mode ?? 0o755;
      plan.ensureDirectories(target, { ...created, mode: chmod.created ?? mode }, true);
    }
  }

  function placeDirectory(source: SourceTree, gathered: Gathered, target: ByteString): void {
    const { stat } = gathered.selected;
    const mtime = secondsOf(stat.mtimeNs);
    const there = plan.statAt(target);
    plan.ensureDirectories(target, created, false);
    // A new directory is plain, an existing one stays as it is; both take the time of what was copied into them.
    const mode = op.parents ? chmod.apply(stat.mode, 'directory') : created.mode;
    const { uid, gid } = there ?? created.owner;
    plan.putDirectory(target, { type: 'directory', mode: there?.mode ?? mode, uid, gid, mtime });
    plan.putTree(treeOf(source, gathered, target));
  }

  return {
    destination,
    created,
    chmod,
    placeGathered(source, gathered) {
      const { selected } = gathered;
      const target = targetOf(selected);
      if (op.parents) mirrorParents(source, selected);
      if (selected.stat.type === 'directory') {
        placeDirectory(source, gathered, target);
        return;
      }
      const cursor = new ListingCursor(gathered.listing);
      if (!cursor.next()) return;
      plan.ensureDirectories(target, created, false);
      plan.put(target, plannedOf(treeOf(source, gathered, target), cursor));
    },
    placeNamed(name, entry) {
      const target = intoDirectory(toByteString(name));
      plan.ensureDirectories(target, created, false);
      plan.put(target, entry);
    },
  };
}

function resolveDestination({ op, parent }: PlaceContext): Destination {
  const written = op.destination;
  let path: ByteString;
  try {
    path = parent.resolve(toByteString(written));
  } catch (error) {
    throw new TsbuildError(
      'COPY_DESTINATION_INVALID',
      `cannot resolve the destination ${JSON.stringify(written)} in the image`,
      { cause: error, word: written, hint: 'look at the symbolic links on the way to it' },
    );
  }
  const there = path === '' ? 'directory' : parent.lstat(path)?.type;
  if (written.endsWith('/') && there !== undefined && there !== 'directory')
    throw new TsbuildError(
      'COPY_DESTINATION_INVALID',
      `${JSON.stringify(`/${toText(path)}`)} is not a directory in the image`,
      { word: written, hint: 'leave the / at the end out, or choose another destination' },
    );
  return { path, isDirectory: written.endsWith('/') || there === 'directory' };
}

export function secondsOf(ns: bigint): number {
  const seconds = ns / 1_000_000_000n;
  return Number(ns < 0n && ns % 1_000_000_000n !== 0n ? seconds - 1n : seconds);
}
