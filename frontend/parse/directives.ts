/** Parser directives: `# key=value` in the very first lines; anything else ends them. */
import { narrow, type SourceRef } from '../../src/base/errors.ts';
import { lineRef, syntaxError, type SourceFile } from './source.ts';

export interface Directives {
  readonly escape: '\\' | '`';
  readonly syntax?: string;
  readonly check?: string;
}

const DIRECTIVE = /^#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(\S.*)$/;
const KNOWN = new Set(['syntax', 'escape', 'check']);

export interface LeadingDirectives {
  readonly directives: Directives;
  /** How many lines they are. */
  readonly count: number;
  /** Where the value of the check directive stands. */
  readonly checkAt: SourceRef | undefined;
}

export function parseDirectives(source: SourceFile, lines: readonly string[]): LeadingDirectives {
  let count = 0;
  const found = new Map<string, string>();
  let checkAt: SourceRef | undefined;
  for (const [index, line] of lines.entries()) {
    if (index === 0 && line.startsWith('#!')) continue;
    const match = DIRECTIVE.exec(line.trim());
    const key = match?.[1]?.toLowerCase() ?? '';
    const value = match?.[2] ?? '';
    if (!KNOWN.has(key)) break;
    const at = lineRef(source, index + 1, line);
    if (found.has(key))
      throw syntaxError(
        'DOCKERFILE_SYNTAX',
        `only one ${key} parser directive can be used`,
        at,
        'leave one of the two out',
      );
    if (key === 'escape' && value !== '\\' && value !== '`')
      throw syntaxError(
        'DOCKERFILE_SYNTAX',
        `invalid escape character ${JSON.stringify(value)}`,
        narrow(at, value),
        'use \\ or `',
      );
    found.set(key, value);
    if (key === 'check') checkAt = narrow(at, value);
    count = index + 1;
  }
  const [syntax, check] = [found.get('syntax'), found.get('check')];
  const directives: Directives = {
    escape: found.get('escape') === '`' ? '`' : '\\',
    ...(syntax === undefined ? {} : { syntax }),
    ...(check === undefined ? {} : { check }),
  };
  return { directives, count, checkAt };
}
