/**
 * Two listings of what a COPY selected, entry by entry: which came, went, changed or moved. Names are compared as bytes, of
 * which those that are no UTF-8 look alike to people.
 */
import { toText, type ByteString } from '../../base/byte-string.ts';
import type { FileChange } from '../../progress/cause.ts';
import type { ListedEntry } from '../listing.ts';

type Entries = ReadonlyMap<ByteString, ListedEntry>;

export interface CompareFilesOptions {
  /** --chmod changed: modes differ in every entry. */
  readonly withoutModes: boolean;
  /** --chown changed: owners differ in every entry. */
  readonly withoutOwners: boolean;
}

/** Everything that differs, in the order of the new listing, then what is gone. A directory counts as one. */
export function compareFiles(
  before: Entries,
  after: Entries,
  options: CompareFilesOptions,
): readonly FileChange[] {
  return changesOf(before, after, options).map(({ path, ...change }) => ({
    ...change,
    path: toText(path),
    ...(change.from === undefined ? {} : { from: toText(change.from) }),
  }));
}

/** With byte strings for paths. */
function changesOf(before: Entries, after: Entries, options: CompareFilesOptions): readonly FileChange[] {
  const changed: FileChange[] = [];
  const added: string[] = [];
  for (const [path, entry] of after) {
    const old = before.get(path);
    if (old === undefined) added.push(path);
    else changed.push(...compareEntry(path, old, entry, options));
  }
  const removed = [...before.keys()].filter((path) => !after.has(path));
  const moves = wholeMoves(findMoves(before, after, removed, added), removed, added);
  for (const { from, to } of moves.along) {
    const [old, now] = [before.get(from), after.get(to)];
    if (old !== undefined && now !== undefined) changed.push(...compareEntry(to, old, now, options));
  }
  const isMoved = moves.isMoved;
  const retyped = new Set(changed.flatMap(({ change, path }) => (change === 'type' ? [path] : [])));
  const left = (paths: readonly string[]): readonly string[] =>
    paths.filter((path) => !isMoved(path) && !retyped.has(parentOf(path)));
  return [
    ...changed,
    ...moves.moves.map(({ from, to }) => ({ change: 'renamed' as const, path: to, from })),
    ...collapse(left(added), after).map((path) => ({ change: 'added' as const, path })),
    ...collapse(left(removed), before).map((path) => ({ change: 'removed' as const, path })),
  ];
}

function compareEntry(
  path: string,
  before: ListedEntry,
  after: ListedEntry,
  { withoutModes, withoutOwners }: CompareFilesOptions,
): readonly FileChange[] {
  if (before.type !== after.type) return [{ change: 'type', path, before: before.type, after: after.type }];
  const changes: FileChange[] = [];
  if (before.content !== after.content) changes.push(contentChange(path, before, after));
  if (before.mode !== after.mode && !withoutModes)
    changes.push({ change: 'mode', path, before: before.mode, after: after.mode });
  if (before.owner !== after.owner && !withoutOwners)
    changes.push({ change: 'owner', path, before: before.owner, after: after.owner });
  return changes;
}

function contentChange(path: string, before: ListedEntry, after: ListedEntry): FileChange {
  if (after.type === 'symlink')
    return { change: 'target', path, before: toText(before.content), after: toText(after.content) };
  const [digest] = before.content.split(' ');
  return { change: after.content.split(' ')[0] === digest ? 'capability' : 'content', path };
}

interface Move {
  readonly from: string;
  readonly to: string;
}

/** What went and came with the same content; among equals those of the same name, then the first. */
function findMoves(
  before: Entries,
  after: Entries,
  removed: readonly string[],
  added: readonly string[],
): readonly Move[] {
  const gone = new Map<string, string[]>();
  for (const path of removed) {
    const identity = identityOf(before.get(path));
    if (identity !== undefined) gone.set(identity, [...(gone.get(identity) ?? []), path]);
  }
  return added.flatMap((to) => {
    const candidates = gone.get(identityOf(after.get(to)) ?? '') ?? [];
    const named = candidates.findIndex((path) => nameOf(path) === nameOf(to));
    const [from] = candidates.splice(Math.max(0, named), 1);
    return from === undefined ? [] : [{ from, to }];
  });
}

/** Directories and what has no content are all alike: that one went and another came says nothing. */
function identityOf(entry: ListedEntry | undefined): string | undefined {
  if (entry === undefined || entry.type === 'directory' || entry.content === '') return undefined;
  return `${entry.type} ${entry.mode} ${entry.owner} ${entry.content}`;
}

interface WholeMoves {
  readonly moves: readonly Move[];
  /** What lies in directories that went: there before and after, and not always as it was. */
  readonly along: readonly Move[];
  readonly isMoved: (path: string) => boolean;
}

/** Files that went from one directory to another are one move where the directory itself went. */
function wholeMoves(
  moves: readonly Move[],
  removed: readonly string[],
  added: readonly string[],
): WholeMoves {
  const [gone, come] = [new Set(removed), new Set(added)];
  const groups = new Map<string, Move>();
  const moved = new Set<string>();
  const along: Move[] = [];
  for (const move of moves) {
    const { from, to } = movedDirectory(move, gone, come) ?? move;
    for (const path of [move.from, move.to]) moved.add(path);
    if (from === move.from) groups.set(`${from}\0${to}`, move);
    else groups.set(`${from}/\0${to}/`, { from: `${from}/`, to: `${to}/` });
  }
  for (const { from, to } of groups.values())
    for (const path of from.endsWith('/') ? removed : [])
      if (`${path}/`.startsWith(from)) {
        const counterpart = `${to}${path.slice(from.length)}`.replace(/\/$/, '');
        if (!come.has(counterpart)) continue;
        if (!moved.has(path) && !moved.has(counterpart)) along.push({ from: path, to: counterpart });
        for (const each of [path, counterpart]) moved.add(each);
      }
  return { moves: [...groups.values()], along, isMoved: (path) => moved.has(path) };
}

/** `a/x/f` became `b/x/f`: that is `a` to `b` where the one is gone and the other new. */
function movedDirectory(
  { from, to }: Move,
  gone: ReadonlySet<string>,
  come: ReadonlySet<string>,
): Move | undefined {
  let found: Move | undefined;
  let [left, right] = [from, to];
  while (nameOf(left) === nameOf(right)) {
    [left, right] = [parentOf(left), parentOf(right)];
    if (left === '' || right === '') break;
    if (gone.has(left) && come.has(right)) found = { from: left, to: right };
  }
  return found;
}

/** Without what lies in a directory that is in the list itself. */
function collapse(paths: readonly string[], entries: Entries): readonly string[] {
  const all = new Set(paths);
  return paths
    .filter((path) => !isBelowAny(path, all))
    .map((path) => (entries.get(path)?.type === 'directory' ? `${path}/` : path));
}

function isBelowAny(path: string, all: ReadonlySet<string>): boolean {
  for (let at = parentOf(path); at !== ''; at = parentOf(at)) if (all.has(at)) return true;
  return false;
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
