/** Which of the files that went are those that came, elsewhere. */
import type { ByteString } from '../../base/byte-string.ts';
import type { ListedEntry } from '../listing.ts';
import { MANY, type Entries } from './listing-difference.ts';

export interface Move {
  readonly from: ByteString;
  readonly to: ByteString;
}

export interface Moves {
  /** A directory that moved with what is in it is one, whose paths end with a slash. */
  readonly moves: readonly Move[];
  /** What lies in directories that moved: there before and after, and not always as it was. */
  readonly along: readonly Move[];
  /** All paths that the moves account for. */
  readonly moved: ReadonlySet<ByteString>;
}

export function findMoves(gone: Entries, come: Entries): Moves {
  if (gone.size === 0 || come.size === 0 || gone.size > MANY || come.size > MANY)
    return { moves: [], along: [], moved: new Set() };
  return wholeMoves(sameFiles(gone, come), gone, come);
}

/** What went and came with the same content; those of the same name, else the first of them. */
function sameFiles(gone: Entries, come: Entries): readonly Move[] {
  const found = new Map<ByteString, ByteString>();
  const taken = new Set<ByteString>();
  const match = (keyOf: (path: ByteString, identity: string) => string): void => {
    const left = new Map<string, ByteString[]>();
    for (const [path, entry] of [...gone].reverse()) {
      const identity = taken.has(path) ? undefined : identityOf(entry);
      if (identity === undefined) continue;
      const key = keyOf(path, identity);
      const paths = left.get(key);
      if (paths === undefined) left.set(key, [path]);
      else paths.push(path);
    }
    for (const [to, entry] of come) {
      const identity = found.has(to) ? undefined : identityOf(entry);
      const from = identity === undefined ? undefined : left.get(keyOf(to, identity))?.pop();
      if (from === undefined) continue;
      taken.add(from);
      found.set(to, from);
    }
  };
  match((path, identity) => `${nameOf(path)}\0${identity}`);
  match((_, identity) => identity);
  return [...come.keys()].flatMap((to) => {
    const from = found.get(to);
    return from === undefined ? [] : [{ from, to }];
  });
}

/** Directories and what has no content are all alike: that one went and another came says nothing. */
function identityOf({ type, mode, owner, content }: ListedEntry): string | undefined {
  return type === 'directory' || content === '' ? undefined : `${type} ${mode} ${owner} ${content}`;
}

/** Files that went from one directory to another are one move where the directory itself went. */
function wholeMoves(files: readonly Move[], gone: Entries, come: Entries): Moves {
  const movedDirectory = directoryMoves(gone, come);
  const groups = new Map<string, Move>();
  /** By the directory that went, where it went to. */
  const targets = new Map<ByteString, ByteString[]>();
  const moved = new Set<ByteString>();
  for (const move of files) {
    for (const path of [move.from, move.to]) moved.add(path);
    const whole = movedDirectory(move);
    if (whole === undefined) {
      groups.set(`${move.from}\0${move.to}`, move);
      continue;
    }
    const { from, to } = whole;
    const key = `${from}/\0${to}/`;
    if (groups.has(key)) continue;
    groups.set(key, { from: `${from}/`, to: `${to}/` });
    targets.set(from, [...(targets.get(from) ?? []), to]);
  }
  const along: Move[] = [];
  const movesAbove = movesOf(targets);
  for (const path of targets.size === 0 ? [] : gone.keys())
    for (const { from, to } of movesAbove(path)) {
      const counterpart = `${to}${path.slice(from.length)}`;
      if (!come.has(counterpart)) continue;
      if (!moved.has(path) && !moved.has(counterpart)) along.push({ from: path, to: counterpart });
      for (const each of [path, counterpart]) moved.add(each);
    }
  return { moves: [...groups.values()], along, moved };
}

/** `a/x/f` became `b/x/f`: that is `a` to `b` where the one is gone and the other new. */
function directoryMoves(gone: Entries, come: Entries): (move: Move) => Move | undefined {
  const known = new Map<string, Move | undefined>();
  const find = (left: ByteString, right: ByteString): Move | undefined => {
    if (nameOf(left) !== nameOf(right)) return undefined;
    const [from, to] = [parentOf(left), parentOf(right)];
    if (from === '' || to === '') return undefined;
    const key = `${from}\0${to}`;
    if (!known.has(key))
      known.set(key, find(from, to) ?? (gone.has(from) && come.has(to) ? { from, to } : undefined));
    return known.get(key);
  };
  return ({ from, to }) => find(from, to);
}

/** Those of the directories that a path is or lies in. */
function movesOf(
  targets: ReadonlyMap<ByteString, readonly ByteString[]>,
): (path: ByteString) => readonly Move[] {
  const known = new Map<ByteString, readonly Move[]>();
  const find = (path: ByteString): readonly Move[] => {
    if (path === '') return [];
    const own = (targets.get(path) ?? []).map((to) => ({ from: path, to }));
    const above = movesAbove(parentOf(path));
    return own.length === 0 ? above : [...above, ...own];
  };
  const movesAbove = (directory: ByteString): readonly Move[] => {
    const found = known.get(directory) ?? find(directory);
    known.set(directory, found);
    return found;
  };
  return find;
}

function parentOf(path: ByteString): ByteString {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

function nameOf(path: ByteString): ByteString {
  return path.slice(path.lastIndexOf('/') + 1);
}
