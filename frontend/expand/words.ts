/** Splitting text into words as a shell does, without expanding anything. */
import { TsbuildError } from '../../src/base/errors.ts';

export interface ShellWord {
  /** As written. */
  readonly raw: string;
  /** Without quotes and escapes. */
  readonly value: string;
  readonly offset: number;
}

const BLANK = /\s/;

/** Words by unquoted white space. Throws EXPANSION_FAILED for a quote that is not closed. */
export function splitWords(text: string, escape: string): readonly ShellWord[] {
  const words: ShellWord[] = [];
  for (let at = 0; at < text.length; ) {
    if (BLANK.test(text[at] ?? '')) {
      at += 1;
      continue;
    }
    const start = at;
    let value = '';
    while (at < text.length && !BLANK.test(text[at] ?? '')) {
      const char = text[at] ?? '';
      if (char === "'" || char === '"') {
        const quoted = readQuoted(text, at, escape);
        value += quoted.value;
        at = quoted.end;
      } else if (char === escape) {
        value += text[at + 1] ?? '';
        at += 2;
      } else {
        value += char;
        at += 1;
      }
    }
    at = Math.min(at, text.length);
    words.push({ raw: text.slice(start, at), value, offset: start });
  }
  return words;
}

function readQuoted(
  text: string,
  start: number,
  escape: string,
): { readonly value: string; readonly end: number } {
  const quote = text[start] ?? '';
  let value = '';
  for (let at = start + 1; at < text.length; at += 1) {
    const char = text[at] ?? '';
    if (char === quote) return { value, end: at + 1 };
    const next = text[at + 1] ?? '';
    if (quote === '"' && char === escape && (next === '"' || next === '$' || next === escape)) {
      value += next;
      at += 1;
    } else value += char;
  }
  throw new TsbuildError(
    'EXPANSION_FAILED',
    `unexpected end of statement while looking for matching ${quote === '"' ? 'double' : 'single'}-quote`,
  );
}
