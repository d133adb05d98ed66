/** `# check=skip=RULE,…;error=true;experimental=RULE,…`, and the build argument BUILDKIT_DOCKERFILE_CHECK. */
import { TsbuildError } from '../../src/base/errors.ts';
import { suggest } from '../../src/base/suggest.ts';

export interface CheckOptions {
  readonly skip: ReadonlySet<string> | 'all';
  readonly experimental: ReadonlySet<string> | 'all';
  /** A warning makes the build fail. */
  readonly error: boolean;
}

export const NO_OPTIONS: CheckOptions = { skip: new Set(), experimental: new Set(), error: false };

/** Throws DOCKERFILE_SYNTAX. */
export function parseCheckOptions(text: string): CheckOptions {
  let options = NO_OPTIONS;
  if (text.trim() === '') return options;
  for (const part of text.split(';')) {
    const equals = part.indexOf('=');
    const key = part.slice(0, equals).trim();
    const value = part.slice(equals + 1).trim();
    if (equals < 0) throw invalid(part);
    if (key === 'skip' || key === 'experimental') options = { ...options, [key]: parseRules(value) };
    else if (key === 'error') options = { ...options, error: parseBoolean(value, part) };
    else throw invalid(key, suggest(key, ['skip', 'experimental', 'error']));
  }
  return options;
}

/** What a comment above an instruction silences for that instruction alone. */
export interface LocalCheck {
  readonly startLine: number;
  readonly endLine: number;
  readonly skip: CheckOptions['skip'];
}

const LOCAL = /^check\s*=\s*/i;

export function isCheckComment(comment: string): boolean {
  return LOCAL.test(comment);
}

/** `# check=skip=RULE` directly above an instruction. What is no such option is a comment like any other. */
export function localChecks(
  instructions: readonly {
    readonly comments: readonly string[];
    readonly range: { readonly startLine: number };
    readonly lastLine: number;
  }[],
): readonly LocalCheck[] {
  const commented = instructions.filter(({ comments }) => comments.length > 0);
  return commented.flatMap(({ comments, range, lastLine }) =>
    comments.filter(isCheckComment).flatMap((comment) => {
      try {
        const { skip } = parseCheckOptions(comment.replace(LOCAL, ''));
        return [{ startLine: range.startLine, endLine: lastLine, skip }];
      } catch {
        return [];
      }
    }),
  );
}

function parseRules(value: string): ReadonlySet<string> | 'all' {
  return value === 'all' ? 'all' : new Set(value.split(',').map((rule) => rule.trim()));
}

function parseBoolean(value: string, part: string): boolean {
  if (/^(1|t|true)$/i.test(value)) return true;
  if (/^(0|f|false)$/i.test(value)) return false;
  throw invalid(part);
}

function invalid(text: string, near?: string): TsbuildError {
  return new TsbuildError('DOCKERFILE_SYNTAX', `invalid check option ${JSON.stringify(text)}`, {
    hint:
      near === undefined
        ? 'write skip=RULE,…, experimental=RULE,… or error=true, separated by ";"'
        : `did you mean ${near}?`,
  });
}
