/** From raw instructions to typed ones. Throws INSTRUCTION_UNKNOWN, INSTRUCTION_INVALID, DOCKERFILE_SYNTAX. */
import { narrow, type SourceRef, type TsbuildError } from '../../src/base/errors.ts';
import { suggest } from '../../src/base/suggest.ts';
import {
  checkFlags,
  parseJsonForm,
  parsePairs,
  quotedSpans,
  refOfSpan,
  takeFlags,
  whitespaceWords,
  type Arguments,
  type FlagKind,
  type Span,
} from '../parse/arguments.ts';
import { parseDirectives } from '../parse/directives.ts';
import { parseHeredocWord, type RawInstruction } from '../parse/lines.ts';
import { refAt, syntaxError } from '../parse/source.ts';
import { parseHealthcheck } from './healthcheck.ts';
import { KEYWORDS, type Command, type Instruction } from './instruction.ts';

const COPY_FLAGS: Readonly<Record<string, FlagKind>> = {
  from: 'text',
  chown: 'text',
  chmod: 'text',
  link: 'boolean',
  parents: 'boolean',
  exclude: 'list',
};
const ADD_FLAGS: Readonly<Record<string, FlagKind>> = {
  chown: 'text',
  chmod: 'text',
  link: 'boolean',
  exclude: 'list',
  checksum: 'text',
  unpack: 'boolean',
  'keep-git-dir': 'boolean',
};
const RUN_FLAGS: Readonly<Record<string, FlagKind>> = { mount: 'list', network: 'text', security: 'text' };
const HEALTH_FLAGS: Readonly<Record<string, FlagKind>> = {
  interval: 'text',
  timeout: 'text',
  'start-period': 'text',
  'start-interval': 'text',
  retries: 'text',
};

const EXAMPLES: Readonly<Record<string, string>> = {
  WORKDIR: 'write e.g. WORKDIR /app',
  USER: 'write e.g. USER app, or USER 1000:1000',
  STOPSIGNAL: 'write e.g. STOPSIGNAL SIGTERM',
  MAINTAINER: 'write LABEL org.opencontainers.image.authors="…" instead',
};

export function parseInstruction(raw: RawInstruction, escape: string): Instruction {
  const args = takeFlags(raw, raw.restOffset);
  const { rest } = args;
  const flagsOf = (known: Readonly<Record<string, FlagKind>>): ReturnType<typeof checkFlags> =>
    checkFlags(raw, args.flags, known);
  switch (raw.keyword) {
    case 'FROM':
      return parseFrom(raw, args);
    case 'ARG':
      flagsOf({});
      return parseArg(raw, rest, escape);
    case 'ENV':
    case 'LABEL':
      flagsOf({});
      return parseEnv(raw, raw.keyword, rest, escape);
    case 'RUN':
      return {
        kind: 'RUN',
        raw,
        command: parseRunCommand(raw, rest),
        flags: flagsOf(RUN_FLAGS),
        heredocs: raw.heredocs,
      };
    case 'COPY':
    case 'ADD':
      return parseCopy(raw, args, raw.keyword);
    case 'CMD':
    case 'ENTRYPOINT':
      flagsOf({});
      return { kind: raw.keyword, raw, command: parseCommand(raw, rest) };
    case 'SHELL': {
      flagsOf({});
      const shell = parseJsonForm(raw, rest);
      if (shell === undefined)
        throw invalid(
          raw,
          'SHELL requires its arguments in JSON form',
          `write SHELL ["/bin/bash", "-c"]${rest.includes("'") ? ', with double quotes' : ''}`,
        );
      if (shell.length === 0)
        throw invalid(raw, 'SHELL needs at least one argument', 'write SHELL ["/bin/bash", "-c"]');
      return { kind: 'SHELL', raw, args: shell };
    }
    case 'WORKDIR':
    case 'USER':
    case 'STOPSIGNAL':
    case 'MAINTAINER':
      flagsOf({});
      if (rest === '') throw invalid(raw, `${raw.keyword} needs an argument`, EXAMPLES[raw.keyword]);
      return { kind: raw.keyword, raw, text: rest };
    case 'EXPOSE':
      flagsOf({});
      if (rest === '') throw invalid(raw, 'EXPOSE needs at least one argument', 'write e.g. EXPOSE 8080');
      return { kind: 'EXPOSE', raw, words: whitespaceWords(rest) };
    case 'VOLUME': {
      flagsOf({});
      const words = parseJsonForm(raw, rest) ?? whitespaceWords(rest);
      if (words.length === 0)
        throw invalid(raw, 'VOLUME needs at least one argument', 'write e.g. VOLUME /data');
      return { kind: 'VOLUME', raw, words: words.map((word) => volumeOf(raw, word)) };
    }
    case 'HEALTHCHECK':
      return parseHealthcheck(raw, rest, flagsOf(HEALTH_FLAGS));
    case 'ONBUILD':
      return parseOnbuild(raw, args);
    default:
      throw unknownInstruction(raw);
  }
}

