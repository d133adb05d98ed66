/**
 * Arguments of the OCI command line: one or two dashes before a name, `=` or the next word for a value, short names
 * together with their value (`-b/bundle`).
 */
import { TsbuildError } from '../../base/errors.ts';

export interface OptionSpec {
  readonly name: string;
  readonly short?: string;
  /** A flag takes no value; `optional` takes one after `=` alone. */
  readonly value: 'none' | 'required' | 'optional';
  readonly help: string;
}

export interface Arguments {
  readonly words: readonly string[];
  has(name: string): boolean;
  /** The last one given. */
  text(name: string): string | undefined;
  list(name: string): readonly string[];
  number(name: string): number | undefined;
}

/**
 * `stop`: options end at the first word (global ones, and those of `exec`, whose words are somebody else's).
 * Throws USAGE.
 */
export function parseArguments(
  argv: readonly string[],
  options: readonly OptionSpec[],
  { stop }: { readonly stop: boolean },
): { readonly parsed: Arguments; readonly rest: readonly string[] } {
  const words: string[] = [];
  const values = new Map<string, string[]>();
  let at = 0;
  for (; at < argv.length; at += 1) {
    const word = argv[at] ?? '';
    if (word === '--') {
      at += 1;
      break;
    }
    if (!/^-{1,2}[^-]/.test(word) || /^-\d/.test(word)) {
      if (stop) break;
      words.push(word);
      continue;
    }
    const { option, value, implied } = recognise(word, options);
    let text = value;
    if (text === undefined && option.value === 'required') {
      at += 1;
      text = argv[at];
      if (text === undefined) throw new TsbuildError('USAGE', `flag needs an argument: ${word}`);
    }
    values.set(option.name, [...(values.get(option.name) ?? []), text ?? implied]);
  }
  const rest = argv.slice(at);
  return { parsed: argumentsOf(stop ? [] : [...words, ...rest], values), rest };
}

function recognise(
  word: string,
  options: readonly OptionSpec[],
): { readonly option: OptionSpec; readonly value: string | undefined; readonly implied: string } {
  const [, name = '', value] = /^--?([^=]+)(?:=(.*))?$/s.exec(word) ?? [];
  const option = options.find((each) => each.name === name || each.short === name);
  if (option !== undefined) return { option, value, implied: 'true' };
  // `-uroot`, `-it`
  const short = word.startsWith('--') ? undefined : options.find((each) => each.short === word[1]);
  if (short?.value === 'required') return { option: short, value: word.slice(2), implied: '' };
  throw new TsbuildError('USAGE', `flag provided but not defined: ${word}`);
}

function argumentsOf(words: readonly string[], values: ReadonlyMap<string, readonly string[]>): Arguments {
  const text = (name: string): string | undefined => values.get(name)?.at(-1);
  return {
    words,
    has: (name) => values.has(name) && text(name) !== 'false',
    text,
    list: (name) => values.get(name) ?? [],
    number(name) {
      const given = text(name);
      if (given === undefined) return undefined;
      const number = Number(given);
      if (given.trim() !== '' && Number.isInteger(number)) return number;
      throw new TsbuildError('USAGE', `invalid value ${JSON.stringify(given)} for --${name}`);
    },
  };
}
