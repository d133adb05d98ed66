/** Variables as causes, and what merely follows from them. */
import type { Cause } from '../../progress/cause.ts';
import { pair, type Execution } from './execution.ts';

type VariableCause = Extract<Cause, { kind: 'variable' }>;

/** Those in the words of a step that have other values; none where the words themselves are others. */
export function usedVariables(before: Execution, after: Execution): readonly VariableCause[] {
  if (before.origin.text !== after.origin.text) return [];
  const [old, now] = [before.origin.variables, after.origin.variables];
  return [...new Set([...Object.keys(old), ...Object.keys(now)])]
    .filter((name) => old[name] !== now[name])
    .map((name) => ({
      kind: 'variable',
      variable: after.origin.args.includes(name) || before.origin.args.includes(name) ? 'ARG' : 'ENV',
      name,
      ...pair(old[name], now[name]),
    }));
}

/** Whether what was written is the same, and one of the variables in it changed. */
export function followsVariable(
  before: string | undefined,
  after: string | undefined,
  changed: (name: string) => boolean,
): boolean {
  if (after === undefined || before !== after) return false;
  return [...after.matchAll(/\$\{?([A-Za-z_][A-Za-z0-9_]*)/g)].some(([, name = '']) => changed(name));
}

/** Whether USER or WORKDIR are written as they were, and one of the `changed` variables stands in them. */
export function isSetByVariable(
  name: string,
  before: Execution,
  after: Execution,
  changed: ReadonlySet<string>,
): boolean {
  const [old, now] = [before.origin.settings?.[name], after.origin.settings?.[name]];
  return followsVariable(old, now, (used) => changed.has(used));
}
