/**
 * Two executions of a step, part by part: what differs is why the later one is not the earlier one.
 *
 * Each part of the key (NamedInputs) that differs is named by at least one cause; one that nothing here has words for
 * is named as it is. What merely follows from another difference is no cause.
 */
import { canonicalJson, type Json } from '../../base/json.ts';
import type { Cause } from '../../progress/cause.ts';
import { compareBases } from './compare-base.ts';
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
  ...[
    'args',
    'script',
    'env',
    'cwd',
    'user',
    'network',
    'security',
    'mounts',
    'platform',
    'hostname',
    'extraHosts',
  ],
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
  // With or without --link decides whether it is put on anything.
  const hasOtherParent = parts.has('parent') && !parts.has('link');
  const parents = hasOtherParent ? compareParents(before, after, around) : [];
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
  return withoutRepeated(unique(causes));
}

/** Another base image is said once, whether it brought other files or other variables. */
function unique(causes: readonly Cause[]): readonly Cause[] {
  return [...new Map(causes.map((cause) => [textOfCause(cause), cause])).values()];
}

/** What is mounted may be other files for the very reason that the step itself has. */
export function withoutRepeated(causes: readonly Cause[]): readonly Cause[] {
  const own = new Set(causes.map(textOfCause));
  return causes.filter(
    (cause) =>
      cause.kind !== 'mount' ||
      cause.change !== 'files' ||
      cause.causes === undefined ||
      cause.causes.length === 0 ||
      !cause.causes.every((each) => own.has(textOfCause(each))),
  );
}

function textOfCause(cause: Cause): string {
  return canonicalJson(cause as unknown as Json);
}

function differingParts(before: Execution, after: Execution): ReadonlySet<string> {
  const names = new Set([...Object.keys(before.named), ...Object.keys(after.named)]);
  return new Set(
    [...names].filter((name) => canonicalJson(before.named[name]) !== canonicalJson(after.named[name])),
  );
}

/** The file system below: another base image, or other files of the step before. */
function compareParents(before: Execution, after: Execution, around: Surroundings): readonly Cause[] {
  const [old, now] = [before.origin.inputs[0], after.origin.inputs[0]];
  const isOtherStage = startsElsewhere(old, now, after);
  if (isOtherStage)
    return [
      { kind: 'setting', name: 'FROM', ...pair(describeInput(old), describeInput(now)) },
      ...around.changedSteps(0).map((step): Cause => ({ kind: 'parent', step })),
    ];
  if (now?.kind === 'step' && now.onto !== undefined) return compareLinked(before, after, around);
  if (old?.kind === 'image' && now?.kind === 'image') return compareBases(before, after, old, now);
  return [followed(old, now, around)];
}

/** What was executed in this build has other files; of what was not, it may be another step than then. */
function followed(old: InputOrigin | undefined, now: InputOrigin | undefined, around: Surroundings): Cause {
  const [step, before] = [nameOf(now), textOfStep(nameOf(old))];
  const isOther = before !== textOfStep(step) && around.causesOfInput(0).length === 0;
  return isOther && old !== undefined ? { kind: 'order', step, before } : { kind: 'parent', step };
}

/** Without its place, `[build 2/5]`. */
function textOfStep(name: string): string {
  return name.replace(/^\[[^\]]*\] /, '');
}

/** Whether the first step of a stage is put on another stage than before, or on an image instead of one. */
function startsElsewhere(
  old: InputOrigin | undefined,
  now: InputOrigin | undefined,
  { origin: { stage } }: Execution,
): boolean {
  const isOfOther = (input: InputOrigin | undefined): boolean =>
    input?.kind === 'step' && input.stage !== stage;
  const isStart = (input: InputOrigin | undefined): boolean => input?.kind === 'image' || isOfOther(input);
  if (!isStart(old) || !isStart(now) || (!isOfOther(old) && !isOfOther(now))) return false;
  return describeInput(old) !== describeInput(now);
}

/** Layers of COPY --link do not depend on what they are put on: that may be another one below them. */
function compareLinked(before: Execution, after: Execution, around: Surroundings): readonly Cause[] {
  const [old, now] = [bottomOf(before), bottomOf(after)];
  const bases =
    old?.kind === 'image' && now?.kind === 'image' && old.image !== now.image
      ? compareBases(before, after, old, now)
      : [];
  const linked = around.linkedOnto(0).map((step): Cause => ({ kind: 'parent', step }));
  if (bases.length + linked.length > 0) return [...bases, ...linked];
  return [followed(before.origin.inputs[0], after.origin.inputs[0], around)];
}

function bottomOf({ origin }: Execution): InputOrigin | undefined {
  const [below] = origin.inputs;
  return below?.kind === 'step' && below.onto !== undefined ? below.onto : below;
}

function nameOf(input: InputOrigin | undefined): string {
  if (input?.kind === 'image') return `FROM ${input.reference}`;
  return input?.kind === 'step' ? input.name : describeInput(input);
}
