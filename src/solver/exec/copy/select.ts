/**
 * Which files a COPY or ADD names: patterns against a tree (build context, stage or image).
 *
 * A source is cleaned against the root, so `../../f` is `f`. A source that is a symlink is followed inside the
 * root; symlinks within a copied directory are not. Wildcards are Go's filepath.Match and match dot names too.
 */
import { toByteString, toText, type ByteString } from '../../../base/byte-string.ts';
import { isTsbuildError, TsbuildError } from '../../../base/errors.ts';
import { suggest } from '../../../base/suggest.ts';
import { compileSourcePattern, hasWildcard, type IgnoreMatcher } from '../../../layer/ignore-patterns.ts';
import type { EntryStat, Tree } from '../../../layer/tree.ts';
import { joinPath, type Selected } from './selected.ts';
import { walkSelected } from './walk.ts';

export interface SelectOptions {
  readonly ignore?: IgnoreMatcher;
  readonly parents: boolean;
  /** For messages: `the build context`, `stage build`. */
  readonly where: string;
}

/** How many names a hint lists. */
const MAX_NAMES = 8;

/** Throws COPY_SOURCE_NOT_FOUND for a literal path that is not there. No match of a wildcard is no error. */
export function selectSources(
  tree: Tree,
  patterns: readonly string[],
  options: SelectOptions,
): readonly Selected[] {
  return patterns.flatMap((pattern, argument) => selectOne(tree, pattern, argument, options));
}

function selectOne(
  tree: Tree,
  written: string,
  argument: number,
  options: SelectOptions,
): readonly Selected[] {
  const { pivot, pattern } = splitPivot(written, options.parents);
  const parts = cleanParts(pattern);
  if (!parts.some((part) => hasWildcard(part))) {
    const asked = toByteString(parts.join('/'));
    const found = select(tree, asked, argument, pivot, options);
    if (found === undefined) throw notFound(tree, written, asked, options);
    return [found];
  }
  const matched: ByteString[] = [];
  if (options.parents) deepMatch(tree, parts, options, matched);
  else expandParts(tree, '', parts, options, matched);
  return matched.map((asked) => {
    const found = select(tree, asked, argument, pivot, options);
    if (found === undefined) throw notFound(tree, written, asked, options);
    return found;
  });
}

function splitPivot(
  written: string,
  parents: boolean,
): { readonly pivot: ByteString; readonly pattern: string } {
  const at = parents ? written.indexOf('/./') : -1;
  if (at < 0) return { pivot: '', pattern: written };
  return { pivot: toByteString(cleanParts(written.slice(0, at)).join('/')), pattern: written };
}

/** Components after cleaning against the root: `..` cannot climb above it. */
export function cleanParts(path: string): readonly string[] {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return parts;
}

function select(
  tree: Tree,
  asked: ByteString,
  argument: number,
  pivot: ByteString,
  { ignore }: SelectOptions,
): Selected | undefined {
  const path = resolveIfPossible(tree, asked);
  const stat = path === undefined ? undefined : tree.lstat(path);
  if (stat === undefined || path === undefined) return undefined;
  const selected = { path, asked, stat, argument, pivot };
  if (ignore === undefined || asked === '' || !ignore.excludes(toText(asked))) return selected;
  // Left out, unless a `!` pattern takes something below it back, and that is there.
  return stat.type === 'directory' &&
    ignore.mayReincludeBelow(toText(asked)) &&
    holdsAny(tree, selected, ignore)
    ? selected
    : undefined;
}

function holdsAny(tree: Tree, selected: Selected, ignore: IgnoreMatcher): boolean {
  let found = false;
  walkSelected(tree, selected, { ignore }, () => {
    found = true;
  });
  return found;
}

function isIgnored(ignore: IgnoreMatcher, path: ByteString, stat: EntryStat): boolean {
  const text = toText(path);
  return ignore.excludes(text) && !(stat.type === 'directory' && ignore.mayReincludeBelow(text));
}

function resolveIfPossible(tree: Tree, path: ByteString): ByteString | undefined {
  try {
    return tree.resolve(path);
  } catch (error) {
    if (isTsbuildError(error)) return undefined;
    throw error;
  }
}

