/**
 * The lines of a Dockerfile that an error or a warning is about, with a squiggle below the range.
 *
 * The squiggle stands below its text in any terminal: tabs become blanks, control characters vanish, characters
 * that take two columns get two `~`, combining ones none. What is shown is bounded, however long lines are.
 */
import { mask } from '../../base/redact.ts';
import type { SourceRef } from '../../base/errors.ts';
import { clean } from './safe-text.ts';

const CONTEXT_LINES = 1;
const MAX_RANGE_LINES = 10;
/** Columns of a line that are shown. */
const MAX_COLUMNS = 120;
/** Columns that stay before a range where its line is cut. */
const LEAD_COLUMNS = 24;
const TAB = '    ';
const CUT = '…';

/** `file:line:column`, the lines around, each line of the range marked by `>`. */
export function excerpt({ file, text, range }: SourceRef): readonly string[] {
  // A byte order mark is no column.
  const lines = text.replace(/^\uFEFF/, '').split('\n');
  const lineAt = (number: number): string => mask((lines[number - 1] ?? '').replace(/\r+$/, ''));
  const first = Math.max(1, range.startLine - CONTEXT_LINES);
  const last = Math.min(range.endLine, range.startLine + MAX_RANGE_LINES - 1);
  const width = String(last).length + 5;
  const shown = [`  ${clean(file)}:${range.startLine}:${range.startColumn}`];
  for (let number = first; number <= last; number += 1) {
    const line = lineAt(number);
    if (number < range.startLine) {
      shown.push(`${String(number).padStart(width)} | ${window(line, 0, 0).text}`.trimEnd());
      continue;
    }
    const from = number === range.startLine ? range.startColumn - 1 : line.length - line.trimStart().length;
    const to = number === range.endLine ? range.endColumn - 1 : line.length;
    const { text: visible, before, marked } = window(line, from, Math.min(to, line.length));
    shown.push(`  > ${String(number).padStart(width - 4)} | ${visible}`.trimEnd());
    shown.push(`${' '.repeat(width)} | ${' '.repeat(before)}${'~'.repeat(Math.max(1, marked))}`);
  }
  if (last < range.endLine) shown.push(`${CUT.padStart(width)} | ${range.endLine - last} more lines`);
  return shown;
}

interface Window {
  readonly text: string;
  /** Columns before the range, and of the range. */
  readonly before: number;
  readonly marked: number;
}

/** The part of a line around `[from, to)` that fits. */
function window(line: string, from: number, to: number): Window {
  const head = plain(line.slice(0, from));
  const range = plain(line.slice(from, Math.max(from, to)));
  const tail = plain(line.slice(Math.max(from, to)));
  const isLong = columnsOf(head) + columnsOf(range) + columnsOf(tail) > MAX_COLUMNS;
  if (!isLong) return { text: head + range + tail, before: columnsOf(head), marked: columnsOf(range) };
  // Enough stays before the range to recognise the place, and more where the rest of the line is short.
  const needed = Math.min(MAX_COLUMNS, columnsOf(range) + columnsOf(tail));
  const lead = takeEnd(head, Math.max(LEAD_COLUMNS, MAX_COLUMNS - needed));
  const shownRange = takeStart(range, MAX_COLUMNS - columnsOf(lead));
  const shownTail = takeStart(tail, MAX_COLUMNS - columnsOf(lead) - columnsOf(shownRange));
  return { text: lead + shownRange + shownTail, before: columnsOf(lead), marked: columnsOf(shownRange) };
}

/** The beginning of a text, `…` in the place of what does not fit. */
function takeStart(text: string, columns: number): string {
  if (columnsOf(text) <= columns) return text;
  let taken = '';
  let used = 1;
  for (const char of text) {
    used += columnsOf(char);
    if (used > columns) break;
    taken += char;
  }
  return columns < 1 ? '' : `${taken}${CUT}`;
}

function takeEnd(text: string, columns: number): string {
  if (columnsOf(text) <= columns) return text;
  const chars = [...text];
  let used = 1;
  let at = chars.length;
  while (at > 0 && used + columnsOf(chars[at - 1] ?? '') <= columns) {
    at -= 1;
    used += columnsOf(chars[at] ?? '');
  }
  return `${CUT}${chars.slice(at).join('')}`;
}

function plain(text: string): string {
  return clean(text).replaceAll('\t', TAB);
}

const ZERO = /[\p{Mn}\p{Me}\p{Cf}]/u;
const DOUBLE =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Emoji_Presentation}\u3000-\u303e\uff01-\uff60\uffe0-\uffe6]/u;

/** Columns that a terminal gives to a text without control characters. */
export function columnsOf(text: string): number {
  // Nearly all text is ASCII.
  if (!/[^\u0020-\u007e]/.test(text)) return text.length;
  let columns = 0;
  for (const char of text) columns += ZERO.test(char) ? 0 : DOUBLE.test(char) ? 2 : 1;
  return columns;
}
