/**
 * `tsbuild debug parse|expand|ignore`: the frontend's parts on JSON, for tests and for questions about corners.
 *
 * One request object on standard input gives one answer on standard output, an array of them an array; the shapes
 * are in docs/debug.md. What a request does wrong is part of its answer.
 */
import { isTsbuildError, TsbuildError, type SourceRange } from '../../base/errors.ts';
import type { Json } from '../../base/json.ts';
import { createIgnoreMatcher, parseIgnoreFile } from '../../layer/ignore-patterns.ts';
import { expandWord, expandWords, type ExpandOptions } from '../../../frontend/expand/expand.ts';
import { checkInstruction } from '../../../frontend/instructions/check-instruction.ts';
import { parseInstruction } from '../../../frontend/instructions/parse-instruction.ts';
import { dumpInstruction, dumpText } from '../../../frontend/parse/dump.ts';
import { parseLines } from '../../../frontend/parse/lines.ts';
import type { ParsedFlags } from '../flags.ts';
import type { Session } from '../session.ts';
import { readInput } from './read-input.ts';

type Fields = Readonly<Record<string, Json>>;

const MAX_INPUT = 64 << 20;

export async function runDebug(flags: ParsedFlags, session: Session): Promise<number> {
  const [what = ''] = flags.words;
  const answer = { parse: debugParse, expand: debugExpand, ignore: debugIgnore }[what];
  if (answer === undefined)
    throw new TsbuildError('USAGE', `unknown debug command ${JSON.stringify(what)}`, {
      hint: 'use parse, expand or ignore',
    });
  const text = (await readInput(session.stdin, MAX_INPUT)).toString('utf8');
  const request = parseRequest(text);
  const answers = Array.isArray(request)
    ? request.map((each) => answer(fieldsOf(each)))
    : answer(fieldsOf(request));
  session.stdout.write(`${JSON.stringify(answers, null, 2)}\n`);
  return 0;
}

function parseRequest(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new TsbuildError('USAGE', 'standard input is not JSON', {
      cause: error,
      hint: 'see docs/debug.md for the shapes',
    });
  }
}

function fieldsOf(value: unknown): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields;
  throw new TsbuildError('USAGE', 'a request is a JSON object', { hint: 'see docs/debug.md for the shapes' });
}

function text(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value === 'string') return value;
  throw new TsbuildError('USAGE', `the request needs a text ${JSON.stringify(name)}`, {
    hint: 'see docs/debug.md for the shapes',
  });
}

interface Failure {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
  readonly range?: SourceRange;
}

function failureOf(error: unknown): Failure {
  if (!isTsbuildError(error)) throw error;
  const { code, message, hint, source } = error;
  return {
    code,
    message,
    ...(hint === undefined ? {} : { hint }),
    ...(source === undefined ? {} : { range: source.range }),
  };
}

function debugParse(fields: Fields): object {
  const file = typeof fields['file'] === 'string' ? fields['file'] : 'Dockerfile';
  try {
    const parsed = parseLines({ file, text: text(fields, 'dockerfile') });
    const { directives, warnings } = parsed;
    const instructions = parsed.instructions.map((raw) => dumpInstruction(raw, directives.escape));
    const invalid = firstInvalid(parsed);
    return {
      ok: true,
      directives,
      instructions,
      dump: dumpText(instructions, fields['separators'] !== false),
      warnings: warnings.map(({ rule, message, source }) => ({ rule, message, range: source.range })),
      ...(invalid === undefined ? {} : { invalid }),
    };
  } catch (error) {
    return { ok: false, error: failureOf(error) };
  }
}

/** The first instruction that parses and makes no sense. */
function firstInvalid({ instructions, directives }: ReturnType<typeof parseLines>): Failure | undefined {
  try {
    for (const raw of instructions) checkInstruction(parseInstruction(raw, directives.escape));
    return undefined;
  } catch (error) {
    return failureOf(error);
  }
}

function debugExpand(fields: Fields): object {
  const env = environmentOf(fields['env']);
  const [matched, unmatched] = [new Set<string>(), new Set<string>()];
  const options: ExpandOptions = {
    escape: typeof fields['escape'] === 'string' ? fields['escape'] : '\\',
    lookup: (name) => env.get(name),
    onSet: (name) => matched.add(name),
    onUnset: (name) => unmatched.add(name),
    keepQuotes: fields['keepQuotes'] === true,
    rawQuotes: fields['rawQuotes'] === true,
    rawEscapes: fields['rawEscapes'] === true,
    keepUnset: fields['keepUnset'] === true,
  };
  const word = text(fields, 'word');
  try {
    const result = expandWord(word, options);
    const words = expandWords(word, options);
    return { ok: true, result, words, matched: [...matched].sort(), unmatched: [...unmatched].sort() };
  } catch (error) {
    return { ok: false, error: failureOf(error) };
  }
}

/** `{NAME: value}` or `["NAME=value", …]`, where the last of two equal names counts. */
function environmentOf(value: Json | undefined): ReadonlyMap<string, string> {
  const env = new Map<string, string>();
  if (Array.isArray(value))
    for (const pair of listOf(value)) {
      const equals = pair.indexOf('=');
      env.set(equals < 0 ? pair : pair.slice(0, equals), equals < 0 ? '' : pair.slice(equals + 1));
    }
  else if (typeof value === 'object' && value !== null)
    for (const [name, content] of Object.entries(value)) env.set(name, textOf(content ?? null));
  return env;
}

function debugIgnore(fields: Fields): object {
  const patterns =
    typeof fields['file'] === 'string' ? parseIgnoreFile(fields['file']) : listOf(fields['patterns']);
  try {
    const matcher = createIgnoreMatcher(patterns);
    const results = listOf(fields['paths']).map((path) => ({ path, ignored: matcher.excludes(path) }));
    return { ok: true, patterns, results };
  } catch (error) {
    return { ok: false, patterns, error: failureOf(error) };
  }
}

function listOf(value: Json | undefined): readonly string[] {
  return Array.isArray(value) ? (value as readonly Json[]).map(textOf) : [];
}

function textOf(value: Json): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
