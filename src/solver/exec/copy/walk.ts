/** Walking what was selected: every entry once, with ignore patterns and --exclude applied. */
import { toText, type ByteString } from '../../../base/byte-string.ts';
import type { IgnoreMatcher } from '../../../layer/ignore-patterns.ts';
import type { Directory, EntryStat, Tree } from '../../../layer/tree.ts';
import { joinPath, type Selected } from './selected.ts';

export interface WalkOptions {
  /** Of the build context; matched against paths from the context's root. */
  readonly ignore?: IgnoreMatcher;
  /** Of --exclude; matched against paths from each copied directory. */
  readonly exclude?: IgnoreMatcher;
}

/** One entry below a selected directory. `directory` is open while the visitor runs. */
export type Visitor = (relative: ByteString, stat: EntryStat, directory: Directory, name: ByteString) => void;

/**
 * Visits everything in a selected directory, parents first, siblings by name. A directory that is left out is
 * still visited when something below it is not.
 */
export function walkSelected(tree: Tree, selected: Selected, options: WalkOptions, visit: Visitor): void {
  using directory = tree.directory(selected.path);
  walk(directory, '', selected.asked, options, visit, []);
}

interface Held {
  readonly relative: ByteString;
  readonly stat: EntryStat;
  readonly directory: Directory;
  readonly name: ByteString;
}

function walk(
  directory: Directory,
  relative: ByteString,
  asked: ByteString,
  options: WalkOptions,
  visit: Visitor,
  held: Held[],
): void {
  for (const name of directory.names()) {
    const stat = directory.lstat(name);
    const path = joinPath(relative, name);
    const contextPath = joinPath(asked, name);
    const isOut = isExcluded(options, contextPath, path);
    if (stat.type !== 'directory') {
      if (isOut) continue;
      release(held, visit);
      visit(path, stat, directory, name);
      continue;
    }
    if (isOut && !mayReinclude(options, contextPath, path)) continue;
    held.push({ relative: path, stat, directory, name });
    if (!isOut) release(held, visit);
    {
      using child = directory.directory(name);
      walk(child, path, contextPath, options, visit, held);
    }
    // Left out, and nothing below it was taken back.
    if (held.at(-1)?.relative === path) held.pop();
  }
}

function release(held: Held[], visit: Visitor): void {
  for (const { relative, stat, directory, name } of held.splice(0)) visit(relative, stat, directory, name);
}

function isExcluded({ ignore, exclude }: WalkOptions, contextPath: ByteString, path: ByteString): boolean {
  return ignore?.excludes(toText(contextPath)) === true || exclude?.excludes(toText(path)) === true;
}

function mayReinclude({ ignore, exclude }: WalkOptions, contextPath: ByteString, path: ByteString): boolean {
  const text = toText(contextPath);
  if (ignore?.excludes(text) === true && !ignore.mayReincludeBelow(text)) return false;
  const below = toText(path);
  return exclude?.excludes(below) !== true || exclude.mayReincludeBelow(below);
}
