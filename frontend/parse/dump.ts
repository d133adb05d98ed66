/**
 * A parsed Dockerfile as data and as text: what `tsbuild debug parse` shows.
 *
 * The text has the form in which BuildKit's parser prints its tree: one `(keyword "argument" …)` per instruction,
 * flags in brackets, ONBUILD with its instruction inside. Instructions that nobody knows have no arguments.
 */
import { goQuote } from '../go-quote.ts';
import { KEYWORDS } from '../instructions/instruction.ts';
import {
  parseJsonForm,
  parsePairs,
  quotedWords,
  takeFlags,
  whitespaceWords,
  type Flag,
} from './arguments.ts';
import type { Heredoc, RawInstruction } from './lines.ts';

export interface DumpedInstruction {
  readonly keyword: string;
  readonly startLine: number;
  /** Heredoc bodies included. */
  readonly endLine: number;
  /** `--name=value`, without quotes. */
  readonly flags: readonly string[];
  /** Words, as the instruction's own form splits them; ENV and LABEL: name, value and `=` (or '') in turn. */
  readonly arguments: readonly string[];
  readonly json: boolean;
  readonly heredocs: readonly Heredoc[];
  readonly comments: readonly string[];
  /** The joined text. */
  readonly text: string;
  /** ONBUILD: what it triggers. */
  readonly trigger?: DumpedInstruction;
}

/** Throws DOCKERFILE_SYNTAX where the arguments cannot be split. */
export function dumpInstruction(raw: RawInstruction, escape: string): DumpedInstruction {
  const { flags, rest, restOffset } = takeFlags(raw, raw.restOffset);
  const common = {
    keyword: raw.keyword,
    startLine: raw.range.startLine,
    endLine: raw.lastLine,
    flags: flags.map(flagText),
    heredocs: raw.heredocs,
    comments: raw.comments,
    text: raw.text,
  };
  if (raw.keyword === 'ONBUILD' && rest !== '') {
    const inner = /^(\S+)\s*/.exec(rest);
    const keywordText = inner?.[1] ?? '';
    const trigger = dumpInstruction(
      {
        ...raw,
        keyword: keywordText.toUpperCase(),
        keywordText,
        restOffset: restOffset + (inner?.[0].length ?? 0),
      },
      escape,
    );
    return { ...common, arguments: [], json: false, trigger };
  }
  return { ...common, ...splitArguments(raw, rest, escape) };
}

function flagText({ name, value }: Flag): string {
  return value === undefined ? `--${name}` : `--${name}=${value}`;
}

function splitArguments(
  raw: RawInstruction,
  rest: string,
  escape: string,
): Pick<DumpedInstruction, 'arguments' | 'json'> {
  const plain = (words: readonly string[]): Pick<DumpedInstruction, 'arguments' | 'json'> => ({
    arguments: words,
    json: false,
  });
  const maybeJson = (
    text: string,
    otherwise: () => readonly string[],
  ): Pick<DumpedInstruction, 'arguments' | 'json'> => {
    const words = parseJsonForm(raw, text);
    return words === undefined ? plain(otherwise()) : { arguments: words, json: true };
  };
  const whole = (text: string) => (): readonly string[] => (text === '' ? [] : [text]);
  if (!KEYWORDS.includes(raw.keyword)) return plain(['']);
  switch (raw.keyword) {
    case 'ENV':
    case 'LABEL': {
      if (quotedWords(rest, escape).length === 0) return plain([]);
      const { pairs, legacy } = parsePairs(raw, rest, escape);
      return plain(pairs.flatMap(({ name, value }) => [name, value, legacy ? '' : '=']));
    }
    case 'ARG':
      return plain(quotedWords(rest, escape));
    case 'EXPOSE':
    case 'FROM':
      return plain(whitespaceWords(rest));
    case 'ADD':
    case 'COPY':
    case 'VOLUME':
      return maybeJson(rest, () => whitespaceWords(rest));
    case 'CMD':
    case 'ENTRYPOINT':
    case 'RUN':
    case 'SHELL':
      return maybeJson(rest, whole(rest));
    case 'HEALTHCHECK': {
      const type = /^\S*/.exec(rest)?.[0] ?? '';
      const command = rest.slice(type.length).trimStart();
      if (type === '') return plain([]);
      const { arguments: words, json } = maybeJson(command, whole(command));
      return { arguments: [type, ...words], json };
    }
    default:
      return plain(rest === '' ? [] : [rest]);
  }
}

/** The tree as text, one instruction a line. `separators`: with the `=` between names and values, as a word. */
export function dumpText(instructions: readonly DumpedInstruction[], separators = true): string {
  return instructions.map((instruction) => `(${textOf(instruction, separators)})`).join('\n');
}

function textOf(instruction: DumpedInstruction, separators: boolean): string {
  const { keyword, flags, trigger } = instruction;
  const hasSeparators = keyword === 'ENV' || keyword === 'LABEL';
  const words = instruction.arguments.filter((_, index) => separators || !hasSeparators || index % 3 !== 2);
  const shown = [
    keyword.toLowerCase(),
    ...(flags.length === 0 ? [] : [`[${flags.map(goQuote).join(' ')}]`]),
    ...(trigger === undefined ? [] : [`(${textOf(trigger, separators)})`]),
    ...words.map(goQuote),
  ];
  return shown.join(' ');
}
