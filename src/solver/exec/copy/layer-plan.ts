/**
 * What a COPY's layer will hold: entries by path, merged with what is in the parent already.
 *
 * Paths are canonical in the parent (symlinks of the destination were resolved before). Every change brings its
 * parent directories, with the attributes that they have in the parent, so that a layer stands for itself.
 */
import { compareBytes, toText, type ByteString } from '../../../base/byte-string.ts';
import { TsbuildError } from '../../../base/errors.ts';
import { LISTED_DIRECTORY, ListingCursor } from '../../../layer/listing.ts';
import type { EntryStat, EntryType, Tree } from '../../../layer/tree.ts';
import { requireNoWhiteout } from '../../../layer/whiteout.ts';
import { agreesWith } from './agreement.ts';
import { plannedOf, type Created, type Planned, type PlannedTree } from './planned.ts';
import { joinPath } from './selected.ts';

export interface LayerPlan {
  /** What is at a path once the plan is carried out. */
  typeAt(path: ByteString): EntryType | undefined;
  statAt(path: ByteString): Pick<EntryStat, 'type' | 'mode' | 'uid' | 'gid'> | undefined;
  linkAt(path: ByteString): ByteString | undefined;
  /** The entry of the plan itself. */
  plannedAt(path: ByteString): Planned | undefined;
  /** Adds or merges a directory. Throws COPY_DESTINATION_INVALID over something else. */
  putDirectory(path: ByteString, entry: Planned): void;
  /** Adds anything else, over whatever is there but a directory. */
  put(path: ByteString, entry: Planned): void;
  /** As `put`, also over a directory, which goes with all that is in it (archives). */
  replace(path: ByteString, entry: Planned): void;
  /** Adds everything below a selected directory to what is at its target, which is a directory already. */
  putTree(tree: PlannedTree): void;
  /** Makes the directories above (and with `self` at) a path; those that are missing look like `created`. */
  ensureDirectories(path: ByteString, created: Created, self: boolean): void;
  /** In the order of their stored names. Throws ARCHIVE_INVALID where one means a deletion. */
  sorted(): readonly (readonly [ByteString, Planned])[];
  /** The same, with trees that nothing else meets as a whole, in their order. */
  items(): readonly PlanItem[];
}

export type PlanItem =
  | { readonly kind: 'entry'; readonly path: ByteString; readonly planned: Planned }
  | { readonly kind: 'tree'; readonly tree: PlannedTree };

