/** Collects warnings: which rules speak is decided here, once, for the whole file. */
import { TsbuildError, type SourceRef } from '../../src/base/errors.ts';
import type { FrontendWarning } from '../../src/graph/graph.ts';
import type { CheckOptions } from './options.ts';
import { ruleOf, type RuleName } from './rules.ts';

export interface Linter {
  report(rule: RuleName, message: string, source: SourceRef): void;
  readonly warnings: readonly FrontendWarning[];
  /** Throws CHECK_FAILED where a warning shall be an error. */
  finish(): void;
}

/** `# check=skip=…` directly above an instruction: for its lines alone. */
export interface LocalCheck {
  readonly startLine: number;
  readonly endLine: number;
  readonly options: CheckOptions;
}

export function createLinter(
  options: CheckOptions,
  onWarning: (warning: FrontendWarning) => void = () => undefined,
  locals: readonly LocalCheck[] = [],
): Linter {
  const warnings: FrontendWarning[] = [];

  function isSilent(rule: RuleName, line: number): boolean {
    const { skip, experimental } = options;
    const local = locals.find(({ startLine, endLine }) => startLine <= line && line <= endLine);
    if (local !== undefined && (local.options.skip === 'all' || local.options.skip.has(rule))) return true;
    if (ruleOf(rule).experimental === true) return experimental !== 'all' && !experimental.has(rule);
    return skip === 'all' || skip.has(rule);
  }

  return {
    warnings,
    report(rule, message, source) {
      if (isSilent(rule, source.range.startLine)) return;
      const warning: FrontendWarning = { rule, message, source };
      warnings.push(warning);
      onWarning(warning);
    },
    finish() {
      const [first] = warnings;
      if (!options.error || first === undefined) return;
      const rules = [...new Set(warnings.map(({ rule }) => rule))].join(', ');
      throw new TsbuildError('CHECK_FAILED', `checks failed that shall be errors: ${rules}`, {
        source: first.source,
        hint: 'mend what they name, or take error=true from the check directive',
      });
    },
  };
}

/** Says nothing: for text that was checked elsewhere. */
export const SILENT: Linter = { warnings: [], report: () => undefined, finish: () => undefined };
