/** Strings as Go's %q prints them: history texts and dumps are compared with those of other builders. */

const NAMED: Readonly<Record<string, string>> = {
  '\u0007': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
  '\\': '\\\\',
  '"': '\\"',
};
/** Letters, marks, numbers, punctuation, symbols, and the one space that is not odd. */
const PRINTABLE = /[\p{L}\p{M}\p{N}\p{P}\p{S} ]/u;

export function goQuote(text: string): string {
  let quoted = '';
  for (const char of text) {
    const code = char.codePointAt(0) ?? 0;
    const hex = (width: number): string => code.toString(16).padStart(width, '0');
    if (NAMED[char] !== undefined) quoted += NAMED[char];
    else if (code < 0x20 || code === 0x7f) quoted += `\\x${hex(2)}`;
    else if (PRINTABLE.test(char)) quoted += char;
    else quoted += code > 0xffff ? `\\U${hex(8)}` : `\\u${hex(4)}`;
  }
  return `"${quoted}"`;
}
