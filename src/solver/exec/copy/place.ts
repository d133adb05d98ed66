/**
 * Placing what was selected into a layer plan: the rules of COPY and ADD for destinations, owners and modes
 * (Dockerfile reference, "COPY"; corner cases as BuildKit has them).
 */
import { toByteString, toText, type ByteString } from '../../../base/byte-string.ts';
import { TsbuildError } from '../../../base/errors.ts';
import type { CopyOp } from '../../../graph/ops.ts';
import { createIgnoreMatcher, type IgnoreMatcher } from '../../../layer/ignore-patterns.ts';
import type { Directory, EntryStat, Tree } from '../../../layer/tree.ts';
import type { Ownership } from '../../../oci/user.ts';
import { parseChmod, type Chmod } from './chmod.ts';
import { CAPABILITY } from './digest.ts';
import { changed, type Created, type LayerPlan, type Planned } from './layer-plan.ts';
import { joinPath, type Selected } from './selected.ts';
import { walkSelected } from './walk.ts';

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
  readonly ignore?: IgnoreMatcher;
  /** Whether a file is as it was when the key was made. */
  readonly isAsKeyed?: (stat: EntryStat) => boolean;
}

interface Destination {
  readonly path: ByteString;
  /** What is copied goes into it, under its own name. */
  readonly isDirectory: boolean;
}

export interface Placing {
  placeSelected(source: SourceTree, selected: Selected): void;
  /** A file with a name of its own (heredoc, fetched file). */
  placeNamed(name: string, entry: Planned): void;
  readonly destination: Destination;
  readonly created: Created;
  readonly chmod: Chmod;
}

export function createPlacing(context: PlaceContext): Placing {
  const { op, plan, owner } = context;
  const chmod = parseChmod(op.chmod);
  const exclude = op.excludes.length === 0 ? undefined : createIgnoreMatcher(op.excludes);
  const root = { uid: 0, gid: 0 };
  const created: Created = {
    owner: owner ?? root,
    mode: chmod.created ?? 0o755,
    mtime: context.defaultMtime,
  };
  const destination = resolveDestination(context);

  function planned(
    stat: EntryStat,
    source: SourceTree,
    directory: Directory,
    directoryPath: ByteString,
    name: ByteString,
    argument: number,
  ): Planned {
    const { uid, gid } = owner ?? (source.isContext ? root : stat);
    const common = { uid, gid, mode: chmod.apply(stat.mode, stat.type), mtime: secondsOf(stat.mtimeNs) };
    switch (stat.type) {
      case 'directory':
      case 'fifo':
        return { ...common, type: stat.type };
      case 'char':
      case 'block':
        return { ...common, type: stat.type, major: stat.major, minor: stat.minor };
      case 'symlink':
        return { ...common, type: 'symlink', link: directory.readlink(name) };
      case 'socket':
        // An image cannot hold a socket; docker leaves an empty file in its place.
        return { ...common, type: 'file', mode: 0o755, size: 0 };
      case 'file': {
        if (source.isAsKeyed?.(stat) === false) throw changed(name);
        const capability = source.isContext ? undefined : directory.xattr(name, CAPABILITY);
        return {
          ...common,
          type: 'file',
          size: stat.size,
          content: { kind: 'tree', tree: source.tree, directory: directoryPath, name, ctimeNs: stat.ctimeNs },
          ...(stat.nlink > 1 ? { inode: `${argument}:${stat.dev}:${stat.ino}` } : {}),
          ...(capability === undefined ? {} : { capability }),
        };
      }
    }
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

  function placeDirectory(source: SourceTree, selected: Selected, target: ByteString): void {
    const mtime = secondsOf(selected.stat.mtimeNs);
    const there = plan.statAt(target);
    plan.ensureDirectories(target, created, false);
    // A new directory is plain, an existing one stays as it is; both take the time of what was copied into them.
    const mode = op.parents ? chmod.apply(selected.stat.mode, 'directory') : created.mode;
    const { uid, gid } = there ?? created.owner;
    plan.putDirectory(target, { type: 'directory', mode: there?.mode ?? mode, uid, gid, mtime });
    walkSelected(
      source.tree,
      selected,
      {
        ...(source.ignore === undefined ? {} : { ignore: source.ignore }),
        ...(exclude === undefined ? {} : { exclude }),
      },
      (relative, stat, directory, name) => {
        const path = joinPath(target, relative);
        const slash = relative.lastIndexOf('/');
        const holder = slash < 0 ? selected.path : joinPath(selected.path, relative.slice(0, slash));
        const entry = planned(stat, source, directory, holder, name, selected.argument);
        plan.ensureDirectories(path, created, false);
        if (stat.type === 'directory') plan.putDirectory(path, entry);
        else plan.put(path, entry);
      },
    );
  }

  return {
    destination,
    created,
    chmod,
    placeSelected(source, selected) {
      const target = targetOf(selected);
      if (op.parents) mirrorParents(source, selected);
      if (selected.stat.type === 'directory') {
        placeDirectory(source, selected, target);
        return;
      }
      const slash = selected.path.lastIndexOf('/');
      const holder = selected.path.slice(0, Math.max(0, slash));
      using directory = source.tree.directory(holder);
      const entry = planned(
        selected.stat,
        source,
        directory,
        holder,
        selected.path.slice(slash + 1),
        selected.argument,
      );
      plan.ensureDirectories(target, created, false);
      plan.put(target, entry);
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
