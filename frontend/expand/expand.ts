/**
 * Word expansion: quotes, escapes and `${…}` with the operators of the Dockerfile reference.
 *
 * `- + ?` with and without `:`, `# ## % %%` and `/ //` with the patterns `*` and `?`. The word part of an operator
 * is itself expanded. Nothing is ever executed, and no input makes this throw anything but EXPANSION_FAILED.
 */
import { TsbuildError } from '../../src/base/errors.ts';
import { compilePattern } from './pattern.ts';

export interface ExpandOptions {
  readonly escape: string;
  /** Value of a variable; undefined: unset. */
  readonly lookup: (name: string) => string | undefined;
  /** Quotes are ordinary characters (heredoc bodies). */
  readonly keepQuotes?: boolean;
  /** Told of variables that are used and unset. */
  readonly onUnset?: (name: string) => void;
}

/** The whole text as one word. */
export function expandWord(text: string, options: ExpandOptions): string {
  return run(text, options).result;
}

/** The text as words, split at unquoted white space, also where that came from a variable. */
export function expandWords(text: string, options: ExpandOptions): readonly string[] {
  return run(text, options).words;
}

interface Expanded {
  readonly result: string;
  readonly words: readonly string[];
}

function run(text: string, options: ExpandOptions): Expanded {
  const lexer = new Lexer(text, options);
  try {
    const result = lexer.until('', false);
    return { result, words: lexer.words() };
  } catch (error) {
    if (!(error instanceof TsbuildError)) throw error;
    throw new TsbuildError('EXPANSION_FAILED', `cannot expand ${JSON.stringify(text)}: ${error.message}`, {
      cause: error,
    });
  }
}

