/**
 * What differs between two listings of what a COPY selected, for people: what came, went, changed or moved. Names are
 * compared as bytes, of which those that are no UTF-8 look alike to people.
 */
import { toText, type ByteString } from '../../base/byte-string.ts';
import type { FileChange } from '../../progress/cause.ts';
import type { ListedEntry } from '../listing.ts';
import { findMoves } from './file-moves.ts';
import type { Entries } from './listing-difference.ts';

export interface CompareFilesOptions {
  /** --chmod changed: modes differ in every entry. */
  readonly withoutModes: boolean;
  /** --chown changed: owners differ in every entry. */
  readonly withoutOwners: boolean;
  /** So many changes are told in full. */
  readonly most: number;
}

export interface FileChanges {
  /** The first of them, all that are told of a file or none: what is in both, in the order of the new listing, then what moved, came and went. */
  readonly changes: readonly FileChange[];
  /** Files and directories that differ; a directory that came, went or moved with all that is in it is one. */
  readonly changed: number;
  /** What of that is beside the files that there are now: files that are gone, and directories without files. */
  readonly beside: number;
}

export interface FileComparison {
  /** Takes one that is in both. */
  entry(path: ByteString, before: ListedEntry, after: ListedEntry): void;
  /** Takes what went and came, at last. */
  finish(gone: Entries, come: Entries): FileChanges;
}

/** `onChanged` is told of how many differ so far. */
export function compareFiles(
  options: CompareFilesOptions,
  onChanged: (changed: number) => void = () => undefined,
): FileComparison {
  const changes: FileChange[] = [];
  /** Directories that were something else before or are now: what lay or lies in them goes without saying. */
  const retyped = new Set<ByteString>();
  let [changed, beside, isFull] = [0, 0, false];

  function add(...told: readonly FileChange[]): void {
    changed += 1;
    isFull ||= changes.length + told.length > options.most;
    if (!isFull) changes.push(...told);
    onChanged(changed);
  }

  function entry(path: ByteString, before: ListedEntry, after: ListedEntry): void {
    const told = compareEntry(path, before, after, options);
    if (told.length === 0) return;
    if (before.type !== after.type) retyped.add(path);
    if (after.type === 'directory') beside += 1;
    add(...told);
  }

  return {
    entry,
    finish(gone, come) {
      const { moves, along, moved } = findMoves(gone, come);
      for (const { from, to } of along) {
        const [before, after] = [gone.get(from), come.get(to)];
        if (before !== undefined && after !== undefined) entry(to, before, after);
      }
      for (const { from, to } of moves) add({ change: 'renamed', path: toText(to), from: toText(from) });
      for (const [change, entries] of [
        ['added', come],
        ['removed', gone],
      ] as const) {
        const { topmost, files, directories } = collapse(entries, moved, retyped);
        for (const path of topmost) add({ change, path: toText(path) });
        beside += directories + (change === 'removed' ? files : 0);
      }
      return { changes, changed, beside };
    },
  };
}

function compareEntry(
  bytes: ByteString,
  before: ListedEntry,
  after: ListedEntry,
  { withoutModes, withoutOwners }: CompareFilesOptions,
): readonly FileChange[] {
  const path = toText(bytes);
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

interface Collapsed {
  /** Without what lies in a directory that came or went itself; directories end with a slash. */
  readonly topmost: readonly ByteString[];
  /** All files, in directories as well. */
  readonly files: number;
  /** Topmost directories without any file. */
  readonly directories: number;
}

function collapse(
  entries: Entries,
  moved: ReadonlySet<ByteString>,
  retyped: ReadonlySet<ByteString>,
): Collapsed {
  const isLeft = (path: ByteString): boolean => entries.get(path)?.type === 'directory' && !moved.has(path);
  /** By the directory, its topmost one; `''`: none of those that it lies in came or went. */
  const known = new Map<ByteString, ByteString>();
  const topOf = (directory: ByteString): ByteString => {
    const found = known.get(directory);
    if (found !== undefined || directory === '') return found ?? '';
    const above = topOf(parentOf(directory));
    const top = above !== '' || !(isLeft(directory) || retyped.has(directory)) ? above : directory;
    known.set(directory, top);
    return top;
  };
  const topmost: ByteString[] = [];
  const withFiles = new Set<ByteString>();
  let [files, directories] = [0, 0];
  for (const [path, { type }] of entries) {
    if (moved.has(path)) continue;
    const top = topOf(parentOf(path));
    if (type !== 'directory') {
      files += 1;
      withFiles.add(top);
    }
    if (top === '') topmost.push(type === 'directory' ? `${path}/` : path);
  }
  for (const path of topmost) if (path.endsWith('/') && !withFiles.has(path.slice(0, -1))) directories += 1;
  return { topmost, files, directories };
}

function parentOf(path: ByteString): ByteString {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}
