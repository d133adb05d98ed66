/**
 * What a build would do, step by step, without executing any: which steps are cached, which would be executed and why.
 *
 * A step that would be executed is taken to make the layer that it made when it was executed last, so that those after it
 * can be looked at too. Where its own files must differ from then (a COPY of other files, anything on top of such), what
 * follows is executed for certain; where they may be the same (a RUN), what follows depends on that.
 */
import { digestOf, type CacheKey, type Digest } from '../../base/digest.ts';
import { isTsbuildError, locate } from '../../base/errors.ts';
import { canonicalJson } from '../../base/json.ts';
import { isInternal, type Vertex } from '../../graph/graph.ts';
import type { Op, RunMount } from '../../graph/ops.ts';
import type { Cause } from '../../progress/cause.ts';
import type {
  CacheMap,
  OpHandler,
  OpHandlers,
  StepRecord,
  VertexContext,
  VertexProgress,
} from '../handler.ts';
import type { RecordStore } from '../records.ts';
import type { RemoteRecords } from '../remote-records.ts';
import { emptyStack, pushLayer, type Result } from '../result.ts';
import { inOrder } from '../solve.ts';
import { withoutRepeated } from './compare.ts';
import { describeInput, describeSources } from './execution.ts';
import { createExplainer, type Explanation } from './explainer.ts';
import type { Project } from './journal.ts';
import { mayBeSame } from './may-be-same.ts';
import { originOf } from './origin.ts';
import type { Host } from '../../base/host.ts';

export interface SurveyOptions {
  readonly handlers: OpHandlers;
  readonly records: RecordStore;
  /** Asked where there is no record here. */
  readonly remote?: Pick<RemoteRecords, 'find' | 'earlier'> | undefined;
  readonly isAvailable: (result: Result) => Promise<boolean>;
  readonly host: Host;
  readonly project: Project | undefined;
  readonly signal: AbortSignal;
}

export type StepState =
  /** Nothing is ever executed for it: an image, a context, a fetched file. */
  | 'given'
  | 'cached'
  | 'executed'
  /** Cached if the steps that it follows come out as before. */
  | 'depends';

export interface SurveyedStep {
  readonly vertex: Vertex;
  readonly state: StepState;
  /** Why it would be executed. */
  readonly causes: readonly Cause[];
  /** What it depends on. */
  readonly follows: readonly Vertex[];
  /** The record that would be used, or the one that it was compared with. */
  readonly record?: StepRecord;
  /** The record would be used, and is not one of this machine. */
  readonly from?: 'remote';
}

/** How a result stands to the one of the nearest earlier build. */
type Certainty = 'known' | 'perhaps' | 'other';

interface Outcome {
  readonly step: SurveyedStep;
  readonly result: Result;
  readonly certainty: Certainty;
  /** What it makes itself is other than before for certain. */
  readonly isOther?: boolean;
  /** Of what was merged: its inputs. It is no step of its own, so these are what others follow. */
  readonly merged?: readonly Outcome[];
}

