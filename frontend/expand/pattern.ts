/** Patterns of `${x#…}` and `${x/…}`: `*` and `?` alone are special, `\` takes away a meaning. */

/** Source of a regular expression. */
export function compilePattern(pattern: string, greedy: boolean): string {
  let source = '';
  for (let at = 0; at < pattern.length; at += 1) {
    const char = pattern[at] ?? '';
    if (char === '\\' && at + 1 < pattern.length) {
      at += 1;
      source += literal(pattern[at] ?? '');
    } else if (char === '*') source += greedy ? '.*' : '.*?';
    else if (char === '?') source += '.';
    else source += literal(char);
  }
  return source;
}

function literal(char: string): string {
  return char.replace(/[\\^$.*+?()[\]{}|/-]/, '\\$&');
}