function volumeOf(raw: RawInstruction, word: string): string {
  const volume = word.trim();
  if (volume !== '') return volume;
  throw syntaxError(
    'INSTRUCTION_INVALID',
    'a VOLUME cannot be empty',
    narrow(refAt(raw), JSON.stringify(word)),
    'write the path of a directory',
  );
}

function invalid(raw: RawInstruction, message: string, hint?: string): TsbuildError {
  return syntaxError('INSTRUCTION_INVALID', message, refAt(raw), hint);
}

export function unknownInstruction(
  raw: RawInstruction,
  at: SourceRef = refAt(raw, 0, raw.keywordText.length),
): TsbuildError {
  const near = suggest(raw.keyword, KEYWORDS);
  return syntaxError(
    'INSTRUCTION_UNKNOWN',
    `unknown instruction ${JSON.stringify(raw.keywordText)}`,
    at,
    near === undefined ? otherHint(raw) : `did you mean ${near}?`,
  );
}

/** A word that is no keyword is often the rest of the line above. */
function otherHint({ keywordText, range, source }: RawInstruction): string {
  if (range.startLine > 1 && (range.startColumn > 1 || !/^[A-Z]/.test(keywordText))) {
    const mark = parseDirectives(source, source.text.split(/\r?\n/)).directives.escape;
    return `end the line above with ${mark} if this belongs to it`;
  }
  return `use one of ${KEYWORDS.join(', ')}`;
}

function parseFrom(raw: RawInstruction, args: Arguments): Instruction {
  const flags = checkFlags(raw, args.flags, { platform: 'text' });
  const platform = flags.text('platform');
  const words = whitespaceWords(args.rest);
  const [image, as, name] = words;
  if (image === undefined)
    throw invalid(raw, 'FROM needs an image', 'write FROM IMAGE, or FROM IMAGE AS NAME');
  if (words.length !== 1 && !(words.length === 3 && as?.toUpperCase() === 'AS')) throw fromWords(raw, words);
  if (name !== undefined && !/^[a-z][a-z0-9-_.]*$/.test(name.toLowerCase()))
    throw syntaxError(
      'STAGE_INVALID',
      `invalid name for a build stage: ${JSON.stringify(name)}`,
      narrow(refAt(raw), name),
      'begin it with a letter; use letters, digits, "-", "_" and "." only',
    );
  return {
    kind: 'FROM',
    raw,
    image,
    ...(platform === undefined ? {} : { platform, platformAt: flags.at('platform') }),
    ...(name === undefined ? {} : { name: name.toLowerCase() }),
  };
}

/** FROM takes one word or three. */
function fromWords(raw: RawInstruction, words: readonly string[]): TsbuildError {
  const [image = '', as = '', name] = words;
  const fail = (message: string, word: string, hint: string): TsbuildError =>
    syntaxError('INSTRUCTION_INVALID', message, narrow(refAt(raw), word), hint);
  if (/\$\{[^}]*$/.test(image))
    return fail(
      `the image of FROM ends at the first blank: ${JSON.stringify(image)}`,
      image,
      'write ${…} without blanks, or give the ARG a value before FROM',
    );
  if (as.toUpperCase() !== 'AS')
    return fail(
      `unexpected ${JSON.stringify(as)} after the image of FROM`,
      as,
      words.length === 2 ? `write FROM ${image} AS ${as} to name the stage` : 'write FROM IMAGE AS NAME',
    );
  if (name === undefined) return fail('there is no name after AS', as, `write FROM ${image} AS NAME`);
  const more = words[3] ?? '';
  return fail(
    `unexpected ${JSON.stringify(more)} after the name of the stage`,
    more,
    'write FROM IMAGE AS NAME',
  );
}

