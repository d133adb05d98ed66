/**
 * Patterns of `${x#…}` and `${x/…}`: `*` and `?` alone are special, `\` takes away a meaning.
 *
 * Matched without regular expressions: a Dockerfile is somebody else's text, and `${x##*a*a*a*a*b}` must not be
 * able to keep a backtracking engine busy for hours.
 */

/** A character, or ANY for `?`. */
type Token = string;
const ANY = '';

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
    if (char === '\\' && at + 1 < chars.length) char = chars[(at += 1)] ?? '';
    else if (char === '?') char = ANY;
    pieces.at(-1)?.push(char);
  }
  return pieces;
}

/** For matching from the end: give the text reversed too. */
export function reversePattern(pattern: Pattern): Pattern {
  return pattern.map((piece) => piece.toReversed()).reverse();
}

function fits(piece: readonly Token[], text: readonly string[], at: number): boolean {
  if (at + piece.length > text.length) return false;
  for (let index = 0; index < piece.length; index += 1)
    if (piece[index] !== ANY && piece[index] !== text[at + index]) return false;
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
    const isLast = index === rest.length - 1;
    let found = isLast && greedy ? text.length - piece.length : at;
    const step = isLast && greedy ? -1 : 1;
    while (found >= at && found + piece.length <= text.length && !fits(piece, text, found)) found += step;
    if (found < at || found + piece.length > text.length) return undefined;
    at = found + piece.length;
  }
  return at;
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
  let isDone = false;
  while (!isDone && at <= text.length) {
    const end = matchEnd(pattern, text, at, true);
    if (end === undefined) {
      // What follows a star was looked for to the end already: no later start can find it.
      isDone = pattern.length > 1 && fits(pattern[0] ?? [], text, at);
      if (!isDone) result += text[at++] ?? '';
      continue;
    }
    result += replacement;
    if (result.length > limit) return undefined;
    if (end === at) result += text[at] ?? '';
    at = Math.max(end, at + 1);
    isDone = !all || (end === text.length && end !== at - 1);
  }
  return result + text.slice(at).join('');
}
