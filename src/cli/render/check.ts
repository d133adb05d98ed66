/** Findings of `--check`: for people, as BuildKit's JSON, as SARIF 2.1.0 for code hosts. */
import type { SourceRange, TsbuildError } from '../../base/errors.ts';
import type { FrontendWarning } from '../../graph/graph.ts';
import { isRuleName, RULES, ruleOf, rulePage } from '../../../frontend/lint/rules.ts';
import type { CheckResult } from '../../../frontend/frontend.ts';
import { renderError } from './error.ts';
import { excerpt } from './excerpt.ts';

export type CheckFormat = 'text' | 'json' | 'sarif';

interface Source {
  readonly file: string;
  readonly text: string;
}

export function renderCheck(result: CheckResult, source: Source, format: CheckFormat): string {
  const warnings = result.warnings.toSorted(
    (a, b) => a.source.range.startLine - b.source.range.startLine || (a.rule < b.rule ? -1 : 1),
  );
  if (format === 'json') return `${JSON.stringify(asJson(warnings, result.error, source), null, 2)}\n`;
  if (format === 'sarif') return `${JSON.stringify(asSarif(warnings, result.error), null, 2)}\n`;
  return asText(warnings, result.error);
}

function asText(warnings: readonly FrontendWarning[], error: TsbuildError | undefined): string {
  const { length } = warnings;
  const head =
    length === 0
      ? 'Check complete, no warnings found.\n'
      : `Check complete, ${length === 1 ? '1 warning has' : `${length} warnings have`} been found!\n`;
  const blocks = warnings.map(({ rule, message, source }) =>
    [`WARNING: ${rule} - ${pageOf(rule)}`, message, ...excerpt(source), ''].join('\n'),
  );
  const failure = error === undefined ? '' : `\n${renderError(error, { color: false })}`;
  return [head, ...blocks].join('\n') + failure;
}

function pageOf(rule: string): string {
  return isRuleName(rule) ? rulePage(rule) : '';
}

function summaryOf(rule: string): string {
  return isRuleName(rule) ? ruleOf(rule).summary : '';
}

/** Lines count from 1, characters from 0. */
function rangesOf(range: SourceRange): object {
  return {
    start: { line: range.startLine, character: range.startColumn - 1 },
    end: { line: range.endLine, character: range.endColumn - 1 },
  };
}

/** The shape of BuildKit's frontend.lint result. */
function asJson(
  warnings: readonly FrontendWarning[],
  error: TsbuildError | undefined,
  { file, text }: Source,
): object {
  return {
    warnings: warnings.map(({ rule, message, source }) => ({
      ruleName: rule,
      description: summaryOf(rule),
      url: pageOf(rule),
      detail: message,
      location: { ranges: [rangesOf(source.range)] },
    })),
    sources: [{ filename: file, language: 'Dockerfile', data: Buffer.from(text).toString('base64') }],
    ...(error === undefined
      ? {}
      : {
          error: {
            code: error.code,
            message: error.message,
            ...(error.hint === undefined ? {} : { hint: error.hint }),
            ...(error.source === undefined ? {} : { location: { ranges: [rangesOf(error.source.range)] } }),
          },
        }),
  };
}

/** SARIF v2.1.0 (OASIS), as code hosts take it. */
function asSarif(warnings: readonly FrontendWarning[], error: TsbuildError | undefined): object {
  const found = warnings.map(({ rule, message, source }) => ({
    ruleId: rule,
    level: 'warning',
    message: { text: message },
    locations: [locationOf(source.file, source.range)],
  }));
  const failed =
    error === undefined
      ? []
      : [
          {
            ruleId: error.code,
            level: 'error',
            message: { text: error.hint === undefined ? error.message : `${error.message} (${error.hint})` },
            locations: error.source === undefined ? [] : [locationOf(error.source.file, error.source.range)],
          },
        ];
  const rules = Object.keys(RULES)
    .filter(isRuleName)
    .map((id) => ({ id, shortDescription: { text: ruleOf(id).summary }, helpUri: rulePage(id) }));
  return {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [{ tool: { driver: { name: 'tsbuild', rules } }, results: [...found, ...failed] }],
  };
}

function locationOf(uri: string, { startLine, startColumn, endLine, endColumn }: SourceRange): object {
  return {
    physicalLocation: {
      artifactLocation: { uri },
      region: { startLine, startColumn, endLine, endColumn },
    },
  };
}