/** Every vertex below `target`, inputs first. Throws what describing a step throws: a file that is not there. */
export async function survey(target: Vertex, options: SurveyOptions): Promise<readonly SurveyedStep[]> {
  const vertices = inOrder(target);
  const explainer = createExplainer({ ...options, vertices, earlier: await options.remote?.earlier?.() });
  const outcomes = new Map<Digest, Outcome>();
  const inputsOf = ({ inputs }: Vertex): readonly Outcome[] =>
    inputs.flatMap(({ id }) => outcomes.get(id) ?? []);

  async function look(vertex: Vertex): Promise<Outcome> {
    const inputs = inputsOf(vertex);
    // why: TypeScript cannot see that handlers[op.kind] belongs to this op; OpHandlers guarantees it.
    const handler = options.handlers[vertex.op.kind] as unknown as OpHandler<Op>;
    if (vertex.op.kind !== 'merge' && inputs.some(({ step }) => isUnseen(step)))
      return ofUnseen(vertex, inputs);
    const context = contextOf(vertex, inputs, options.signal);
    const description = await describe(handler, context, inputs).catch((error: unknown) => {
      throw locate(error, vertex.source);
    });
    try {
      if (description === undefined) return given(vertex, inputs, await handler.exec(context));
      if (description === 'unknown')
        return unknown(vertex, inputs, await lostOf(inputs), explainer.likeliest(vertex));
      return await lookUp(vertex, inputs, description);
    } catch (error) {
      throw locate(error, vertex.source);
    } finally {
      if (typeof description === 'object') await description.release?.();
    }
  }

  async function lookUp(vertex: Vertex, inputs: readonly Outcome[], description: CacheMap): Promise<Outcome> {
    const key = digestOf(canonicalJson({ ...description.named })) as CacheKey;
    const isOther = isOtherFor(vertex, inputs);
    const found = vertex.noCache === true || isOther ? undefined : await findRecord(vertex, key);
    if (found !== undefined) {
      const { record } = found;
      const follows = uncertain(inputs);
      const step = { vertex, causes: [], follows, ...found };
      return follows.length === 0
        ? { step: { ...step, state: 'cached' }, result: record.result, certainty: 'known' }
        : { step: { ...step, state: 'depends' }, result: record.result, certainty: 'perhaps' };
    }
    const explanation = explainer.explain(vertex, key, description);
    return executed(vertex, inputs, { ...explanation, description }, isOther);
  }

  async function findRecord(
    vertex: Vertex,
    key: CacheKey,
  ): Promise<(Pick<SurveyedStep, 'from'> & { readonly record: StepRecord }) | undefined> {
    const isUsable = async ({ result }: StepRecord): Promise<boolean> =>
      vertex.id !== target.id || options.isAvailable(result);
    const here = options.records.get(key);
    if (here !== undefined && (await isUsable(here))) return { record: here };
    const record = await options.remote?.find(key);
    return record !== undefined && (await isUsable(record)) ? { record, from: 'remote' } : undefined;
  }

  /** What is recorded, and cannot be looked into. */
  async function lostOf(inputs: readonly Outcome[]): Promise<readonly Vertex[]> {
    const lost: Vertex[] = [];
    for (const { step, result, certainty } of inputs)
      if (certainty === 'known' && !(await options.isAvailable(result))) lost.push(step.vertex);
    return lost;
  }

  function executed(
    vertex: Vertex,
    inputs: readonly Outcome[],
    { causes, nearest, description }: Explanation & { readonly description: CacheMap },
    isOther: boolean,
  ): Outcome {
    const isParentOther = inputs[0]?.certainty === 'other';
    // Inputs were taken to be as before, so the comparison did not see that they are not.
    const seen = isOther ? causes.filter(({ kind }) => kind !== 'parent' && kind !== 'lost') : causes;
    // Of what was never executed nothing can be other than before.
    const all =
      nearest === undefined && seen.length > 0
        ? seen
        : withoutRepeated([...seen, ...causesByInputs(vertex, inputs, seen, isOtherMount)]);
    explainer.amend(vertex, all);
    const follows = uncertain(inputs);
    const makesOther = nearest === undefined || !mayBeSame(vertex, causes, description, nearest);
    return {
      isOther: makesOther,
      step: {
        vertex,
        state: 'executed',
        causes: all,
        follows,
        ...(nearest === undefined ? {} : { record: nearest }),
      },
      result: nearest === undefined ? emptyStack : restacked(vertex, inputs, nearest),
      certainty: isParentOther || makesOther ? 'other' : 'perhaps',
    };
  }

  /** Whether the key surely differs from all that there are: files below, or those of a mount, were never seen before. */
  function isOtherFor({ op }: Vertex, inputs: readonly Outcome[]): boolean {
    if (op.kind === 'copy') return inputs[0]?.certainty === 'other';
    if (op.kind !== 'run') return inputs.some(({ certainty }) => certainty === 'other');
    return inputs[0]?.certainty === 'other' || op.mounts.some((mount) => isOtherMount(mount, inputs));
  }

  /** Of a part of a stage that is known where what is put there is other files. */
  function isOtherMount(mount: RunMount, inputs: readonly Outcome[]): boolean {
    const input = inputs[inputOfMount(mount) ?? -1];
    if (input?.certainty !== 'other') return false;
    const isWhole = mount.kind !== 'bind' || mount.source === '/' || isInternal(input.step.vertex);
    return isWhole || putsOtherBelow(input, mount.source);
  }

  function putsOtherBelow(top: Outcome, path: string): boolean {
    const queue = [top];
    for (let at = queue.pop(); at !== undefined; at = queue.pop()) {
      const { op, inputs } = at.step.vertex;
      // Whatever is below it, a command may have made the files again.
      if (op.kind === 'run') continue;
      if (op.kind === 'copy' && at.isOther === true && `${op.destination}/`.startsWith(`${path}/`))
        return true;
      const below = outcomes.get(inputs[0]?.id ?? ('' as Digest));
      queue.push(...(at.merged ?? (below === undefined ? [] : [below])));
    }
    return false;
  }

  /** Of a commit that was not fetched yet: its files may be those of the last one. */
  function ofUnseen(vertex: Vertex, inputs: readonly Outcome[]): Outcome {
    const follows = uncertain(inputs);
    const nearest = explainer.likeliest(vertex);
    const causes = causesOnUnseen(vertex, nearest);
    const step: SurveyedStep = { vertex, state: causes.length > 0 ? 'executed' : 'depends', causes, follows };
    return nearest === undefined
      ? { step, result: emptyStack, certainty: 'other' }
      : {
          step: { ...step, record: nearest },
          result: restacked(vertex, inputs, nearest),
          certainty: inputs[0]?.certainty === 'other' ? 'other' : 'perhaps',
        };
  }

  for (const vertex of vertices) {
    options.signal.throwIfAborted();
    outcomes.set(vertex.id, await look(vertex));
  }
  await findLost(outcomes, options);
  return vertices.flatMap(({ id }) => outcomes.get(id)?.step ?? []);
}

