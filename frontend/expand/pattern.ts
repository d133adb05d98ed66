/**
 * Patterns of `${x#…}` and `${x/…}`: `*` and `?` alone are special and stay within a line; `\` takes away the
 * meaning of `*`, `?`, `\`, and of the `/` and `}` that would end the pattern. Before anything else it is an error.
 *
 * Matched without regular expressions: a Dockerfile is somebody else's text, and `${x##*a*a*a*a*b}` must not be
 * able to keep a backtracking engine busy for hours.
 */

import { TsbuildError } from '../../src/base/errors.ts';

/** A character, or ANY for `?`. */
type Token = string;
const ANY = '';
const NEWLINE = '\n';
const ESCAPABLE = new Set(['*', '?', '\\', '/', '}']);

/** What stands between the stars, in order; at least one piece. */
export type Pattern = readonly (readonly Token[])[];

export function parsePattern(text: string): Pattern {
  const chars = [...text];
  const pieces: Token[][] = [[]];
  for (let at = 0; at < chars.length; at += 1) {
    let char = chars[at] ?? '';
    if (char === '*') {
      pieces.push([]);
      continue;
    }
    if (char === '\\') char = escaped(text, chars[(at += 1)] ?? '');
    else if (char === '?') char = ANY;
    pieces.at(-1)?.push(char);
  }
  return pieces;
}

function escaped(pattern: string, char: string): string {
  if (ESCAPABLE.has(char)) return char;
  throw new TsbuildError(
    'EXPANSION_FAILED',
    `invalid pattern ${JSON.stringify(pattern)} in substitution: ${JSON.stringify(`\\${char}`)} is no escape`,
    { hint: 'a backslash stands before *, ?, \\, / or } only; write \\\\ for itself' },
  );
}

/** For matching from the end: give the text reversed too. */
export function reversePattern(pattern: Pattern): Pattern {
  return pattern.map((piece) => piece.toReversed()).reverse();
}

function fits(piece: readonly Token[], text: readonly string[], at: number): boolean {
  if (at + piece.length > text.length) return false;
  for (let index = 0; index < piece.length; index += 1)
    if (piece[index] === ANY ? text[at + index] === NEWLINE : piece[index] !== text[at + index]) return false;
  return true;
}

/** Where the match that begins at `start` ends: the nearest place, or the farthest if `greedy`; undefined: none. */
export function matchEnd(
  pattern: Pattern,
  text: readonly string[],
  start: number,
  greedy: boolean,
): number | undefined {
  const [first = [], ...rest] = pattern;
  if (!fits(first, text, start)) return undefined;
  let at = start + first.length;
  for (const [index, piece] of rest.entries()) {
    const farthest = greedy && index === rest.length - 1;
    const last = Math.min(endOfLine(text, at), text.length - piece.length);
    let found = farthest ? last : at;
    while (found >= at && found <= last && !fits(piece, text, found)) found += farthest ? -1 : 1;
    if (found < at || found > last) return undefined;
    at = found + piece.length;
  }
  return at;
}

function endOfLine(text: readonly string[], at: number): number {
  const end = text.indexOf(NEWLINE, at);
  return end < 0 ? text.length : end;
}

/**
 * Replaces the first match, or all: each as long as it can be, the leftmost first. undefined: the result is longer
 * than `limit`.
 */
export function replaceMatches(
  value: string,
  pattern: Pattern,
  replacement: string,
  { all, limit }: { readonly all: boolean; readonly limit: number },
): string | undefined {
  const text = [...value];
  let result = '';
  let at = 0;
  let matchedTo = -1;
  let isDone = false;
  while (!isDone && at <= text.length) {
    const end = matchEnd(pattern, text, at, true);
    if (end === undefined) {
      // What follows a star was looked for to the end of the line already: no later start in it can find it.
      const next = isSpent(pattern, text, at) ? Math.max(at + 1, endOfLine(text, at)) : at + 1;
      result += text.slice(at, next).join('');
      at = next;
      continue;
    }
    // An empty match right behind another one is no match.
    if (end > matchedTo) result += replacement;
    if (result.length > limit) return undefined;
    if (end === at) result += text[at] ?? '';
    matchedTo = end;
    at = Math.max(end, at + 1);
    isDone = !all;
  }
  return result + text.slice(at).join('');
}

function isSpent(pattern: Pattern, text: readonly string[], at: number): boolean {
  const [first = []] = pattern;
  return pattern.length > 1 && !first.includes(NEWLINE) && fits(first, text, at);
}
