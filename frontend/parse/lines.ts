/**
 * From the text of a Dockerfile to raw instructions: directives, comments, continuations, heredocs.
 *
 * An instruction's joined text is its lines with nothing between them; comments and blank lines inside a
 * continuation vanish. Behaviour follows BuildKit's Dockerfile frontend (Dockerfile reference, "Format").
 */
import type { SourceRef } from '../../src/base/errors.ts';
import type { FrontendWarning } from '../../src/graph/graph.ts';
import { expandWords } from '../expand/expand.ts';
import { parseDirectives, type Directives } from './directives.ts';
import {
  lineRef,
  refAt,
  syntaxError,
  trimEndOf,
  type LocatedText,
  type Segment,
  type SourceFile,
} from './source.ts';

const MAX_LINE_BYTES = 65535;
const HEREDOC = /^(\d*)<<(-?)\s*([^<]*)$/;
const HEREDOC_KEYWORDS = new Set(['ADD', 'COPY', 'RUN']);

export interface Heredoc {
  /** Delimiter without quotes; also the name of a copied file. */
  readonly name: string;
  /** Unquoted delimiter: variables in the body are expanded. */
  readonly expand: boolean;
  readonly fd: string;
  /** `<<-`: tabs at the beginning of lines do not count. */
  readonly chomp: boolean;
  /** Lines as written, their ends included. */
  readonly content: string;
}

/** A heredoc's content as its reader shall see it. */
export function heredocText({ chomp, content }: Pick<Heredoc, 'chomp' | 'content'>): string {
  return chomp ? content.replace(/^\t+/gm, '') : content;
}

export interface RawInstruction extends LocatedText {
  /** Upper-case. */
  readonly keyword: string;
  /** As written. */
  readonly keywordText: string;
  /** Offset of what follows the keyword. */
  readonly restOffset: number;
  readonly heredocs: readonly Heredoc[];
  /** The instruction as written, heredoc bodies included. */
  readonly original: string;
  /** Last line, heredoc bodies included. */
  readonly lastLine: number;
  /** Comment lines directly above, without `#`; a bare `#` or a blank line begins anew. */
  readonly comments: readonly string[];
}

export interface ParsedFile {
  readonly directives: Directives;
  /** Where the value of the check directive stands. */
  readonly checkAt: SourceRef | undefined;
  readonly instructions: readonly RawInstruction[];
  readonly warnings: readonly FrontendWarning[];
}

/** Throws DOCKERFILE_SYNTAX. Keywords are not judged here. */
export function parseLines(source: SourceFile): ParsedFile {
  if (source.text === '')
    throw syntaxError(
      'DOCKERFILE_SYNTAX',
      'the Dockerfile is empty',
      lineRef(source, 1, ''),
      'begin with FROM',
    );
  const rawLines = source.text.replace(/^\uFEFF/, '').split(/(?<=\n)/);
  const lines = rawLines.map((line) => trimEndOf(line, '\r\n'));
  for (const [index, line] of lines.entries())
    if (line.length > MAX_LINE_BYTES / 4 && Buffer.byteLength(line) > MAX_LINE_BYTES)
      throw syntaxError(
        'DOCKERFILE_SYNTAX',
        `a line is longer than ${MAX_LINE_BYTES} bytes`,
        lineRef(source, index + 1, line),
        'break it with a continuation, or COPY the data from a file',
      );
  const { directives, count, checkAt } = parseDirectives(source, lines);
  const reader: Reader = {
    source,
    lines,
    rawLines,
    at: count,
    escape: directives.escape,
    warnings: [],
    comments: [],
  };
  const instructions: RawInstruction[] = [];
  while (reader.at < lines.length) {
    const instruction = readInstruction(reader);
    if (instruction !== undefined) instructions.push(instruction);
  }
  if (instructions.length === 0)
    throw syntaxError(
      'DOCKERFILE_SYNTAX',
      'the Dockerfile has no instructions',
      lineRef(source, 1, lines[0] ?? ''),
      'begin with FROM',
    );
  return { directives, checkAt, instructions, warnings: reader.warnings };
}

/** One instruction that stands for itself, as ONBUILD triggers do. */
export function parseTrigger(text: string, from: string): RawInstruction {
  const parsed = parseLines({ file: from, text });
  const [instruction] = parsed.instructions;
  if (instruction === undefined || parsed.instructions.length > 1)
    throw syntaxError(
      'DOCKERFILE_SYNTAX',
      `an ONBUILD trigger must be one instruction: ${JSON.stringify(text)}`,
      lineRef({ file: from, text }, 1, text),
    );
  return instruction;
}

interface Reader {
  readonly source: SourceFile;
  readonly lines: readonly string[];
  /** With their ends. */
  readonly rawLines: readonly string[];
  at: number;
  readonly escape: string;
  readonly warnings: FrontendWarning[];
  /** Comment lines since the last blank line or instruction. */
  comments: string[];
}

function isComment(line: string): boolean {
  return line.trimStart().startsWith('#');
}

/** The line without its continuation mark; `ends` where it has none. */
function trimContinuation(line: string, escape: string): { readonly text: string; readonly ends: boolean } {
  const trimmed = trimEndOf(line, ' \t');
  if (!trimmed.endsWith(escape) || trimmed.at(-2) === escape) return { text: line, ends: true };
  return { text: trimmed.slice(0, -1), ends: false };
}

