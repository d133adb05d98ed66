/** Errors for people: code, excerpt with squiggle, last output, hint. Secrets in URLs are struck out first. */
import { redact } from '../../base/redact.ts';
import { errnoOf, ioError, TsbuildError, type ErrorCode } from '../../base/errors.ts';
import { excerpt } from './excerpt.ts';
import { clean, shorten } from './safe-text.ts';

export interface ErrorStyle {
  readonly color: boolean;
  readonly debug?: boolean;
}

/** Characters of a message, and of a line of output. */
const MAX_MESSAGE = 600;
const MAX_OUTPUT_LINE = 300;

export function renderError(thrown: unknown, { color, debug }: ErrorStyle): string {
  const error = known(thrown);
  const red = (text: string): string => (color ? `\u001b[31m${text}\u001b[39m` : text);
  const bold = (text: string): string => (color ? `\u001b[1m${text}\u001b[22m` : text);
  if (!(error instanceof TsbuildError)) {
    const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return `${red('error')}: this is a bug in tsbuild\n${redact(clean(stack))}\n`;
  }
  const safe = (text: string, limit: number): string => shorten(redact(clean(text)), limit);
  const lines = [`${red('error')}: ${bold(safe(error.message, MAX_MESSAGE))} [${error.code}]`];
  if (error.source !== undefined) lines.push(...excerpt(error.source));
  for (const line of error.output ?? [])
    lines.push(`  last output: ${safe(lastState(line), MAX_OUTPUT_LINE)}`.trimEnd());
  if (error.hint !== undefined) lines.push(`hint: ${safe(error.hint, MAX_MESSAGE)}`);
  if (debug === true && error.stack !== undefined) lines.push(redact(clean(error.stack)));
  return `${lines.join('\n')}\n`;
}

/** why: a disk may be full wherever something is written, which is nobody's bug. */
function known(error: unknown): unknown {
  const errno = errnoOf(error);
  if (error instanceof TsbuildError || (errno !== 'ENOSPC' && errno !== 'EDQUOT')) return error;
  const { syscall = 'write', path } = error as NodeJS.ErrnoException;
  return ioError(path === undefined ? syscall : `${syscall} ${JSON.stringify(path)}`, error);
}

/** What a terminal shows of a line that was written over, as progress bars do. */
function lastState(line: string): string {
  return line.split('\r').findLast((each) => each.trim() !== '') ?? '';
}

/** Classes of failure that scripts treat differently: a refused login is not tried again, a lost network is. */
const EXIT_CODES: Partial<Record<ErrorCode, number>> = {
  USAGE: 2,
  NOT_CACHED: 3,
  REGISTRY_AUTH: 10,
  REGISTRY_NOT_FOUND: 11,
  REGISTRY_UNREACHABLE: 12,
  DIGEST_MISMATCH: 13,
  SIZE_MISMATCH: 13,
  REGISTRY_REFUSED: 14,
  REGISTRY_PROTOCOL: 14,
  ABORTED: 130,
};

export function exitCodeOf(thrown: unknown): number {
  const error = known(thrown);
  if (!(error instanceof TsbuildError)) return 70;
  return error.exitCode ?? EXIT_CODES[error.code] ?? 1;
}
