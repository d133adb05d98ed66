/** From raw instructions to typed ones. Throws INSTRUCTION_UNKNOWN, INSTRUCTION_INVALID, DOCKERFILE_SYNTAX. */
import type { SourceRef, TsbuildError } from '../../src/base/errors.ts';
import { suggest } from '../../src/base/suggest.ts';
import {
  checkFlags,
  parseJsonForm,
  parsePairs,
  quotedWords,
  takeFlags,
  whitespaceWords,
  type Arguments,
  type FlagKind,
} from '../parse/arguments.ts';
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
        throw invalid(raw, 'SHELL requires its arguments in JSON form', 'write SHELL ["/bin/bash", "-c"]');
      if (shell.length === 0) throw invalid(raw, 'SHELL needs at least one argument');
      return { kind: 'SHELL', raw, args: shell };
    }
    case 'WORKDIR':
    case 'USER':
    case 'STOPSIGNAL':
    case 'MAINTAINER':
      flagsOf({});
      if (rest === '') throw invalid(raw, `${raw.keyword} needs exactly one argument`);
      return { kind: raw.keyword, raw, text: rest };
    case 'EXPOSE':
      flagsOf({});
      if (rest === '') throw invalid(raw, 'EXPOSE needs at least one argument');
      return { kind: 'EXPOSE', raw, words: whitespaceWords(rest) };
    case 'VOLUME': {
      flagsOf({});
      const words = parseJsonForm(raw, rest) ?? whitespaceWords(rest);
      if (words.length === 0) throw invalid(raw, 'VOLUME needs at least one argument');
      return { kind: 'VOLUME', raw, words };
    }
    case 'HEALTHCHECK':
      return parseHealthcheck(raw, rest, flagsOf(HEALTH_FLAGS));
    case 'ONBUILD':
      return parseOnbuild(raw, rest);
    default:
      throw unknownInstruction(raw);
  }
}

function invalid(raw: RawInstruction, message: string, hint?: string): TsbuildError {
  return syntaxError('INSTRUCTION_INVALID', message, refAt(raw), hint);
}

export function unknownInstruction(raw: RawInstruction): TsbuildError {
  const near = suggest(raw.keyword, KEYWORDS);
  const at: SourceRef = refAt(raw, 0, raw.keywordText.length);
  return syntaxError(
    'INSTRUCTION_UNKNOWN',
    `unknown instruction ${JSON.stringify(raw.keywordText)}`,
    at,
    near === undefined ? undefined : `did you mean ${near}?`,
  );
}

function parseFrom(raw: RawInstruction, args: Arguments): Instruction {
  const platform = checkFlags(raw, args.flags, { platform: 'text' }).text('platform');
  const words = whitespaceWords(args.rest);
  const [image, as, name] = words;
  if (image === undefined || (words.length !== 1 && !(words.length === 3 && as?.toUpperCase() === 'AS')))
    throw invalid(
      raw,
      'FROM requires either one or three arguments',
      'write FROM image, or FROM image AS name',
    );
  if (name !== undefined && !/^[a-z][a-z0-9-_.]*$/.test(name.toLowerCase()))
    throw syntaxError(
      'STAGE_INVALID',
      `invalid name for a build stage: ${JSON.stringify(name)}`,
      refAt(raw),
      'begin it with a letter; use letters, digits, "-", "_" and "." only',
    );
  return {
    kind: 'FROM',
    raw,
    image,
    ...(platform === undefined ? {} : { platform }),
    ...(name === undefined ? {} : { name: name.toLowerCase() }),
  };
}

function parseEnv(raw: RawInstruction, kind: 'ENV' | 'LABEL', rest: string, escape: string): Instruction {
  const { pairs, legacy } = parsePairs(raw, rest, escape);
  if (pairs.some((pair) => pair.name === '')) throw invalid(raw, `${kind} names can not be blank`);
  return { kind, raw, pairs, legacy };
}

function parseArg(raw: RawInstruction, rest: string, escape: string): Instruction {
  const words = quotedWords(rest, escape);
  if (words.length === 0) throw invalid(raw, 'ARG needs at least one argument');
  const args = words.map((word) => {
    const equals = word.indexOf('=');
    if (equals === 0) throw invalid(raw, 'ARG names can not be blank');
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
  if (isEmpty) throw invalid(raw, 'RUN needs a command');
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
    throw invalid(raw, `${kind} cannot have a heredoc as destination`);
  return { kind, raw, sources: words.slice(0, -1), destination, flags, heredocs: raw.heredocs };
}

function parseOnbuild(raw: RawInstruction, rest: string): Instruction {
  const keyword = /^\S*/.exec(rest)?.[0].toUpperCase() ?? '';
  if (keyword === '') throw invalid(raw, 'ONBUILD needs an instruction');
  if (keyword === 'ONBUILD') throw invalid(raw, 'ONBUILD cannot trigger another ONBUILD');
  if (keyword === 'FROM' || keyword === 'MAINTAINER')
    throw invalid(raw, `${keyword} is not allowed as an ONBUILD trigger`);
  if (!KEYWORDS.includes(keyword)) throw unknownInstruction({ ...raw, keyword, keywordText: keyword });
  // Bodies begin below the line on which the instruction itself ends.
  const { startLine, endLine } = raw.range;
  const body = raw.original.split('\n').slice(endLine - startLine + 1);
  return { kind: 'ONBUILD', raw, text: raw.heredocs.length > 0 ? [rest, ...body].join('\n') : rest };
}
