/**
 * Word expansion: quotes, escapes and `${…}` with the operators of the Dockerfile reference.
 *
 * `- + ?` with and without `:`, `# ## % %%` and `/ //` with the patterns `*` and `?`. The word part of an operator
 * is itself expanded. Nothing is ever executed, and no input makes this throw anything but EXPANSION_FAILED.
 */
import { TsbuildError } from '../../src/base/errors.ts';
import { matchEnd, parsePattern, replaceMatches, reversePattern, type Pattern } from './pattern.ts';

export interface ExpandOptions {
  readonly escape: string;
  /** Value of a variable; undefined: unset. */
  readonly lookup: (name: string) => string | undefined;
  /** Quotes are ordinary characters (heredoc bodies). */
  readonly keepQuotes?: boolean;
  /** Quotes do their work and stay in the result. */
  readonly rawQuotes?: boolean;
  /** Escapes do their work and stay in the result. */
  readonly rawEscapes?: boolean;
  /** A variable without a value stays as it is written. */
  readonly keepUnset?: boolean;
  /** Told of variables that are used and unset. */
  readonly onUnset?: (name: string) => void;
  /** Told of variables that are used and have a value. */
  readonly onSet?: (name: string) => void;
}

/** The whole text as one word. */
export function expandWord(text: string, options: ExpandOptions): string {
  if (!SPECIAL_ANYWHERE.test(text)) return text;
  return run(text, options, false).result;
}

/** The text as words, split at unquoted white space, also where that came from a variable. */
export function expandWords(text: string, options: ExpandOptions): readonly string[] {
  return run(text, options, true).words;
}

interface Expanded {
  readonly result: string;
  readonly words: readonly string[];
}

function run(text: string, options: ExpandOptions, splits: boolean): Expanded {
  const lexer = new Lexer(text, options, splits);
  try {
    const result = lexer.until('', options.rawEscapes === true);
    return { result, words: lexer.words() };
  } catch (error) {
    if (!(error instanceof TsbuildError)) throw error;
    throw new TsbuildError('EXPANSION_FAILED', `cannot expand ${JSON.stringify(text)}: ${error.message}`, {
      cause: error,
      ...(error.hint === undefined ? {} : { hint: error.hint }),
    });
  }
}

