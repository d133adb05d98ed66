/**
 * Templates into tokens: text, and the words between `{{` and `}}`.
 *
 * Source: Go's text/template, "Text and spaces", "Arguments" (lex.go of Go 1.22).
 */
import { MAX_TEMPLATE, templateError } from './limits.ts';
import type { Value } from './values.ts';

export type Token =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'begin' | 'end' }
  | { readonly kind: 'literal'; readonly value: Value; readonly text: string }
  /** `.A` (name `A`), or `.` alone (name ''). `glued`: nothing stands between it and the word before it. */
  | { readonly kind: 'field'; readonly name: string; readonly glued: boolean }
  /** `$x`; `$` alone has the name ''. */
  | { readonly kind: 'variable'; readonly name: string }
  | { readonly kind: 'word'; readonly name: string }
  | { readonly kind: 'symbol'; readonly symbol: '(' | ')' | '|' | ',' | ':=' | '=' };

const ESCAPES: Readonly<Record<string, string>> = {
  ...{ n: '\n', t: '\t', r: '\r', a: '\x07', b: '\b', f: '\f', v: '\v' },
  ...{ '\\': '\\', '"': '"', "'": "'" },
};

/** Throws USAGE. */
export function tokenize(template: string): readonly Token[] {
  if (template.length > MAX_TEMPLATE) throw templateError(`template of ${template.length} characters`);
  const tokens: Token[] = [];
  let at = 0;
  let trim = false;
  const addText = (text: string): void => {
    const shown = trim ? text.replace(/^[ \t\r\n]+/, '') : text;
    if (shown !== '') tokens.push({ kind: 'text', text: shown });
  };
  while (at < template.length) {
    const open = template.indexOf('{{', at);
    if (open < 0) break;
    const trimBefore = /^\{\{-[ \t\r\n]/.test(template.slice(open, open + 4));
    const text = template.slice(at, open);
    addText(trimBefore ? text.trimEnd() : text);
    const start = open + (trimBefore ? 3 : 2);
    const comment = /^[ \t\r\n]*\/\*/.exec(template.slice(start, start + 64));
    const close = comment === null ? takeAction(template, start, tokens) : skipComment(template, start);
    trim = close.trim;
    at = close.at;
  }
  addText(template.slice(at));
  return tokens;
}

interface Close {
  readonly at: number;
  readonly trim: boolean;
}

function skipComment(template: string, start: number): Close {
  const end = template.indexOf('*/', start);
  const close = end < 0 ? null : /^(?:[ \t\r\n]+(-))?\}\}/.exec(template.slice(end + 2, end + 64));
  if (close === null)
    throw templateError(end < 0 ? 'unclosed comment' : 'comment ends before closing delimiter');
  return { at: end + 2 + close[0].length, trim: close[1] !== undefined };
}

/** Reads an action up to its `}}`; where it ends. */
function takeAction(template: string, start: number, tokens: Token[]): Close {
  tokens.push({ kind: 'begin' });
  let at = start;
  let glued = false;
  for (;;) {
    const char = template[at];
    if (char === undefined) throw templateError('unclosed action');
    const close = /^(?:[ \t\r\n]+(-))?\}\}/.exec(template.slice(at, at + 64));
    if (close !== null) {
      tokens.push({ kind: 'end' });
      return { at: at + close[0].length, trim: close[1] !== undefined };
    }
    if (/\s/.test(char)) {
      at += 1;
      glued = false;
      continue;
    }
    const { token, length } = takeToken(template, at, glued);
    tokens.push(token);
    at += length;
    glued = true;
  }
}

interface Taken {
  readonly token: Token;
  readonly length: number;
}

function takeToken(template: string, at: number, glued: boolean): Taken {
  const rest = template.slice(at, at + 256);
  const field = /^\.([\p{L}_][\p{L}\p{N}_]*)?(?![\d])/u.exec(rest);
  if (field !== null)
    return { token: { kind: 'field', name: field[1] ?? '', glued }, length: field[0].length };
  const variable = /^\$([\p{L}\p{N}_]*)/u.exec(rest);
  if (variable !== null)
    return { token: { kind: 'variable', name: variable[1] ?? '' }, length: variable[0].length };
  const word = /^[\p{L}_][\p{L}\p{N}_]*/u.exec(rest);
  if (word !== null) return { token: wordToken(word[0]), length: word[0].length };
  const symbol = /^(?::=|[()|,=])/.exec(rest)?.[0] as '(' | ')' | '|' | ',' | ':=' | '=' | undefined;
  if (symbol !== undefined) return { token: { kind: 'symbol', symbol }, length: symbol.length };
  const number = /^[+-]?(?:0x[\da-f_]+|0o[0-7_]+|0b[01_]+|(?:\d[\d_]*)?\.?\d+(?:e[+-]?\d+)?)/i.exec(rest);
  if (number !== null) return { token: numberToken(number[0]), length: number[0].length };
  const first = rest[0] ?? '';
  if (first === '"' || first === '`' || first === "'") return takeString(template, at, first);
  throw templateError(`unexpected ${JSON.stringify(first)} in command`);
}

function wordToken(name: string): Token {
  if (name === 'true' || name === 'false') return { kind: 'literal', value: name === 'true', text: name };
  return name === 'nil' ? { kind: 'literal', value: null, text: name } : { kind: 'word', name };
}

function numberToken(text: string): Token {
  const sign = text.startsWith('-') ? -1 : 1;
  const value = Number(text.replace(/^[+-]/, '').replaceAll('_', ''));
  if (Number.isNaN(value)) throw templateError(`bad number syntax: ${JSON.stringify(text)}`);
  return { kind: 'literal', value: value * sign, text };
}

function takeString(template: string, start: number, quote: string): Taken {
  let value = '';
  for (let at = start + 1; ; at += 1) {
    const char = template[at];
    if (char === undefined || (char === '\n' && quote !== '`'))
      throw templateError(quote === '`' ? 'unterminated raw quoted string' : 'unterminated quoted string');
    if (char === quote) {
      const text = template.slice(start, at + 1);
      const literal = quote === "'" ? value.codePointAt(0) : value;
      return { token: { kind: 'literal', value: literal, text }, length: text.length };
    }
    if (char !== '\\' || quote === '`') {
      value += char;
      continue;
    }
    const escape = takeEscape(template.slice(at + 1, at + 10));
    value += escape.text;
    at += escape.length;
  }
}

function takeEscape(rest: string): { readonly text: string; readonly length: number } {
  const simple = ESCAPES[rest[0] ?? ''];
  if (simple !== undefined) return { text: simple, length: 1 };
  const match = /^(?:x([\da-f]{2})|u([\da-f]{4})|U(00[\da-f]{6})|([0-7]{3}))/i.exec(rest);
  const [whole, hex, short, long, octal] = match ?? [];
  const code =
    octal === undefined ? Number.parseInt(hex ?? short ?? long ?? '', 16) : Number.parseInt(octal, 8);
  if (whole === undefined || Number.isNaN(code) || code > 0x10ffff) throw templateError('invalid syntax');
  return { text: String.fromCodePoint(code), length: whole.length };
}
