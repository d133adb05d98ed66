/**
 * What follows a keyword: flags, the JSON form, name=value lists.
 *
 * JSON is JSON or it is not: anything that does not parse is the shell form, an array with something else than
 * strings in it is an error (as docker has it).
 */
import type { SourceRef } from '../../src/base/errors.ts';
import { suggest } from '../../src/base/suggest.ts';
import { refAt, syntaxError, type LocatedText } from './source.ts';

export interface Flag {
  readonly name: string;
  /** undefined: `--link` without `=`. */
  readonly value: string | undefined;
  /** Offsets in the instruction's text. */
  readonly from: number;
  readonly to: number;
}

export interface Arguments {
  readonly flags: readonly Flag[];
  /** What comes after the flags, trimmed. */
  readonly rest: string;
  readonly restOffset: number;
}

const BLANK = /\s/;

/** Takes leading `--name[=value]` words; a bare `--` ends them and vanishes. */
export function takeFlags(located: LocatedText, offset: number): Arguments {
  const { text } = located;
  const flags: Flag[] = [];
  let at = offset;
  for (;;) {
    while (BLANK.test(text[at] ?? '')) at += 1;
    if (!text.startsWith('--', at)) break;
    const word = readFlagWord(text, at);
    const from = at;
    at = word.end;
    if (word.value === '--') break;
    const equals = word.value.indexOf('=');
    const name = word.value.slice(2, equals < 0 ? undefined : equals);
    flags.push({ name, value: equals < 0 ? undefined : word.value.slice(equals + 1), from, to: at });
  }
  while (BLANK.test(text[at] ?? '')) at += 1;
  return { flags, rest: text.slice(at).trimEnd(), restOffset: at };
}

/** Flags are escaped with `\\`, whatever the escape directive says. */
function readFlagWord(text: string, start: number): { readonly value: string; readonly end: number } {
  let value = '';
  let quote = '';
  let at = start;
  for (; at < text.length; at += 1) {
    const char = text[at] ?? '';
    if (quote === '' && BLANK.test(char)) break;
    if (char === '\\') {
      at += 1;
      value += text[at] ?? '';
    } else if (quote === '' && (char === '"' || char === "'")) quote = char;
    else if (char === quote) quote = '';
    else value += char;
  }
  return { value, end: Math.min(at, text.length) };
}

/** How often a flag may be given, and whether it has a value. */
export type FlagKind = 'text' | 'boolean' | 'list';

/** Checks flags against what an instruction knows. Throws INSTRUCTION_INVALID at the flag. */
export function checkFlags(
  located: LocatedText,
  flags: readonly Flag[],
  known: Readonly<Record<string, FlagKind>>,
): FlagValues {
  const values = new Map<string, Flag[]>();
  for (const flag of flags) {
    const kind = Object.hasOwn(known, flag.name) ? known[flag.name] : undefined;
    const at = refAt(located, flag.from, flag.to);
    const shown = JSON.stringify(`--${flag.name}`);
    if (kind === undefined) {
      const near = suggest(flag.name, Object.keys(known));
      throw syntaxError(
        'INSTRUCTION_INVALID',
        `unknown flag ${shown}`,
        at,
        near === undefined ? knownFlags(Object.keys(known)) : `did you mean --${near}?`,
      );
    }
    const before = values.get(flag.name) ?? [];
    if (before.length > 0 && kind !== 'list')
      throw syntaxError(
        'INSTRUCTION_INVALID',
        `flag ${shown} is given twice`,
        at,
        'leave one of the two out',
      );
    if (kind === 'boolean' && flag.value !== undefined && !/^(true|false)$/i.test(flag.value))
      throw syntaxError(
        'INSTRUCTION_INVALID',
        `flag ${shown} is true or false, not ${JSON.stringify(flag.value)}`,
        at,
        `write --${flag.name}, or --${flag.name}=false`,
      );
    if (kind !== 'boolean' && flag.value === undefined)
      throw syntaxError(
        'INSTRUCTION_INVALID',
        `flag ${shown} needs a value`,
        at,
        `write --${flag.name}=VALUE`,
      );
    values.set(flag.name, [...before, flag]);
  }
  return {
    text: (name) => values.get(name)?.[0]?.value,
    boolean: (name) => {
      const flag = values.get(name)?.[0];
      return flag === undefined ? undefined : flag.value?.toLowerCase() !== 'false';
    },
    list: (name) => (values.get(name) ?? []).map((flag) => flag.value ?? ''),
    all: flags,
    at(name) {
      const flag = values.get(name)?.[0];
      return flag === undefined ? refAt(located) : refAt(located, flag.from, flag.to);
    },
  };
}

function knownFlags(names: readonly string[]): string {
  if (names.length === 0) return 'leave it out: the instruction takes no flags';
  return `use ${names.map((name) => `--${name}`).join(', ')}, or end the flags with --`;
}

export interface FlagValues {
  text(name: string): string | undefined;
  boolean(name: string): boolean | undefined;
  list(name: string): readonly string[];
  readonly all: readonly Flag[];
  /** Where it stands; the whole instruction where it is not given. */
  at(name: string): SourceRef;
}

