/** Collects warnings: which rules speak is decided here, once, for the whole file. */
import { TsbuildError, type SourceRef } from '../../src/base/errors.ts';
import type { FrontendWarning } from '../../src/graph/graph.ts';
import type { CheckOptions, LocalCheck } from './options.ts';
import { ruleOf, type RuleName } from './rules.ts';

export interface Linter {
  report(rule: RuleName, message: string, source: SourceRef): void;
  readonly warnings: readonly FrontendWarning[];
  /** Throws CHECK_FAILED where a warning shall be an error. */
  finish(): void;
}

export function createLinter(
  options: CheckOptions,
  onWarning: (warning: FrontendWarning) => void = () => undefined,
  local: readonly LocalCheck[] = [],
): Linter {
  const warnings: FrontendWarning[] = [];

  function isSilent(rule: RuleName, { range }: SourceRef): boolean {
    const { skip, experimental } = options;
    const isSkippedHere = local.some(
      (each) =>
        range.startLine >= each.startLine &&
        range.startLine <= each.endLine &&
        (each.skip === 'all' || each.skip.has(rule)),
    );
    if (isSkippedHere) return true;
    if (ruleOf(rule).experimental === true) return experimental !== 'all' && !experimental.has(rule);
    return skip === 'all' || skip.has(rule);
  }

  return {
    warnings,
    report(rule, message, source) {
      if (isSilent(rule, source)) return;
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
