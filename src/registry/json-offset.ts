/**
 * Where a text stops being JSON. Node's own message quotes the text, and what is parsed here holds passwords.
 *
 * Spec: RFC 8259.
 */

const SPACE = /[ \t\n\r]*/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const SCALAR = /true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const MAX_DEPTH = 64;

/** Zero-based offset in characters; undefined where the text is JSON. */
export function jsonErrorOffset(text: string): number | undefined {
  let at = 0;
  const take = (pattern: RegExp): boolean => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found === null) return false;
    at += found[0].length;
    return true;
  };
  const takeOne = (character: string): boolean => {
    take(SPACE);
    if (text[at] !== character) return false;
    at += 1;
    return true;
  };
  function takeList(end: string, item: () => boolean): boolean {
    if (takeOne(end)) return true;
    do if (!item()) return false;
    while (takeOne(','));
    return takeOne(end);
  }
  function takeValue(depth: number): boolean {
    take(SPACE);
    if (depth > MAX_DEPTH) return false;
    if (takeOne('{'))
      return takeList('}', () => {
        take(SPACE);
        return take(STRING) && takeOne(':') && takeValue(depth + 1);
      });
    if (takeOne('[')) return takeList(']', () => takeValue(depth + 1));
    return take(STRING) || take(SCALAR);
  }
  if (!takeValue(0)) return at;
  take(SPACE);
  return at === text.length ? undefined : at;
}
