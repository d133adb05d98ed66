/** Errors for people: code, excerpt with squiggle, last output, hint. Secrets in URLs are struck out first. */
import { TsbuildError, type SourceRef } from '../../base/errors.ts';

export interface ErrorStyle {
  readonly color: boolean;
  readonly debug?: boolean;
}

const CONTEXT_LINES = 1;
const MAX_RANGE_LINES = 10;

export function renderError(error: unknown, { color, debug }: ErrorStyle): string {
  const red = (text: string): string => (color ? `\u001b[31m${text}\u001b[39m` : text);
  const bold = (text: string): string => (color ? `\u001b[1m${text}\u001b[22m` : text);
  if (!(error instanceof TsbuildError)) {
    const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return `${red('error')}: this is a bug in tsbuild\n${redact(clean(stack))}\n`;
  }
  const lines = [`${red('error')}: ${bold(redact(clean(error.message)))} [${error.code}]`];
  if (error.source !== undefined) lines.push(...excerpt(error.source));
  for (const line of error.output ?? []) lines.push(`  last output: ${redact(clean(line))}`);
  if (error.hint !== undefined) lines.push(`hint: ${redact(clean(error.hint))}`);
  if (debug === true && error.stack !== undefined) lines.push(redact(clean(error.stack)));
  return `${lines.join('\n')}\n`;
}

export function exitCodeOf(error: unknown): number {
  if (!(error instanceof TsbuildError)) return 70;
  if (error.exitCode !== undefined) return error.exitCode;
  if (error.code === 'USAGE') return 2;
  return error.code === 'ABORTED' ? 130 : 1;
}

/** `file:line:column` and the lines around, as in `frontend` errors. */
export function excerpt({ file, text, range }: SourceRef): readonly string[] {
  const lines = text.split('\n').map((line) => clean(line.replace(/\r$/, '')));
  const first = Math.max(1, range.startLine - CONTEXT_LINES);
  const end = Math.min(range.endLine, range.startLine + MAX_RANGE_LINES - 1);
  const width = String(end).length + 5;
  const shown = [`  ${file}:${range.startLine}:${range.startColumn}`];
  for (let number = first; number <= end; number += 1) {
    const line = lines[number - 1] ?? '';
    const inside = number >= range.startLine;
    shown.push(
      `${inside ? `  > ${String(number).padStart(width - 4)}` : String(number).padStart(width)} | ${line}`.trimEnd(),
    );
    if (!inside) continue;
    const from = number === range.startLine ? range.startColumn : line.length - line.trimStart().length + 1;
    const to = number === range.endLine ? range.endColumn : line.length + 1;
    const squiggle = `${line.slice(0, from - 1).replace(/[^\t]/g, ' ')}${'~'.repeat(Math.max(1, Math.min(to, line.length + 1) - from))}`;
    shown.push(`${' '.repeat(width)} | ${squiggle}`);
  }
  return shown;
}

/** Without control characters, terminal sequences first. */
export function clean(text: string): string {
  return text
    .replace(/\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|.)/g, '')
    .replace(/[\u0000-\u0008\u000b-\u001f\u007f]/g, '');
}

/** Passwords in URLs and signed query values. */
export function redact(text: string): string {
  return text
    .replace(/([a-z][a-z0-9+.-]*:\/\/)[^/\s:@]*:[^/\s@]*@/gi, '$1***@')
    .replace(
      /([?&](?:[^=&\s]*(?:signature|token|sig|credential|_state|password)[^=&\s]*)=)[^&\s"']+/gi,
      '$1***',
    );
}
