/** Patterns over names: `*` anything but a slash, `?` one character. No regular expression is built from outside. */

/** Takes at most pattern × text steps. */
export function matchGlob(pattern: string, text: string): boolean {
  let [at, position] = [0, 0];
  let [star, retry] = [-1, 0];
  while (position < text.length) {
    const char = pattern[at];
    if (char === '*') {
      star = at;
      retry = position;
      at += 1;
    } else if (char !== undefined && (char === text[position] || (char === '?' && text[position] !== '/'))) {
      at += 1;
      position += 1;
    } else if (star >= 0 && text[retry] !== '/') {
      retry += 1;
      at = star + 1;
      position = retry;
    } else return false;
  }
  while (pattern[at] === '*') at += 1;
  return at === pattern.length;
}