const EOF = '';
/** Most words have none of these, so there is nothing to do. */
const SPECIAL_ANYWHERE = /[$'"`\\]/;
const LETTER = /[\p{L}_]/u;
const NAME = /[\p{L}\p{Nd}_]/u;
const DIGIT = /\p{Nd}/u;
const SPECIAL = /[@*#?\-$!]/;
/** White space as Go's unicode.IsSpace has it. */
const BLANK = /[\t-\r \u0085\u00a0\p{Z}]/u;
const MARK_BLANKS = new Set([' ', '\t', '\r']);
const MAX_DEPTH = 100;
/** What variables may add to a text. `ENV A=$A$A`, forty times, would fill any memory; no program takes as much. */
const MAX_GROWTH = 1 << 20;

function fail(message: string, hint: string): TsbuildError {
  return new TsbuildError('EXPANSION_FAILED', message, { hint });
}

function notClosed(): TsbuildError {
  return fail('syntax error: the substitution is not closed', 'end it with "}"; the first blank ends a word');
}

function noQuote(kind: 'single' | 'double', escape: string): TsbuildError {
  return fail(
    `unexpected end of statement while looking for matching ${kind}-quote`,
    `close the quote, or write ${escape}${kind === 'single' ? "'" : '"'} for the character itself`,
  );
}

function tooLong(): TsbuildError {
  return fail(
    `variables make it longer by more than ${MAX_GROWTH} characters`,
    'copy what is large with COPY <<EOF, or compute it in a RUN',
  );
}

class Lexer {
  readonly #chars: readonly string[];
  readonly #options: ExpandOptions;
  #rawEscapes: boolean;
  #at = 0;
  #depth = 0;
  readonly #splits: boolean;
  readonly #words: string[] = [];
  #word = '';
  #growth = 0;

  /** `splits`: words are wanted. */
  constructor(text: string, options: ExpandOptions, splits: boolean) {
    this.#chars = [...text];
    this.#options = options;
    this.#splits = splits;
    this.#rawEscapes = options.rawEscapes === true;
  }

  words(): readonly string[] {
    this.#endWord();
    return this.#words;
  }

  #endWord(): void {
    if (this.#word !== '') this.#words.push(this.#word);
    this.#word = '';
  }

  #peek(): string {
    return this.#chars[this.#at] ?? EOF;
  }

  #next(): string {
    const char = this.#peek();
    this.#at += 1;
    return char;
  }

  /** Adds to the words; only what is neither quoted nor escaped can split them. */
  #add(text: string, splits: boolean): void {
    if (!this.#splits || this.#depth > 0) return;
    if (!splits) {
      this.#word += text;
      return;
    }
    for (const char of text)
      if (BLANK.test(char)) this.#endWord();
      else this.#word += char;
  }

  /** Expands up to `stop` (consumed), or to the end where it is empty. */
  until(stop: string, rawEscapes: boolean): string {
    const before = this.#rawEscapes;
    this.#rawEscapes = rawEscapes;
    try {
      return this.#run(stop);
    } finally {
      this.#rawEscapes = before;
    }
  }

  #run(stop: string): string {
    const { escape, keepQuotes } = this.#options;
    let result = '';
    while (this.#at < this.#chars.length) {
      const char = this.#peek();
      if (char === stop) {
        this.#next();
        return result;
      }
      if (char === '$') {
        const value = this.#dollar();
        this.#add(value, true);
        result += value;
      } else if (keepQuotes !== true && (char === "'" || char === '"')) {
        const value = char === "'" ? this.#single() : this.#double();
        this.#add(value, false);
        result += value;
      } else if (char === '<') {
        const value = this.#heredocMark();
        this.#add(value, false);
        result += value;
      } else if (char === escape) {
        this.#next();
        const shown = this.#rawEscapes ? char : '';
        this.#add(shown, false);
        const escaped = this.#next();
        this.#add(escaped, false);
        result += shown + escaped;
      } else {
        this.#next();
        this.#add(char, true);
        result += char;
      }
    }
    if (stop !== '')
      throw stop === '/' ? fail("missing '/' in ${}", 'write ${NAME/PATTERN/REPLACEMENT}') : notClosed();
    return result;
  }

  /** Blanks behind `<<` belong to the word, so `<< EOF` is one: a heredoc. */
  #heredocMark(): string {
    let mark = this.#next();
    if (this.#peek() !== '<') return mark;
    mark += this.#next();
    while (MARK_BLANKS.has(this.#peek())) mark += this.#next();
    return mark;
  }

  #single(): string {
    const quote = this.#next();
    const { escape } = this.#options;
    const shown = this.#options.rawQuotes === true ? quote : '';
    let result = shown;
    for (;;) {
      const char = this.#next();
      if (char === EOF) throw noQuote('single', escape);
      if (char === quote) return result + shown;
      result += char;
    }
  }

  #double(): string {
    const quote = this.#next();
    const shown = this.#options.rawQuotes === true ? quote : '';
    const { escape } = this.#options;
    let result = shown;
    for (;;) {
      const char = this.#peek();
      if (char === EOF) throw noQuote('double', escape);
      if (char === '$') {
        result += this.#dollar();
        continue;
      }
      this.#next();
      if (char === quote) return result + shown;
      if (char !== escape) {
        result += char;
        continue;
      }
      if (this.#rawEscapes) result += char;
      const next = this.#peek();
      if (next === EOF) continue;
      result += next === '"' || next === '$' || next === escape ? this.#next() : char;
    }
  }

  #dollar(): string {
    const value = this.#substitution();
    this.#growth += value.length;
    if (this.#growth > MAX_GROWTH) throw tooLong();
    return value;
  }

  #substitution(): string {
    this.#next();
    if (this.#peek() !== '{') {
      const name = this.#name();
      return name === '' ? '$' : (this.#lookup(name) ?? this.#unset(`$${name}`));
    }
    this.#next();
    if (this.#depth >= MAX_DEPTH)
      throw fail('substitutions are nested too deeply', 'set part of it in an ARG or ENV before');
    this.#depth += 1;
    try {
      return this.#braces();
    } finally {
      this.#depth -= 1;
    }
  }

  #lookup(name: string): string | undefined {
    const value = this.#options.lookup(name);
    if (value === undefined) this.#options.onUnset?.(name);
    else this.#options.onSet?.(name);
    return value;
  }

  /** What stands for a variable without a value. */
  #unset(written: string): string {
    return this.#options.keepUnset === true ? written : '';
  }

  #name(): string {
    let name = '';
    if (DIGIT.test(this.#peek())) while (DIGIT.test(this.#peek())) name += this.#next();
    else if (SPECIAL.test(this.#peek())) name = this.#next();
    else if (LETTER.test(this.#peek())) while (NAME.test(this.#peek())) name += this.#next();
    return name;
  }

  #braces(): string {
    const first = this.#peek();
    if (first === EOF || first === '{' || first === '}' || first === ':')
      throw fail('syntax error: bad substitution', 'write ${NAME}');
    const name = this.#name();
    const operator = this.#next();
    if (operator === '}') return this.#lookup(name) ?? this.#unset(`\${${name}}`);
    if (operator === '/') return this.#replace(name);
    const modifier = operator === ':' ? this.#next() : operator;
    const shown = operator === ':' ? `:${modifier}` : modifier;
    if (modifier === EOF) throw notClosed();
    if ('-+?'.includes(modifier)) return this.#default(name, modifier, shown);
    // why: a colon before # and % changes nothing; BuildKit takes it, so do we.
    if (modifier === '#' || modifier === '%') return this.#trim(name, modifier, shown);
    throw fail(
      `unsupported modifier (${shown}) in substitution`,
      'use one of :- - :+ + :? ? # ## % %% / //, or compute the value in a RUN',
    );
  }

  #default(name: string, modifier: string, shown: string): string {
    const word = this.until('}', false);
    const value = this.#lookup(name);
    if (value === undefined && this.#options.keepUnset === true) return `\${${name}${shown}${word}}`;
    const isEmpty = shown.startsWith(':') && value === '';
    if (modifier === '-') return value === undefined || isEmpty ? word : value;
    if (modifier === '+') return value === undefined || isEmpty ? '' : word;
    if (value !== undefined && !isEmpty) return value;
    throw fail(
      `${name}: ${word === '' ? `is not allowed to be ${value === undefined ? 'unset' : 'empty'}` : word}`,
      `give ${name} a value with ARG or ENV above, or with --build-arg`,
    );
  }

  #trim(name: string, modifier: string, shown: string): string {
    const written = this.until('}', true);
    const greedy = written.startsWith(modifier);
    const pattern = greedy ? written.slice(1) : written;
    const value = this.#lookup(name);
    if (value === undefined && this.#options.keepUnset === true) return `\${${name}${shown}${written}}`;
    const parsed = parsePattern(pattern);
    return modifier === '#' ? trimStart(value ?? '', parsed, greedy) : trimEnd(value ?? '', parsed, greedy);
  }

  #replace(name: string): string {
    const all = this.#peek() === '/';
    if (all) this.#next();
    const pattern = this.until('/', true);
    const replacement = this.until('}', true);
    const value = this.#lookup(name);
    if (value === undefined && this.#options.keepUnset === true)
      return `\${${name}/${all ? '/' : ''}${pattern}/${replacement}}`;
    const replaced = replaceMatches(value ?? '', parsePattern(pattern), replacement, {
      all,
      limit: MAX_GROWTH,
    });
    if (replaced === undefined) throw tooLong();
    return replaced;
  }
}

function trimStart(value: string, pattern: Pattern, greedy: boolean): string {
  const text = [...value];
  const end = matchEnd(pattern, text, 0, greedy);
  return end === undefined ? value : text.slice(end).join('');
}

function trimEnd(value: string, pattern: Pattern, greedy: boolean): string {
  const text = [...value].reverse();
  const end = matchEnd(reversePattern(pattern), text, 0, greedy);
  return end === undefined ? value : text.slice(end).reverse().join('');
}