/** The strings of a JSON array; undefined where the text is no JSON array. */
export function parseJsonForm(located: LocatedText, rest: string): readonly string[] | undefined {
  if (!rest.trimStart().startsWith('[')) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(rest.trimStart());
  } catch {
    return undefined;
  }
  if (!Array.isArray(value)) return undefined;
  const other = value.findIndex((item) => typeof item !== 'string');
  if (other >= 0) {
    const offset = endOf(located) - rest.trimStart().length;
    const [from, to] = elementAt(rest.trimStart(), other);
    throw syntaxError(
      'DOCKERFILE_SYNTAX',
      `an array in JSON form holds strings only, not ${rest.trimStart().slice(from, to)}`,
      refAt(located, offset + from, offset + to),
      'put every word in double quotes',
    );
  }
  // Halves of a surrogate pair are no text: Go has U+FFFD for them.
  return (value as readonly string[]).map((word) => word.replace(/\p{Surrogate}/gu, '\uFFFD'));
}

/** Arguments reach to here. */
function endOf({ text }: LocatedText): number {
  return text.trimEnd().length;
}

/** Where the element of a JSON array stands in its text. */
function elementAt(text: string, index: number): readonly [number, number] {
  let depth = 0;
  let count = 0;
  let from = 1;
  let quoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at] ?? '';
    if (quoted && char === '\\') at += 1;
    else if (char === '"') quoted = !quoted;
    else if (!quoted && '[{'.includes(char)) depth += 1;
    else if (!quoted && (']}'.includes(char) || char === ',')) {
      if (depth === 1) {
        const part = text.slice(from, at);
        const start = from + part.length - part.trimStart().length;
        if (count === index) return [start, start + part.trim().length];
        count += 1;
        from = at + 1;
      }
      if (char !== ',') depth -= 1;
    }
  }
  return [0, text.length];
}

export function whitespaceWords(rest: string): readonly string[] {
  return rest.trim() === '' ? [] : rest.trim().split(/[\t\v\f\r ]+/);
}

/** Words that keep their quotes and escapes. */
export function quotedWords(rest: string, escape: string): readonly string[] {
  return quotedSpans(rest, escape).map(({ text }) => text);
}

/** A word and its offsets. */
export interface Span {
  readonly text: string;
  readonly from: number;
  readonly to: number;
}

/** As `quotedWords`, with offsets in `rest`. */
export function quotedSpans(rest: string, escape: string): readonly Span[] {
  const words: Span[] = [];
  let word = '';
  let quote = '';
  let from = 0;
  for (let at = 0; at < rest.length; at += 1) {
    const char = rest[at] ?? '';
    if (quote === '' && BLANK.test(char)) {
      if (word !== '') words.push({ text: word, from, to: at });
      word = '';
      continue;
    }
    if (word === '') from = at;
    if (quote === '' && (char === '"' || char === "'")) quote = char;
    else if (char === quote) quote = '';
    if (char === escape && quote !== "'") {
      // An escape with nothing to escape vanishes.
      if (at + 1 >= rest.length) break;
      word += char;
      at += 1;
      word += rest[at] ?? '';
    } else word += char;
  }
  if (word !== '') words.push({ text: word, from, to: rest.length });
  return words;
}

/** The place of a word of the arguments. */
export function refOfSpan(located: LocatedText, rest: string, { from, to }: Span): SourceRef {
  const offset = endOf(located) - rest.length;
  return refAt(located, offset + from, offset + to);
}

export interface Pair {
  readonly name: string;
  readonly value: string;
  /** Offsets in the arguments; absent in the old form. */
  readonly span?: Span;
}

export interface Pairs {
  readonly pairs: readonly Pair[];
  /** `ENV name value`: the old form. */
  readonly legacy: boolean;
}

/** ENV and LABEL. Throws DOCKERFILE_SYNTAX. */
export function parsePairs(located: LocatedText, rest: string, escape: string): Pairs {
  const { keyword } = located as LocatedText & { readonly keyword?: string };
  const name = keyword ?? 'the instruction';
  const words = quotedSpans(rest, escape);
  const [first] = words;
  if (first === undefined)
    throw syntaxError(
      'INSTRUCTION_INVALID',
      `${name} needs at least one argument`,
      refAt(located),
      `write ${name} NAME=VALUE`,
    );
  if (!first.text.includes('=')) {
    const match = /^([^\t\v\f\r ]*)[\t\v\f\r ]+([\s\S]*)$/.exec(rest);
    if (match === null)
      throw syntaxError(
        'DOCKERFILE_SYNTAX',
        `${name} gives ${JSON.stringify(first.text)} no value`,
        refOfSpan(located, rest, first),
        `write ${name} ${first.text}=VALUE`,
      );
    return { pairs: [{ name: match[1] ?? '', value: match[2] ?? '' }], legacy: true };
  }
  const pairs = words.map((word, index) => {
    const { text } = word;
    const equals = text.indexOf('=');
    if (equals < 0)
      throw syntaxError(
        'DOCKERFILE_SYNTAX',
        `there is no = in ${JSON.stringify(text)}`,
        refOfSpan(located, rest, word),
        quoteHint(words[index - 1]?.text, text),
      );
    return { name: text.slice(0, equals), value: text.slice(equals + 1), span: word };
  });
  return { pairs, legacy: false };
}

/** A value with a blank in it looks like two words. */
function quoteHint(before: string | undefined, word: string): string {
  const equals = before?.indexOf('=') ?? -1;
  if (before === undefined || equals < 0 || /["'\\]/.test(before + word)) return 'write NAME=VALUE';
  return `write NAME=VALUE, and quotes around a value with blanks: ${before.slice(0, equals)}="${before.slice(equals + 1)} ${word}"`;
}