function readInstruction(reader: Reader): RawInstruction | undefined {
  const { lines } = reader;
  const startLine = reader.at + 1;
  const first = lines[reader.at] ?? '';
  reader.at += 1;
  const indent = first.length - first.trimStart().length;
  if (isComment(first)) {
    const comment = first.trim().slice(1).trim();
    if (comment === '') reader.comments = [];
    else reader.comments.push(comment);
    return undefined;
  }
  const { comments } = reader;
  reader.comments = [];
  if (first.trim() === '') return undefined;
  let { text, ends } = trimContinuation(first.slice(indent), reader.escape);
  const segments: Segment[] = [{ offset: 0, line: startLine, column: indent + 1 }];
  let endLine = startLine;
  let sawEmpty = false;
  while (!ends && reader.at < lines.length) {
    const line = lines[reader.at] ?? '';
    reader.at += 1;
    if (isComment(line)) continue;
    if (line.trim() === '') {
      sawEmpty = true;
      continue;
    }
    const next = trimContinuation(line, reader.escape);
    segments.push({ offset: text.length, line: reader.at, column: 1 });
    text += next.text;
    ends = next.ends;
    endLine = reader.at;
  }
  const range = {
    startLine,
    startColumn: indent + 1,
    endLine,
    endColumn: (lines[endLine - 1] ?? '').length + 1,
  };
  const { source } = reader;
  const located: LocatedText = { source, text, segments, range };
  if (text.trim() === '') return undefined;
  if (sawEmpty)
    reader.warnings.push({
      rule: 'NoEmptyContinuation',
      message: 'an empty line continues this instruction; newer builders may refuse it',
      source: lineRef(reader.source, reader.at, lines[reader.at - 1] ?? ''),
    });
  const keywordText = /^\S*/.exec(text)?.[0] ?? '';
  const restOffset = keywordText.length + (/^\s*/.exec(text.slice(keywordText.length))?.[0].length ?? 0);
  const keyword = keywordText.toUpperCase();
  const heredocs = readHeredocs(reader, located, keyword, text.slice(restOffset));
  const original = lines.slice(startLine - 1, reader.at).join('\n');
  const lastLine = reader.at;
  // why: written out, not spread: the spread was an eighth of the time of a whole parsing and lowering.
  return {
    source,
    text,
    segments,
    range,
    keyword,
    keywordText,
    restOffset,
    heredocs,
    original,
    lastLine,
    comments,
  };
}

function readHeredocs(
  reader: Reader,
  located: LocatedText,
  keyword: string,
  rest: string,
): readonly Heredoc[] {
  let effective = { keyword, rest };
  if (keyword === 'ONBUILD') {
    const inner = /^(\S+)\s*([\s\S]*)$/.exec(rest);
    effective = { keyword: (inner?.[1] ?? '').toUpperCase(), rest: inner?.[2] ?? '' };
  }
  if (!HEREDOC_KEYWORDS.has(effective.keyword) || !effective.rest.includes('<<')) return [];
  if (isStringArray(effective.rest.replace(/^(?:--\S+\s+)*/, ''))) return [];
  return heredocWords(effective.rest).map((head) => ({
    ...head,
    content: readBody(reader, located, head),
  }));
}

/** What quotes and escapes do to words is seen, and stays in them; the escape is `\\` whatever the directive says. */
const RAW = { escape: '\\', lookup: () => undefined, keepUnset: true, rawQuotes: true } as const;

export type HeredocHead = Omit<Heredoc, 'content'>;

/** The heredocs that a line opens, in order. */
export function heredocWords(text: string): readonly HeredocHead[] {
  try {
    return expandWords(text, { ...RAW, rawEscapes: true }).flatMap((word) => parseHeredocWord(word) ?? []);
  } catch {
    // Unbalanced quotes: whoever parses the instruction says so.
    return [];
  }
}

export function parseHeredocWord(text: string): HeredocHead | undefined {
  const match = HEREDOC.exec(text);
  const rest = match?.[3] ?? '';
  if (match === null || rest === '') return undefined;
  try {
    const [name, ...more] = expandWords(rest, { ...RAW, rawQuotes: false });
    if (name === undefined || more.length > 0) return undefined;
    const [raw = ''] = expandWords(rest, RAW);
    const isQuoted = countQuotes(raw) !== countQuotes(name);
    return { name, expand: !isQuoted, fd: match[1] ?? '', chomp: match[2] === '-' };
  } catch {
    return undefined;
  }
}

function countQuotes(text: string): number {
  return text.replace(/[^'"]/g, '').length;
}

function readBody(reader: Reader, located: LocatedText, head: HeredocHead): string {
  let body = '';
  let nearly: number | undefined;
  while (reader.at < reader.lines.length) {
    const written = reader.lines[reader.at] ?? '';
    const line = head.chomp ? written.replace(/^\t+/, '') : written;
    reader.at += 1;
    if (line === head.name) return body;
    if (line.trim() === head.name) nearly = reader.at;
    body += reader.rawLines[reader.at - 1] ?? '';
  }
  throw syntaxError(
    'DOCKERFILE_SYNTAX',
    `unterminated heredoc ${JSON.stringify(head.name)}`,
    headRef(located, head),
    nearly === undefined
      ? `end it with a line that holds only ${head.name}`
      : `take the blanks around ${head.name} in line ${nearly} away${head.chomp ? '' : ', or write <<- where they are tabs'}`,
  );
}

/** Where a heredoc is opened. */
function headRef(located: LocatedText, { name }: HeredocHead): SourceRef {
  const { text } = located;
  for (const match of text.matchAll(/<<-?\s*(?:"[^"]*"|'[^']*'|[^\s<])+/g)) {
    if (parseHeredocWord(match[0])?.name !== name) continue;
    let from = match.index;
    while (/\d/.test(text.charAt(from - 1))) from -= 1;
    return refAt(located, from, match.index + match[0].length);
  }
  return refAt(located);
}

function isStringArray(text: string): boolean {
  if (!text.trimStart().startsWith('[')) return false;
  try {
    return Array.isArray(JSON.parse(text));
  } catch {
    return false;
  }
}