export function createLayerPlan(parent: Tree): LayerPlan {
  const entries = new Map<ByteString, Planned>();
  /** No path of `entries` is below the target of one, nor is another's target. */
  const trees = new Set<PlannedTree>();

  /** Trees that hold `path` are looked into entry by entry from now on. */
  function open(path: ByteString): void {
    for (const tree of [...trees]) if (isBelow(path, tree.target)) takeApart(tree);
  }

  /** The same for those that lie at or below it. */
  function openBelow(path: ByteString): void {
    for (const tree of [...trees]) if (tree.target === path || isBelow(tree.target, path)) takeApart(tree);
  }

  function takeApart(tree: PlannedTree): void {
    trees.delete(tree);
    const cursor = new ListingCursor(tree.gathered.listing);
    while (cursor.next()) {
      const path = joinPath(tree.target, cursor.pathText());
      ensureDirectories(path, tree.created, false);
      if (cursor.type === LISTED_DIRECTORY) putDirectory(path, plannedOf(tree, cursor));
      else put(path, plannedOf(tree, cursor));
    }
  }

  function putTree(tree: PlannedTree): void {
    open(tree.target);
    openBelow(tree.target);
    const isAlone = ![...entries.keys()].some((path) => isBelow(path, tree.target));
    if (isAlone && agreesWith(parent, tree)) trees.add(tree);
    else takeApart(tree);
  }

  function statAt(path: ByteString): Pick<EntryStat, 'type' | 'mode' | 'uid' | 'gid'> | undefined {
    open(path);
    const planned = entries.get(path);
    if (planned === undefined) return path === '' ? parent.stat('') : parent.lstat(path);
    return { ...planned, type: planned.type === 'hardlink' ? 'file' : planned.type };
  }

  const known = new Set<ByteString>();

  function ensureOne(path: ByteString, created: Created): void {
    if (path === '' || known.has(path)) return;
    open(path);
    const planned = entries.get(path);
    if (planned !== undefined) {
      if (planned.type !== 'directory') throw notDirectory(path);
      known.add(path);
      return;
    }
    const there = parent.lstat(path);
    if (there !== undefined && there.type !== 'directory') throw notDirectory(path);
    const { uid, gid, mode } = there ?? { ...created.owner, mode: created.mode };
    const mtime = there === undefined ? created.mtime : Number(there.mtimeNs / 1_000_000_000n);
    entries.set(path, { type: 'directory', mode, uid, gid, mtime });
    known.add(path);
  }

  function ensureDirectories(path: ByteString, created: Created, self: boolean): void {
    const slash = path.lastIndexOf('/');
    if (slash > 0 && !known.has(path.slice(0, slash))) ensureDirectories(path.slice(0, slash), created, true);
    if (self) ensureOne(path, created);
  }

  function replace(path: ByteString, entry: Planned): void {
    open(path);
    openBelow(path);
    if (entries.get(path)?.type === 'directory') {
      for (const other of [...entries.keys()]) if (other.startsWith(`${path}/`)) entries.delete(other);
      for (const other of [...known]) if (other === path || other.startsWith(`${path}/`)) known.delete(other);
    }
    entries.set(path, entry);
  }

  function putDirectory(path: ByteString, entry: Planned): void {
    const there = statAt(path);
    if (there !== undefined && there.type !== 'directory')
      throw new TsbuildError(
        'COPY_DESTINATION_INVALID',
        `cannot copy a directory to ${show(path)}: there is a ${typeText(there.type)}`,
        { hint: INSTEAD },
      );
    if (path !== '') entries.set(path, entry);
  }

  function put(path: ByteString, entry: Planned): void {
    if (statAt(path)?.type === 'directory')
      throw new TsbuildError(
        'COPY_DESTINATION_INVALID',
        `cannot replace the directory ${show(path)} with a file`,
        { hint: INSTEAD },
      );
    entries.set(path, entry);
  }

  function refuseWhiteouts(): void {
    for (const path of entries.keys()) requireNoWhiteout(path);
    for (const { target, gathered } of trees) {
      // why: names of fifty thousand entries are looked into where one of them can be meant.
      if (!gathered.listing.segments.some((segment) => segment.includes('.wh.'))) continue;
      const cursor = new ListingCursor(gathered.listing);
      while (cursor.next()) requireNoWhiteout(joinPath(target, cursor.pathText()));
    }
  }

  function items(): readonly PlanItem[] {
    refuseWhiteouts();
    const keyed: (readonly [ByteString, PlanItem])[] = [];
    for (const [path, planned] of entries)
      keyed.push([planned.type === 'directory' ? `${path}/` : path, { kind: 'entry', path, planned }]);
    // A tree comes right after its own directory, which has the same key and stands before it here.
    for (const tree of trees)
      keyed.push([tree.target === '' ? '' : `${tree.target}/`, { kind: 'tree', tree }]);
    return keyed.sort(([a], [b]) => compareBytes(a, b)).map(([, item]) => item);
  }

  return {
    statAt,
    plannedAt(path) {
      open(path);
      return entries.get(path);
    },
    typeAt: (path) => statAt(path)?.type,
    linkAt(path) {
      open(path);
      return (
        entries.get(path)?.link ??
        (parent.lstat(path)?.type === 'symlink' ? parent.readlink(path) : undefined)
      );
    },
    putDirectory,
    put,
    replace,
    putTree,
    ensureDirectories,
    items,
    sorted() {
      for (const tree of [...trees]) takeApart(tree);
      return items().flatMap((item) => (item.kind === 'entry' ? [[item.path, item.planned] as const] : []));
    },
  };
}

function isBelow(path: ByteString, directory: ByteString): boolean {
  return directory === '' ? path !== '' : path.startsWith(`${directory}/`);
}

const INSTEAD = 'choose another path, or remove what is there with RUN rm before';

function typeText(type: EntryType): string {
  return type === 'symlink' ? 'symbolic link' : type;
}

function show(path: ByteString): string {
  return JSON.stringify(`/${toText(path)}`);
}

function notDirectory(path: ByteString): TsbuildError {
  return new TsbuildError('COPY_DESTINATION_INVALID', `${show(path)} is not a directory in the image`, {
    hint: INSTEAD,
  });
}