/** Nothing is known of what it holds. */
function isUnseen({ vertex, state, record }: SurveyedStep): boolean {
  return vertex.op.kind === 'git' && state === 'executed' && record === undefined;
}

function causesOnUnseen(
  { noCache, place }: Vertex,
  nearest: Pick<StepRecord, 'origin'> | undefined,
): readonly Cause[] {
  if (noCache === true) return [{ kind: 'no-cache' }];
  if (nearest === undefined) return [{ kind: 'new' }];
  const [before, after] = [nearest.origin?.text ?? '', place?.text ?? ''];
  return before === after ? [] : [{ kind: 'instruction', before, after }];
}

/** What it made then, on top of what is below it now. */
function restacked({ op }: Vertex, inputs: readonly Outcome[], { result }: StepRecord): Result {
  const below = inputs[0]?.result;
  const layer = result.kind === 'stack' ? result.layers.at(-1) : undefined;
  const isOnTop = op.kind === 'run' || op.kind === 'copy';
  return isOnTop && below?.kind === 'stack' && layer !== undefined ? pushLayer(below, layer) : result;
}

/** `seen`: what the comparison saw of it. */
function causesByInputs(
  vertex: Vertex,
  inputs: readonly Outcome[],
  seen: readonly Cause[],
  isOtherMount: (mount: RunMount, inputs: readonly Outcome[]) => boolean,
): readonly Cause[] {
  const { op } = vertex;
  const [below] = inputs;
  const mounts = op.kind === 'run' ? op.mounts : [];
  const isElsewhere = seen.some((cause) => cause.kind === 'setting' && cause.name === 'FROM');
  return [
    ...mounts.flatMap((mount): readonly Cause[] => {
      const number = inputOfMount(mount) ?? -1;
      const input = inputs[number];
      if (input === undefined || !isOtherMount(mount, inputs)) return [];
      const name = `${mount.kind} ${mount.target ?? ''}`;
      if (seen.some((cause) => isSaidOf(name, cause))) return [];
      const { causes } = input.step;
      const option = describeInput(originOf(vertex)?.inputs[number]);
      return [{ kind: 'mount', mount: name, change: 'files', option, causes }];
    }),
    ...(below === undefined ? [] : makersOf(below))
      .filter(({ certainty }) => certainty === 'other')
      // Of a stage that was never executed nothing can be other than before.
      .filter(({ step }) => !isElsewhere || step.record !== undefined)
      .map(({ step }) => ({ kind: 'parent', step: step.vertex.name }) as const),
  ];
}