function parseEnv(raw: RawInstruction, kind: 'ENV' | 'LABEL', rest: string, escape: string): Instruction {
  const { pairs, legacy } = parsePairs(raw, rest, escape);
  for (const { name, span } of pairs) if (name === '') throw blankName(raw, kind, rest, span);
  return { kind, raw, pairs, legacy };
}

function blankName(raw: RawInstruction, kind: string, rest: string, span: Span | undefined): TsbuildError {
  return syntaxError(
    'INSTRUCTION_INVALID',
    `${kind} names cannot be blank`,
    span === undefined ? refAt(raw) : refOfSpan(raw, rest, span),
    'write NAME=VALUE, without blanks around =',
  );
}

function parseArg(raw: RawInstruction, rest: string, escape: string): Instruction {
  const words = quotedSpans(rest, escape);
  if (words.length === 0)
    throw invalid(raw, 'ARG needs at least one argument', 'write ARG NAME, or ARG NAME=DEFAULT');
  const args = words.map((span) => {
    const { text: word } = span;
    const equals = word.indexOf('=');
    if (equals === 0) throw blankName(raw, 'ARG', rest, span);
    return equals < 0 ? { name: word } : { name: word.slice(0, equals), value: word.slice(equals + 1) };
  });
  return { kind: 'ARG', raw, args };
}

export function parseCommand(raw: RawInstruction, rest: string): Command {
  const args = parseJsonForm(raw, rest);
  return args === undefined ? { form: 'shell', text: rest } : { form: 'exec', args };
}

function parseRunCommand(raw: RawInstruction, rest: string): Command {
  const command = parseCommand(raw, rest);
  const isEmpty = command.form === 'exec' ? command.args.length === 0 : command.text === '';
  if (isEmpty) throw invalid(raw, 'RUN needs a command', 'write RUN COMMAND, or RUN ["PROGRAM", "ARGUMENT"]');
  return command;
}

function parseCopy(raw: RawInstruction, args: Arguments, kind: 'COPY' | 'ADD'): Instruction {
  const flags = checkFlags(raw, args.flags, kind === 'COPY' ? COPY_FLAGS : ADD_FLAGS);
  const words = parseJsonForm(raw, args.rest) ?? whitespaceWords(args.rest);
  const destination = words.at(-1);
  if (destination === undefined || words.length < 2)
    throw invalid(
      raw,
      `${kind} requires at least two arguments${words.length === 1 ? ', but only one was given: the destination is missing' : ''}`,
      `write ${kind} SOURCE DESTINATION`,
    );
  if (raw.heredocs.length > 0 && parseHeredocWord(destination) !== undefined)
    throw syntaxError(
      'INSTRUCTION_INVALID',
      `${kind} cannot have a heredoc as destination`,
      narrow(refAt(raw), destination),
      'add the path of a file or directory',
    );
  return { kind, raw, sources: words.slice(0, -1), destination, flags, heredocs: raw.heredocs };
}

function parseOnbuild(raw: RawInstruction, { rest, restOffset }: Arguments): Instruction {
  const keywordText = /^\S*/.exec(rest)?.[0] ?? '';
  const keyword = keywordText.toUpperCase();
  const at = refAt(raw, restOffset, restOffset + keywordText.length);
  const fail = (message: string, hint: string): TsbuildError =>
    syntaxError('INSTRUCTION_INVALID', message, at, hint);
  if (keyword === '') throw fail('ONBUILD needs an instruction', 'write e.g. ONBUILD RUN make');
  if (keyword === 'ONBUILD') throw fail('ONBUILD cannot trigger another ONBUILD', 'leave one of the two out');
  if (keyword === 'FROM' || keyword === 'MAINTAINER')
    throw fail(`${keyword} is not allowed as an ONBUILD trigger`, 'leave it out');
  if (!KEYWORDS.includes(keyword)) throw unknownInstruction({ ...raw, keyword, keywordText }, at);
  // Bodies begin below the line on which the instruction itself ends.
  const { startLine, endLine } = raw.range;
  const body = raw.original.split('\n').slice(endLine - startLine + 1);
  return { kind: 'ONBUILD', raw, text: raw.heredocs.length > 0 ? [rest, ...body].join('\n') : rest };
}
