/**
 * `.dockerignore`: reading and matching, as docker's own matcher (moby/patternmatcher) has it.
 *
 * Patterns are anchored at the root; a match of a parent directory counts; the last pattern that matches wins;
 * `!` takes back. `*` and `?` stay within one name, `**` crosses names.
 */
import { locate, TsbuildError, type SourceRef } from '../base/errors.ts';
import { compileGlob, type Glob } from './glob.ts';

/** Patterns of a file, in order: comments and blank lines gone, paths clean, `!` kept. */
export function parseIgnoreFile(text: string): readonly string[] {
  const patterns: string[] = [];
  for (const line of text.replace(/^\uFEFF/, '').split('\n')) {
    if (line.startsWith('#')) continue;
    let pattern = line.trim();
    if (pattern === '') continue;
    const negated = pattern.startsWith('!');
    if (negated) pattern = pattern.slice(1).trim();
    if (pattern !== '') {
      pattern = cleanPattern(pattern);
      if (pattern.length > 1 && pattern.startsWith('/')) pattern = pattern.slice(1);
    }
    patterns.push(negated ? `!${pattern}` : pattern);
  }
  return patterns;
}

/** As Go's filepath.Clean. */
function cleanPattern(path: string): string {
  const rooted = path.startsWith('/');
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.length > 0 && parts.at(-1) !== '..') parts.pop();
    else if (!rooted) parts.push('..');
  }
  const joined = parts.join('/');
  return rooted ? `/${joined}` : joined === '' ? '.' : joined;
}

export interface IgnoreMatcher {
  /** Whether a path (relative, `/`-separated) is left out. */
  excludes(path: string): boolean;
  /** Whether something below an excluded directory may be taken back by a `!` pattern. */
  mayReincludeBelow(directory: string): boolean;
  readonly isEmpty: boolean;
  /** What no `!` takes anything of back, so that nobody has to look into it. */
  readonly pruned: readonly PrunedPattern[];
  /** Whether `pruned` is all that is left out. */
  readonly isPlain: boolean;
}

/**
 * What a plain pattern leaves out with all that is in it: `path`, as it is written from the root; where `anywhere`,
 * whatever has that name; where `below`, only what is in it.
 */
export interface PrunedPattern {
  readonly path: string;
  readonly anywhere: boolean;
  readonly below: boolean;
}

interface Pattern {
  readonly glob: Glob;
  readonly negated: boolean;
  readonly text: string;
}

/** Matcher of a whole ignore file. Throws IGNORE_PATTERN_INVALID with the line. `file` is as shown to the user. */
export function compileIgnoreFile(text: string, file: string): IgnoreMatcher {
  try {
    return createIgnoreMatcher(parseIgnoreFile(text));
  } catch (error) {
    throw locate(error, firstInvalid(text, file));
  }
}

function firstInvalid(text: string, file: string): SourceRef | undefined {
  for (const [index, line] of text.split(/\r?\n/).entries())
    try {
      createIgnoreMatcher(parseIgnoreFile(line));
    } catch {
      const [startLine, endColumn] = [index + 1, line.trimEnd().length + 1];
      return { file, text, range: { startLine, startColumn: 1, endLine: startLine, endColumn } };
    }
  return undefined;
}

/** Throws IGNORE_PATTERN_INVALID. */
export function createIgnoreMatcher(patterns: readonly string[]): IgnoreMatcher {
  const compiled = patterns.flatMap((pattern) => compile(pattern) ?? []);
  const known = new Map<string, readonly boolean[]>();
  const none = compiled.map(() => false);

  /** Which patterns match a path or one of its parents. */
  function matchesOf(path: string): readonly boolean[] {
    if (path === '' || path === '.') return none;
    const before = known.get(path);
    if (before !== undefined) return before;
    const slash = path.lastIndexOf('/');
    const above = slash < 0 ? none : matchesOf(path.slice(0, slash));
    return compiled.map((pattern, index) => above[index] === true || pattern.glob.test(path));
  }

  function verdict(matches: readonly boolean[]): boolean {
    for (let index = compiled.length - 1; index >= 0; index -= 1)
      if (matches[index] === true) return compiled[index]?.negated === false;
    return false;
  }

  const negations = compiled.filter((pattern) => pattern.negated);

  function excludes(path: string): boolean {
    if (compiled.length === 0) return false;
    // Parents are asked for again by every sibling; a bounded memory is enough for that.
    const slash = path.lastIndexOf('/');
    const parent = path.slice(0, Math.max(0, slash));
    if (parent !== '' && !known.has(parent)) {
      if (known.size > 10_000) known.clear();
      known.set(parent, matchesOf(parent));
    }
    return verdict(matchesOf(path));
  }

  function mayReincludeBelow(directory: string): boolean {
    const below = `${directory}/`;
    return negations.some(({ text }) => {
      const fixed = text.split(/[*?[\\]/, 1)[0] ?? '';
      return fixed.startsWith(below) || (fixed !== text && below.startsWith(fixed));
    });
  }

  const pruned = compiled.flatMap(({ text, negated }) => {
    const plain = negated ? undefined : plainPattern(text);
    if (plain === undefined) return [];
    const isFinal =
      plain.anywhere || plain.below
        ? negations.length === 0
        : excludes(plain.path) && !mayReincludeBelow(plain.path);
    return isFinal ? [plain] : [];
  });
  return {
    isEmpty: compiled.length === 0,
    pruned,
    isPlain: pruned.length === compiled.length,
    excludes,
    mayReincludeBelow,
  };
}

function plainPattern(text: string): PrunedPattern | undefined {
  const [, anywhere, path = '', below] = /^(\*\*\/)?([^*?[\]\\]+?)(\/\*\*)?$/.exec(text) ?? [];
  // A slash at the front or at the end matches nothing; a name anywhere is one name.
  if (path === '' || path === '.' || path.startsWith('/') || path.endsWith('/')) return undefined;
  if (anywhere !== undefined && path.includes('/')) return undefined;
  return { path, anywhere: anywhere !== undefined, below: below !== undefined };
}

function compile(written: string): Pattern | undefined {
  let text = written.trim();
  if (text === '') return undefined;
  const negated = text.startsWith('!');
  if (negated) text = text.slice(1).trim();
  if (text === '')
    throw new TsbuildError(
      'IGNORE_PATTERN_INVALID',
      `illegal exclusion pattern: ${JSON.stringify(written)}`,
      {
        hint: 'write a pattern after "!", or take the line away',
        word: written,
      },
    );
  text = cleanPattern(text);
  return { text, negated, glob: compileGlob(text, written) };
}

/**
 * A source pattern of COPY and ADD: Go's filepath.Match, so `*` stays within one name and matches dot names too.
 * Throws IGNORE_PATTERN_INVALID. With `deep`, `**` crosses names (COPY --parents).
 */
export function compileSourcePattern(pattern: string, deep = false): Glob {
  if (deep) return compileGlob(pattern, pattern);
  return compileGlob(pattern.replace(/\*{2,}/g, '*'), pattern);
}

export function hasWildcard(pattern: string): boolean {
  return /[*?[\\]/.test(pattern);
}