function expandParts(
  tree: Tree,
  base: ByteString,
  parts: readonly string[],
  options: SelectOptions,
  matched: ByteString[],
): void {
  const [part, ...rest] = parts;
  if (part === undefined) {
    matched.push(base);
    return;
  }
  if (!hasWildcard(part)) {
    const next = joinPath(base, toByteString(part));
    if (tree.stat(next) !== undefined) expandParts(tree, next, rest, options, matched);
    return;
  }
  if (tree.stat(base)?.type !== 'directory') return;
  const expression = compileSourcePattern(part);
  using directory = tree.directory(base);
  for (const name of directory.names()) {
    if (!expression.test(toText(name))) continue;
    const next = joinPath(base, name);
    if (rest.length > 0 && tree.stat(next)?.type !== 'directory') continue;
    if (options.ignore !== undefined && isIgnored(options.ignore, next, directory.lstat(name))) continue;
    expandParts(tree, next, rest, options, matched);
  }
}

/** --parents: `**` crosses directories, so the whole tree below the fixed beginning is looked at. */
function deepMatch(
  tree: Tree,
  parts: readonly string[],
  options: SelectOptions,
  matched: ByteString[],
): void {
  const fixed = parts.slice(
    0,
    Math.max(
      0,
      parts.findIndex((part) => hasWildcard(part)),
    ),
  );
  const expression = compileSourcePattern(parts.join('/'), true);
  const visit = (path: ByteString): void => {
    if (tree.lstat(path)?.type !== 'directory') return;
    using directory = tree.directory(path);
    for (const name of directory.names()) {
      const next = joinPath(path, name);
      const stat = directory.lstat(name);
      if (options.ignore !== undefined && isIgnored(options.ignore, next, stat)) continue;
      if (expression.test(toText(next))) matched.push(next);
      else if (stat.type === 'directory') visit(next);
    }
  };
  visit(toByteString(fixed.join('/')));
}

function notFound(
  tree: Tree,
  written: string,
  asked: ByteString,
  { ignore, where }: SelectOptions,
): TsbuildError {
  const fail = (reason: string, hint?: string): TsbuildError =>
    new TsbuildError('COPY_SOURCE_NOT_FOUND', `cannot find ${JSON.stringify(written)} in ${where}${reason}`, {
      word: written,
      ...(hint === undefined ? {} : { hint }),
    });
  const there = resolveIfPossible(tree, asked);
  const exists = there !== undefined && tree.lstat(there) !== undefined;
  if (exists && ignore?.excludes(toText(asked)) === true)
    return fail(
      ': the ignore file leaves it out',
      `add the line ${JSON.stringify(`!${toText(asked)}`)} to .dockerignore, or take the pattern away`,
    );
  const stat = tree.lstat(asked);
  if (stat?.type === 'symlink')
    return fail(
      `: it is a symbolic link to ${JSON.stringify(toText(tree.readlink(asked)))}, which is not there`,
      'copy what it should lead to',
    );
  const near = nearName(tree, asked);
  if (near !== undefined) return fail('', `did you mean ${JSON.stringify(near)}?`);
  if (/^\.\.\/|\/\.\.\//.test(written))
    return fail('', `".." does not lead out of ${where}: copy from another with --build-context and --from`);
  if (/^[a-z]+:\/\//.test(written)) return fail('', 'use http(s) or git: nothing else is fetched');
  const isMain = where.startsWith('the build context');
  if (written.startsWith('/') && isMain && tree.stat(asked.split('/')[0] ?? '') === undefined)
    return fail('', `write a path in ${where}: "/" is its root, not that of this machine`);
  return fail('', namesHint(tree, parentOf(asked), where));
}

/** Names that could have been meant, where there are few. */
function namesHint(tree: Tree, parent: ByteString, where: string): string | undefined {
  if (tree.stat(parent)?.type !== 'directory') return undefined;
  using directory = tree.directory(parent);
  const names = directory.names().map(toText).sort();
  if (names.length > MAX_NAMES) return undefined;
  const shown = parent === '' ? where : `${JSON.stringify(toText(parent))} there`;
  return names.length === 0
    ? `look for it elsewhere: ${shown} is empty`
    : `use one of ${names.map((name) => JSON.stringify(name)).join(', ')}`;
}

function parentOf(path: ByteString): ByteString {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

/** The path with the first part that is not there replaced by a name like it. */
function nearName(tree: Tree, asked: ByteString): string | undefined {
  const parts = asked.split('/');
  for (let count = 1; count <= parts.length; count += 1) {
    if (tree.stat(parts.slice(0, count).join('/')) !== undefined) continue;
    const parent = parts.slice(0, count - 1).join('/');
    if (tree.stat(parent)?.type !== 'directory') return undefined;
    using directory = tree.directory(parent);
    const near = suggest(toText(parts[count - 1] ?? ''), directory.names().map(toText));
    if (near === undefined) return undefined;
    return [...parts.slice(0, count - 1).map(toText), near, ...parts.slice(count).map(toText)].join('/');
  }
  return undefined;
}