const EOF = '';
const NAME_START = /[A-Za-z_]/;
const NAME = /[A-Za-z0-9_]/;
const DIGIT = /[0-9]/;
const SPECIAL = /[@*#?\-$!]/;
const BLANK = /\s/;

function fail(message: string): TsbuildError {
  return new TsbuildError('EXPANSION_FAILED', message);
}

class Lexer {
  readonly #chars: readonly string[];
  readonly #options: ExpandOptions;
  #at = 0;
  #depth = 0;
  readonly #words: string[] = [];
  #word = '';
  #inWord = false;

  constructor(text: string, options: ExpandOptions) {
    this.#chars = [...text];
    this.#options = options;
  }

  words(): readonly string[] {
    if (this.#inWord) this.#words.push(this.#word);
    this.#inWord = false;
    return this.#words;
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
    if (this.#depth > 0) return;
    for (const char of splits ? text : [text]) {
      if (splits && BLANK.test(char)) {
        if (this.#inWord) this.#words.push(this.#word);
        [this.#word, this.#inWord] = ['', false];
      } else {
        this.#word += char;
        this.#inWord = true;
      }
    }
  }

  /** Expands up to `stop` (consumed), or to the end where it is empty. */
  until(stop: string, rawEscapes: boolean): string {
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
      } else if (this.#options.keepQuotes !== true && (char === "'" || char === '"')) {
        const value = char === "'" ? this.#single() : this.#double();
        this.#add(value, false);
        result += value;
      } else {
        this.#next();
        if (char === this.#options.escape) {
          if (rawEscapes) result += char;
          const escaped = this.#next();
          if (escaped === EOF) break;
          this.#add(escaped, false);
          result += escaped;
        } else {
          this.#add(char, true);
          result += char;
        }
      }
    }
    if (stop !== '')
      throw fail(stop === '/' ? "missing '/' in ${}" : `missing ${JSON.stringify(stop)} in substitution`);
    return result;
  }

  #single(): string {
    this.#next();
    let result = '';
    for (;;) {
      const char = this.#next();
      if (char === EOF) throw fail('unexpected end of statement while looking for matching single-quote');
      if (char === "'") return result;
      result += char;
    }
  }

  #double(): string {
    this.#next();
    let result = '';
    for (;;) {
      const char = this.#peek();
      if (char === EOF) throw fail('unexpected end of statement while looking for matching double-quote');
      if (char === '$') {
        result += this.#dollar();
        continue;
      }
      this.#next();
      if (char === '"') return result;
      if (char !== this.#options.escape) {
        result += char;
        continue;
      }
      const next = this.#peek();
      result += next === '"' || next === '$' || next === this.#options.escape ? this.#next() : char;
    }
  }

  #dollar(): string {
    this.#next();
    if (this.#peek() !== '{') {
      const name = this.#name();
      return name === '' ? '$' : this.#value(name);
    }
    this.#next();
    if (this.#depth > 100) throw fail('substitutions are nested too deeply');
    this.#depth += 1;
    try {
      return this.#braces();
    } finally {
      this.#depth -= 1;
    }
  }

  #value(name: string): string {
    const value = this.#options.lookup(name);
    if (value === undefined) this.#options.onUnset?.(name);
    return value ?? '';
  }

  #name(): string {
    let name = '';
    if (NAME_START.test(this.#peek())) while (NAME.test(this.#peek())) name += this.#next();
    else if (DIGIT.test(this.#peek())) while (DIGIT.test(this.#peek())) name += this.#next();
    else if (SPECIAL.test(this.#peek())) name = this.#next();
    return name;
  }

  #braces(): string {
    const first = this.#peek();
    if (first === EOF || first === '{' || first === '}' || first === ':')
      throw fail('syntax error: bad substitution');
    const name = this.#name();
    const operator = this.#next();
    if (operator === '}') return this.#value(name);
    if (operator === '/') return this.#replace(name);
    const colon = operator === ':';
    const modifier = colon ? this.#next() : operator;
    if (modifier === EOF) throw fail('syntax error: the substitution is not closed');
    if ('-+?'.includes(modifier)) return this.#default(name, modifier, colon);
    if (!colon && (modifier === '#' || modifier === '%')) return this.#trim(name, modifier);
    throw fail(`unsupported modifier (${colon ? ':' : ''}${modifier}) in substitution`);
  }

  #default(name: string, modifier: string, nullIsUnset: boolean): string {
    const word = this.until('}', false);
    const value = this.#options.lookup(name);
    const isSet = value !== undefined && !(nullIsUnset && value === '');
    if (modifier === '-') return isSet ? value : word;
    if (modifier === '+') return isSet ? word : '';
    if (isSet) return value;
    throw fail(
      `${name}: ${word === '' ? `is not allowed to be ${nullIsUnset ? 'unset or empty' : 'unset'}` : word}`,
    );
  }

  #trim(name: string, modifier: string): string {
    const greedy = this.#peek() === modifier;
    if (greedy) this.#next();
    const pattern = this.until('}', true);
    const value = this.#value(name);
    return modifier === '#' ? trimStart(value, pattern, greedy) : trimEnd(value, pattern, greedy);
  }

  #replace(name: string): string {
    const all = this.#peek() === '/';
    if (all) this.#next();
    const pattern = this.until('/', true);
    const replacement = this.until('}', true);
    const expression = new RegExp(compilePattern(pattern, true), all ? 'gs' : 's');
    const plain = replacement.replace(/\\([\\/])/g, '$1');
    const value = this.#value(name);
    return pattern === '' ? value : value.replace(expression, () => plain);
  }
}

function trimStart(value: string, pattern: string, greedy: boolean): string {
  const match = new RegExp(`^(?:${compilePattern(pattern, greedy)})`, 's').exec(value);
  return match === null ? value : value.slice(match[0].length);
}

/** The shortest (or longest) end that matches: a pattern's own laziness would only look from the left. */
function trimEnd(value: string, pattern: string, greedy: boolean): string {
  const expression = new RegExp(`^(?:${compilePattern(pattern, true)})$`, 's');
  const starts = Array.from({ length: value.length + 1 }, (_, index) =>
    greedy ? index : value.length - index,
  );
  const start = starts.find((index) => expression.test(value.slice(index)));
  return start === undefined ? value : value.slice(0, start);
}
