/** Where things stand in a Dockerfile: from offsets in a joined instruction back to lines and columns. */
import type { ErrorCode, SourceRange, SourceRef } from '../../src/base/errors.ts';
import { TsbuildError } from '../../src/base/errors.ts';

export interface SourceFile {
  readonly file: string;
  readonly text: string;
}

/** A piece of joined text and where it came from. */
export interface Segment {
  /** Offset in the joined text. */
  readonly offset: number;
  /** 1-based. */
  readonly line: number;
  readonly column: number;
}

/** An instruction's joined text, with the way back. */
export interface LocatedText {
  readonly source: SourceFile;
  readonly text: string;
  readonly segments: readonly Segment[];
  /** The whole instruction, heredocs not included. */
  readonly range: SourceRange;
}

export function positionAt(
  located: LocatedText,
  offset: number,
): { readonly line: number; readonly column: number } {
  const segment = located.segments.findLast((each) => each.offset <= offset);
  if (segment === undefined) return { line: located.range.startLine, column: located.range.startColumn };
  return { line: segment.line, column: segment.column + offset - segment.offset };
}

/** Without the characters at its end; a regular expression would try every run of them, to its end each time. */
export function trimEndOf(text: string, chars: string): string {
  let end = text.length;
  while (end > 0 && chars.includes(text.charAt(end - 1))) end -= 1;
  return text.slice(0, end);
}

/** The place of `text.slice(from, to)`; the whole instruction where nothing narrower is given. */
export function refAt(located: LocatedText, from?: number, to?: number): SourceRef {
  const { file, text } = located.source;
  if (from === undefined || to === undefined || to <= from) return { file, text, range: located.range };
  const start = positionAt(located, from);
  const end = positionAt(located, to - 1);
  return {
    file,
    text,
    range: { startLine: start.line, startColumn: start.column, endLine: end.line, endColumn: end.column + 1 },
  };
}

export function syntaxError(
  code: ErrorCode,
  message: string,
  source: SourceRef,
  hint?: string,
): TsbuildError {
  return new TsbuildError(code, message, { source, ...(hint === undefined ? {} : { hint }) });
}

/** A whole line. */
export function lineRef(source: SourceFile, line: number, text: string): SourceRef {
  const range = { startLine: line, startColumn: 1, endLine: line, endColumn: Math.max(2, text.length + 1) };
  return { file: source.file, text: source.text, range };
}