/** That a COPY takes its files from elsewhere than in `nearest`. */
function sourcesChanged(vertex: Vertex, nearest: StepRecord | undefined): Cause | undefined {
  const [before, after] = [nearest?.origin, originOf(vertex)];
  if (vertex.op.kind !== 'copy' || before === undefined || after === undefined) return undefined;
  if (before.text !== after.text) return { kind: 'instruction', before: before.text, after: after.text };
  const [old, now] = [describeSources(before), describeSources(after)];
  return old === now ? undefined : { kind: 'setting', name: '--from', before: old, after: now };
}

/** That the files of a mount are others, or are taken from elsewhere. */
function isSaidOf(mount: string, cause: Cause): boolean {
  if (cause.kind !== 'mount' || cause.mount !== mount) return false;
  return ['added', 'files'].includes(cause.change) || cause.option === 'source' || cause.option === 'from';
}

function given(vertex: Vertex, inputs: readonly Outcome[], result: Result): Outcome {
  const worst: Certainty = inputs.some(({ certainty }) => certainty === 'other')
    ? 'other'
    : uncertain(inputs).length > 0
      ? 'perhaps'
      : 'known';
  return {
    step: { vertex, state: 'given', causes: [], follows: [] },
    result,
    certainty: worst,
    ...(vertex.op.kind === 'merge' ? { merged: inputs } : {}),
  };
}

/** Its inputs cannot be looked into before the steps that make them were executed. `nearest`: what it is like. */
function unknown(
  vertex: Vertex,
  inputs: readonly Outcome[],
  lost: readonly Vertex[],
  nearest: StepRecord | undefined,
): Outcome {
  const follows = [...uncertain(inputs), ...lost];
  const elsewhere = sourcesChanged(vertex, nearest);
  const causes: readonly Cause[] =
    elsewhere === undefined ? follows.map(({ name }) => ({ kind: 'parent', step: name })) : [elsewhere];
  return {
    step: { vertex, state: 'executed', causes, follows },
    result: emptyStack,
    certainty: 'other',
  };
}

function uncertain(inputs: readonly Outcome[]): readonly Vertex[] {
  return inputs
    .flatMap(makersOf)
    .filter(({ certainty }) => certainty !== 'known')
    .map(({ step }) => step.vertex);
}

function makersOf(outcome: Outcome): readonly Outcome[] {
  return outcome.merged?.flatMap(makersOf) ?? [outcome];
}

function inputOfMount(mount: RunMount): number | undefined {
  return mount.kind === 'bind' || mount.kind === 'cache' ? mount.input : undefined;
}

async function describe(
  handler: OpHandler<Op>,
  context: VertexContext,
  inputs: readonly Outcome[],
): Promise<CacheMap | 'unknown' | undefined> {
  try {
    return await handler.cacheMap(context);
  } catch (error) {
    const mayBeThere =
      uncertain(inputs).length > 0 ? isTsbuildError(error) : isTsbuildError(error, 'LAYER_LOST');
    if (!mayBeThere) throw error;
    return 'unknown';
  }
}

const silent: VertexProgress = { log: () => undefined, warn: () => undefined, transfer: () => undefined };

function contextOf(vertex: Vertex, inputs: readonly Outcome[], signal: AbortSignal): VertexContext {
  return { vertex, op: vertex.op, inputs: inputs.map(({ result }) => result), signal, progress: silent };
}

/** Steps that are recorded, but whose layers are gone while a step that is executed needs them. */
async function findLost(outcomes: Map<Digest, Outcome>, options: SurveyOptions): Promise<void> {
  const queue = [...outcomes.values()].filter(({ step }) => step.state === 'executed');
  for (let at = queue.pop(); at !== undefined; at = queue.pop())
    for (const { id } of at.step.vertex.inputs) {
      const input = outcomes.get(id);
      if (input === undefined || input.step.state === 'executed') continue;
      if (input.step.state === 'given') {
        if (input.step.vertex.op.kind === 'merge') queue.push(input);
        continue;
      }
      if (await options.isAvailable(input.result)) continue;
      const lost: Outcome = {
        ...input,
        step: { ...input.step, state: 'executed', causes: [{ kind: 'lost' }], follows: [] },
      };
      outcomes.set(id, lost);
      queue.push(lost);
    }
}
