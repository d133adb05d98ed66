/**
 * Two executions of a step, part by part: what differs is why the later one is not the earlier one.
 *
 * Each part of the key (NamedInputs) that differs is named by at least one cause; one that nothing here has words for
 * is named as it is. What merely follows from another difference is no cause.
 */
import { canonicalJson } from '../../base/json.ts';
import type { BaseImage, Cause } from '../../progress/cause.ts';
import { compareCopy } from './compare-copy.ts';
import { compareRun } from './compare-run.ts';
import { describeInput, pair, textOf, type Execution, type Surroundings } from './execution.ts';
import type { InputOrigin } from './origin.ts';

/** Parts that `compareCopy` and `compareRun` look after. */
const OF_COPY = [
  ...['instruction', 'sources', 'destination', 'owner', 'chmod', 'parents', 'link', 'unpack', 'excludes'],
  'workdirUser',
];
const OF_RUN = [
  ...['args', 'script', 'env', 'cwd', 'user', 'network', 'security', 'mounts', 'platform', 'hostname'],
];

/** Empty where the two have the same key. */
export function compareExecutions(
  before: Execution,
  after: Execution,
  around: Surroundings,
): readonly Cause[] {
  const parts = differingParts(before, after);
  if (parts.size === 0) return [];
  if (parts.has('kind'))
    return [{ kind: 'instruction', before: before.origin.text, after: after.origin.text }];
  const isCopy = after.named['kind'] === 'copy';
  const parents = parts.has('parent') ? compareParents(before, after) : [];
  const causes: Cause[] = [];
  causes.push(...(isCopy ? compareCopy(before, after, parts) : compareRun(before, after, parts, around)));
  if (parts.has('maxMtime'))
    causes.push({
      kind: 'setting',
      name: 'SOURCE_DATE_EPOCH',
      ...pair(textOf(before.named['maxMtime']), textOf(after.named['maxMtime'])),
    });
  const known = new Set(['parent', 'maxMtime', ...(isCopy ? OF_COPY : OF_RUN)]);
  for (const part of parts) if (!known.has(part)) causes.push({ kind: 'other', part });
  // What follows from the steps below is said after what a step has of its own.
  causes.push(...parents);
  // A difference that no comparison has words for is named by its part, so that nothing is executed without a cause.
  if (causes.length === 0) return [...parts].map((part) => ({ kind: 'other', part }));
  return withoutOtherTimes(causes);
}

/** What is mounted has other times for the same reason as the step itself. */
export function withoutOtherTimes(causes: readonly Cause[]): readonly Cause[] {
  if (!causes.some(isOtherTime)) return causes;
  return causes.filter(
    (cause) => cause.kind !== 'mount' || cause.change !== 'files' || !cause.causes?.every(isOtherTime),
  );
}

function isOtherTime(cause: Cause): boolean {
  return cause.kind === 'setting' && cause.name === 'SOURCE_DATE_EPOCH';
}

function differingParts(before: Execution, after: Execution): ReadonlySet<string> {
  const names = new Set([...Object.keys(before.named), ...Object.keys(after.named)]);
  return new Set(
    [...names].filter((name) => canonicalJson(before.named[name]) !== canonicalJson(after.named[name])),
  );
}

/** The file system below: another base image, or other files of the step before. */
function compareParents(before: Execution, after: Execution): readonly Cause[] {
  const [old, now] = [before.origin.inputs[0], after.origin.inputs[0]];
  if (now?.kind !== 'image') return [{ kind: 'parent', step: nameOf(now) }];
  if (old?.kind !== 'image') return [{ kind: 'parent', step: `FROM ${now.reference}` }];
  const isOtherPlatform = before.origin.platform !== after.origin.platform;
  // For another platform the same name is another image.
  if (isOtherPlatform && old.reference === now.reference) return [];
  return [{ kind: 'base', before: baseOf(old), after: baseOf(now) }];
}

function nameOf(input: InputOrigin | undefined): string {
  return input?.kind === 'step' ? input.name : describeInput(input);
}

function baseOf({ reference, image }: Extract<InputOrigin, { kind: 'image' }>): BaseImage {
  return { reference, ...(image === undefined ? {} : { image }) };
}
