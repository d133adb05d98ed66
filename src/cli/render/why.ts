/** `tsbuild why` for people: a step a line, and below it what differs. */
import { countChanged, describeCause, describeFile } from '../../solver/why/describe.ts';
import type { Cause } from '../../progress/cause.ts';
import type { WhyStep } from '../../engine/why.ts';
import { humanDuration } from '../views/words.ts';
import { formatSeconds } from './model.ts';
import { clean } from './safe-text.ts';

/** Files that are shown of a cause, unless one step alone was asked for. */
const FILES = 5;

export interface WhyStyle {
  readonly nowMs: number;
  /** One step was asked for: nothing of it is cut. */
  readonly isOne: boolean;
}

const WORDS: Readonly<Record<WhyStep['state'], string>> = {
  given: '',
  cached: 'CACHED  ',
  executed: 'EXECUTE ',
  depends: 'DEPENDS ',
};

export function renderWhy(steps: readonly WhyStep[], style: WhyStyle): string {
  const platforms = new Set(steps.map(({ platform }) => platform));
  const width = Math.max(...steps.map(({ number }) => String(number).length), 1);
  const lines: string[] = [];
  for (const step of steps) {
    const on = platforms.size > 1 ? `${step.platform} ` : '';
    const number = String(step.number).padStart(width);
    lines.push(`${number}  ${wordOf(step)}${on}${clean(step.name)}`);
    for (const line of explain(step, style)) lines.push(`${' '.repeat(width)}    ${clean(line)}`);
  }
  return `${lines.join('\n')}\n`;
}

function wordOf({ state, from }: WhyStep): string {
  return state === 'cached' && from === 'remote' ? 'CACHED (remote) ' : WORDS[state];
}

function explain(step: WhyStep, style: WhyStyle): readonly string[] {
  switch (step.state) {
    case 'given':
      return [];
    case 'cached':
      return lastTime(step, style);
    case 'depends':
      return [`cached if this comes out as before: ${step.follows.join(', ')}`];
    case 'executed':
      return [
        ...step.causes.flatMap((cause) => causeLines(cause, style)),
        ...(step.last === undefined || step.causes.some(({ kind }) => kind === 'lost')
          ? []
          : [`compared with the execution of ${ago(step.last.finished, style)}`]),
      ];
  }
}

function lastTime({ last }: WhyStep, style: WhyStyle): readonly string[] {
  if (last === undefined) return [];
  const { causes, tookMs, finished } = last;
  return [
    `executed ${ago(finished, style)} in ${formatSeconds(tookMs)}${causes.length === 0 ? '' : ', because:'}`,
    ...causes.flatMap((cause) => causeLines(cause, style)).map((line) => `  ${line}`),
  ];
}

function ago(ms: number, { nowMs }: WhyStyle): string {
  return `${humanDuration(Math.max(0, (nowMs - ms) / 1000)).toLowerCase()} ago`;
}

function causeLines(cause: Cause, style: WhyStyle): readonly string[] {
  if (cause.kind === 'mount' && cause.change === 'files' && (cause.causes ?? []).length > 0)
    return [
      `the files of the mount ${cause.mount} changed:`,
      ...(cause.causes ?? []).flatMap((each) => causeLines(each, style)).map((line) => `  ${line}`),
    ];
  if (cause.kind === 'ignore') return ignoreLines(cause, style);
  if (cause.kind !== 'files' || cause.changes.length <= 1) return [describeCause(cause)];
  const { changes, changed, of, source } = cause;
  const shown = style.isOne ? changes : changes.slice(0, FILES);
  const left = changed - countChanged(shown);
  return [
    `${changed} of ${of} files of ${source} changed:`,
    ...shown.map((change) => `  ${describeFile(change)}`),
    ...(left === 0 ? [] : [`  and ${left} more`]),
  ];
}

function ignoreLines(
  { file, added, removed }: Extract<Cause, { kind: 'ignore' }>,
  style: WhyStyle,
): readonly string[] {
  const list = (title: string, paths: readonly string[]): readonly string[] => {
    const shown = style.isOne ? paths : paths.slice(0, FILES);
    const left = paths.length - shown.length;
    return paths.length === 0 ? [] : [`${title} ${shown.join(', ')}${left === 0 ? '' : ` and ${left} more`}`];
  };
  return [
    ...list(`${file} leaves out now:`, removed),
    ...list(`${file} does not leave out any more:`, added),
  ];
}
