/**
 * Patterns of ignore files and of COPY sources, compiled: `*` and `?` stay within one name, `**` crosses names,
 * `[a-c]` and `[^a]` are sets, `\` takes away a meaning. As moby/patternmatcher translates them.
 *
 * Patterns come from outside. Those with few stars become regular expressions, which are fast; the others are
 * matched by following all states at once, since a backtracking engine can be kept busy for hours by them.
 */
import { TsbuildError } from '../base/errors.ts';

export interface Glob {
  test(path: string): boolean;
}

type Token =
  /** One character. */
  | { readonly kind: 'one'; readonly source: string }
  /** `*`: any number of characters that are no slash. */
  | { readonly kind: 'star' }
  /** `**` at the end: anything. */
  | { readonly kind: 'rest' }
  /** `**` elsewhere: any number of whole names with their slashes, or nothing. */
  | { readonly kind: 'names' };

const SOURCES = { star: '[^/]*', rest: '.*', names: '(.*/)?' } as const;
/** With more, the time of a backtracking match grows too fast. */
const MAX_STARS = 3;

/** Throws IGNORE_PATTERN_INVALID. */
export function compileGlob(pattern: string, written: string): Glob {
  const suffix = plainSuffix(pattern);
  if (suffix !== undefined)
    return { test: (path) => path.endsWith(suffix) || (suffix.startsWith('/') && path === suffix.slice(1)) };
  const tokens = tokenize(pattern, written);
  if (tokens.filter(({ kind }) => kind !== 'one').length > MAX_STARS) return followStates(tokens);
  const source = tokens.map((token) => (token.kind === 'one' ? token.source : SOURCES[token.kind])).join('');
  return new RegExp(`^${source}$`, 'su');
}

/**
 * What stands behind a leading `**` if nothing in it is special: such a pattern is a suffix of the path, so `**c`
 * matches `a/bc` too, which `**c*` does not.
 */
function plainSuffix(pattern: string): string | undefined {
  return /^\*\*([^*?[\]\\]*)$/.exec(pattern)?.[1];
}

function tokenize(pattern: string, written: string): readonly Token[] {
  const chars = [...pattern];
  const tokens: Token[] = [];
  for (let at = 0; at < chars.length; at += 1) {
    const char = chars[at] ?? '';
    if (char === '*' && chars[at + 1] === '*') {
      at += 1;
      if (chars[at + 1] === '/') at += 1;
      tokens.push({ kind: at + 1 >= chars.length ? 'rest' : 'names' });
    } else if (char === '*') tokens.push({ kind: 'star' });
    else if (char === '?') tokens.push({ kind: 'one', source: '[^/]' });
    else if (char === '\\') {
      at += 1;
      if (at >= chars.length) throw invalid(written);
      tokens.push({ kind: 'one', source: literal(chars[at] ?? '') });
    } else if (char === '[') {
      const set = readSet(chars, at, written);
      tokens.push({ kind: 'one', source: set.source });
      at = set.end;
    } else tokens.push({ kind: 'one', source: literal(char) });
  }
  return tokens;
}

function invalid(written: string): TsbuildError {
  return new TsbuildError('IGNORE_PATTERN_INVALID', `syntax error in pattern ${JSON.stringify(written)}`, {
    hint: 'close "[" with "]", or write \\[ for the character itself',
    word: written,
  });
}

function literal(char: string): string {
  return char.replace(/[\\^$.*+?()[\]{}|/]/, '\\$&');
}

/** A set `[a-c]` or `[^a]` of Go's filepath.Match, as a set of a regular expression. */
function readSet(
  chars: readonly string[],
  start: number,
  written: string,
): { readonly source: string; readonly end: number } {
  let at = start + 1;
  let source = '[';
  if (chars[at] === '^') {
    source += '^/';
    at += 1;
  }
  let isEmpty = true;
  const one = (): string => {
    const isEscaped = chars[at] === '\\';
    if (isEscaped) at += 1;
    const char = chars[at];
    if (char === undefined || (!isEscaped && (char === '-' || char === ']'))) throw invalid(written);
    at += 1;
    return char;
  };
  while (chars[at] !== ']') {
    if (at >= chars.length) throw invalid(written);
    const from = one();
    let to = from;
    if (chars[at] === '-') {
      at += 1;
      to = one();
    }
    if ((to.codePointAt(0) ?? 0) < (from.codePointAt(0) ?? 0)) throw invalid(written);
    const show = (char: string): string => char.replace(/[\\\]^[-]/, '\\$&');
    source += from === to ? show(from) : `${show(from)}-${show(to)}`;
    isEmpty = false;
  }
  if (isEmpty) throw invalid(written);
  return { source: `${source}]`, end: at };
}

/** State 2n: before token n; state 2n + 1: within the names of token n. */
function followStates(tokens: readonly Token[]): Glob {
  const ones = tokens.map((token) =>
    token.kind === 'one' ? new RegExp(`^${token.source}$`, 'su') : undefined,
  );

  function enter(states: Uint8Array, from: number): void {
    for (let n = from; n <= tokens.length && states[2 * n] === 0; n += 1) {
      states[2 * n] = 1;
      const kind = tokens[n]?.kind;
      if (kind === undefined || kind === 'one') return;
      if (kind === 'names') states[2 * n + 1] = 1;
    }
  }

  function step(states: Uint8Array, char: string): Uint8Array {
    const next = new Uint8Array(states.length);
    for (const [n, { kind }] of tokens.entries()) {
      if (states[2 * n] === 1) {
        if (kind === 'one' && ones[n]?.test(char) === true) enter(next, n + 1);
        if (kind === 'rest' || (kind === 'star' && char !== '/')) enter(next, n);
      }
      if (states[2 * n + 1] !== 1) continue;
      next[2 * n + 1] = 1;
      if (char === '/') enter(next, n + 1);
    }
    return next;
  }

  return {
    test(path) {
      let states: Uint8Array = new Uint8Array(2 * tokens.length + 2);
      enter(states, 0);
      for (const char of path) states = step(states, char);
      return states[2 * tokens.length] === 1;
    },
  };
}
