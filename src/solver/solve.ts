/**
 * The solver: memoised recursion over the vertices of one build.
 *
 * One promise per vertex gives sharing (a vertex of two stages runs once) and parallelism (inputs are solved
 * side by side); a limit bounds what executes at the same time. There is no scheduler, no edge merging and
 * nothing that outlives the build. The first failure aborts the rest, and is thrown when the rest has ended.
 */
import { setImmediate } from 'node:timers/promises';
import pLimit from 'p-limit';
import { digestOf, type CacheKey, type Digest } from '../base/digest.ts';
import { isTsbuildError, locate, TsbuildError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { canonicalJson, type Json } from '../base/json.ts';
import type { Vertex } from '../graph/graph.ts';
import type { Op } from '../graph/ops.ts';
import type { OnPacking } from '../layer/layer.ts';
import type { ProgressSink, VertexStatus } from '../progress/progress.ts';
import type {
  CacheMap,
  OpHandler,
  OpHandlers,
  StepRecord,
  VertexContext,
  VertexProgress,
} from './handler.ts';
import type { RecordStore } from './records.ts';
import type { RemoteRecords } from './remote-records.ts';
import { identityOf, type Result } from './result.ts';
import type { StepLocks } from './step-locks.ts';
import type { Explainer, Explanation } from './why/explainer.ts';
import type { Project } from './why/journal.ts';

export interface SolveOptions {
  readonly handlers: OpHandlers;
  readonly records: RecordStore;
  /** Asked where there is no record here, and told of every record of this build. */
  readonly remote?: RemoteRecords;
  /** Whether the layers that a record names can be had. */
  readonly isAvailable: (result: Result) => Promise<boolean>;
  /** Whether what a step itself made is known to be anywhere; decides what is said of it, and nothing else. */
  readonly hasFiles?: (result: Result) => boolean;
  readonly host: Host;
  readonly sink: ProgressSink;
  /** How many vertices may execute at a time. */
  readonly parallelism: number;
  readonly signal: AbortSignal;
  /** Aborted when the first vertex fails: for what vertices share and wait for. */
  readonly abort?: AbortController;
  /** Held while a step is executed, so that builds side by side execute it once. */
  readonly locks?: StepLocks;
  /** Which Dockerfile this is, for comparing steps with what they were before. */
  readonly project?: Project;
  /** Steps that must not be executed: NOT_CACHED is thrown instead. */
  readonly mustBeCached?: (vertex: Vertex) => boolean;
  /** Awaited before a step is executed. What it throws is thrown as that of the step. */
  readonly beforeExecute?: () => Promise<void>;
  /** Who is to be told of a vertex's layer while it is packed. It may still be given up. */
  readonly onPacking?: ((vertex: Vertex) => OnPacking | undefined) | undefined;
  /** Called as soon as a vertex's result is known, before later vertices run. */
  readonly onResult?: (vertex: Vertex, result: Result) => void;
}

export interface Solution {
  readonly result: Result;
  /** Result of every vertex below the target. */
  readonly results: ReadonlyMap<Digest, Result>;
  readonly executed: number;
  readonly cached: number;
  /** Nobody has what they made, and nobody needed it: what they are known to be was enough. */
  readonly skipped: number;
}

/** Solves `target`. Throws what the first failing vertex threw, with that vertex's place in the Dockerfile. */
export async function solve(target: Vertex, options: SolveOptions): Promise<Solution> {
  const abort = options.abort ?? new AbortController();
  const signal = AbortSignal.any([options.signal, abort.signal]);
  const limit = pLimit(options.parallelism);
  const promises = new Map<Digest, Promise<Result>>();
  const results = new Map<Digest, Result>();
  const inFlight = new Map<CacheKey, Promise<Result>>();
  /** Vertices whose files somebody looks into: what a record says is not enough, its layers must be had. */
  const needed = new Set<Digest>([target.id]);
  const made = new Set<Digest>();
  /** Recorded, with files that are nowhere: nothing can be said of these before it is known whether somebody needs them. */
  const absent = new Map<Digest, Vertex>();
  const counts = { executed: 0, cached: 0 };
  const vertices = inOrder(target);
  let explainer: Explainer | undefined;
  let failure: { readonly error: unknown } | undefined;

  for (const vertex of vertices) {
    options.sink.emit({
      kind: 'vertex',
      vertex: vertex.id,
      name: vertex.name,
      at: options.host.now(),
      ...(vertex.source === undefined ? {} : { source: vertex.source }),
    });
  }

  function visit(vertex: Vertex): Promise<Result> {
    const known = promises.get(vertex.id);
    if (known !== undefined) return known;
    const promise = solveVertex(vertex).then(
      (result) => {
        results.set(vertex.id, result);
        options.onResult?.(vertex, result);
        return result;
      },
      (error: unknown) => {
        failure ??= { error };
        abort.abort();
        throw error;
      },
    );
    promises.set(vertex.id, promise);
    return promise;
  }

  async function solveVertex(vertex: Vertex): Promise<Result> {
    for (;;) {
      const settled = await Promise.allSettled(vertex.inputs.map(visit));
      const inputs: Result[] = [];
      for (const input of settled) {
        if (input.status === 'rejected') throw input.reason;
        inputs.push(input.value);
      }
      const used = vertex.inputs.map(({ id }) => promises.get(id));
      try {
        return await limit(() => solveOne(vertex, inputs));
      } catch (error) {
        if (!isTsbuildError(error, 'LAYER_LOST')) throw error;
        await forgetLost(vertex);
        const isSame = vertex.inputs.every(({ id }, index) => promises.get(id) === used[index]);
        if (!isSame) continue;
        report(vertex, { kind: 'failed', message: error.message });
        throw error;
      }
    }
  }

  /** Inputs whose layers are nowhere are solved anew, this time by work. */
  async function forgetLost(vertex: Vertex): Promise<void> {
    for (const input of vertex.inputs) {
      const result = results.get(input.id);
      // Nothing is executed for these: what they name is there or not. What was executed is there.
      const isGiven =
        input.op.kind === 'image' ||
        input.op.kind === 'context' ||
        input.op.kind === 'http' ||
        made.has(input.id);
      if (result === undefined || isGiven || (await options.isAvailable(result))) continue;
      if (results.get(input.id) !== result) continue;
      needed.add(input.id);
      results.delete(input.id);
      promises.delete(input.id);
      absent.delete(input.id);
      await forgetLost(input);
    }
  }

  function report(vertex: Vertex, status: VertexStatus): void {
    options.sink.emit({ kind: 'status', vertex: vertex.id, status, at: options.host.now() });
  }

  async function isUsable(vertex: Vertex, record: StepRecord | undefined): Promise<boolean> {
    return record !== undefined && (!needed.has(vertex.id) || (await options.isAvailable(record.result)));
  }

  /** From here, else from elsewhere; told of in any case. */
  async function findRecord(vertex: Vertex, key: CacheKey): Promise<Found | undefined> {
    if (vertex.noCache === true) return undefined;
    const here = await findHere(vertex, key);
    if (here !== undefined) return { record: here };
    const record = await options.remote?.find(key);
    if (record === undefined || !(await isUsable(vertex, record))) return undefined;
    options.records.put(record);
    options.remote?.keep(record, vertex);
    return { record, from: 'remote' };
  }

  async function findHere(vertex: Vertex, key: CacheKey): Promise<StepRecord | undefined> {
    const record = options.records.get(key);
    if (record === undefined || !(await isUsable(vertex, record))) return undefined;
    options.records.touch(key);
    options.remote?.keep(record, vertex);
    return record;
  }

  async function openExplainer(): Promise<Explainer> {
    const { createExplainer } = await import('./why/explainer.ts');
    const { records, host, project, remote } = options;
    const earlier = await remote?.earlier?.();
    return (explainer ??= createExplainer({ records, host, project, vertices, earlier }));
  }

  /** Why there is no record that could be used. Throws NOT_CACHED. */
  async function explainMiss(vertex: Vertex, key: CacheKey, description: CacheMap): Promise<Explanation> {
    const explanation = (await openExplainer()).explain(vertex, key, description);
    const { summarize } = await import('./why/describe.ts');
    const { causes } = explanation;
    const why = summarize(causes);
    if (options.mustBeCached?.(vertex) === true)
      throw new TsbuildError('NOT_CACHED', `${vertex.name} is not cached: ${why}`, {
        hint: 'see everything that differs with "tsbuild why" and the same arguments',
      });
    report(vertex, { kind: 'executing', why, causes });
    return explanation;
  }

  function take(vertex: Vertex, { record: { result }, from }: Found): Result {
    if (!needed.has(vertex.id) && options.hasFiles?.(result) === false) absent.set(vertex.id, vertex);
    else {
      counts.cached += 1;
      report(vertex, { kind: 'cached', ...(from === undefined ? {} : { from }) });
    }
    return result;
  }

  async function solveOne(vertex: Vertex, inputs: readonly Result[]): Promise<Result> {
    const status = (value: VertexStatus): void => report(vertex, value);
    // why: TypeScript cannot see that handlers[op.kind] belongs to this op; OpHandlers guarantees it.
    const handler = options.handlers[vertex.op.kind] as unknown as OpHandler<Op>;
    const context: VertexContext = {
      vertex,
      op: vertex.op,
      inputs,
      signal,
      progress: progressOf(vertex, options),
      onPacking: options.onPacking?.(vertex),
    };
    status({ kind: 'started' });
    let description: CacheMap | undefined;
    try {
      if (signal.aborted) throw new TsbuildError('ABORTED', 'the build was aborted');
      description = await handler.cacheMap(context);
      if (description === undefined) {
        const result = await handler.exec(context);
        status({ kind: 'done' });
        return result;
      }
      const key = digestOf(canonicalJson({ ...description.named })) as CacheKey;
      const found = await findRecord(vertex, key);
      if (found !== undefined) {
        description.remember?.();
        return take(vertex, found);
      }
      // Two vertices may turn out to be the same work once their inputs are known.
      const twin = inFlight.get(key);
      if (twin !== undefined) {
        const result = await twin;
        status({ kind: 'cached' });
        return result;
      }
      const execution = execute(handler, context, key, description);
      inFlight.set(key, execution);
      execution.catch(() => inFlight.delete(key));
      return await execution;
    } catch (error) {
      const located = locate(error, vertex.source);
      if (isTsbuildError(located, 'LAYER_LOST') && !signal.aborted) throw located;
      if (signal.aborted && (isTsbuildError(error, 'ABORTED') || isAbortError(error))) {
        status({ kind: 'canceled' });
        throw new TsbuildError('ABORTED', 'the build was aborted', { cause: error });
      }
      status({ kind: 'failed', message: located instanceof Error ? located.message : String(located) });
      throw located;
    } finally {
      await description?.release?.();
    }
  }

  /** What another build executes is waited for; what must be executed in any case is not. */
  async function lockStep(vertex: Vertex, key: CacheKey): Promise<Disposable | undefined> {
    if (vertex.noCache === true) return undefined;
    return options.locks?.acquire(key, { signal, onWait: () => report(vertex, { kind: 'waiting' }) });
  }

  async function execute(
    handler: OpHandler<Op>,
    context: VertexContext,
    key: CacheKey,
    description: CacheMap,
  ): Promise<Result> {
    const { vertex } = context;
    const { named, exec } = description;
    using lock = await lockStep(vertex, key);
    const theirs = lock === undefined ? undefined : await findHere(vertex, key);
    if (theirs !== undefined) {
      description.remember?.();
      counts.cached += 1;
      report(vertex, { kind: 'cached', from: 'build' });
      return theirs.result;
    }
    await options.beforeExecute?.();
    const run = (): Promise<Result> => (exec === undefined ? handler.exec(context) : exec());
    await openExplainer();
    const started = options.host.now();
    const running = options.mustBeCached?.(vertex) === true ? undefined : run();
    // Whoever awaits it below is told.
    running?.catch(() => undefined);
    // why: looking for the cause is work of this thread; the step's process or native call begins before it.
    await setImmediate();
    const { causes, nearest } = await explainMiss(vertex, key, description);
    (await openExplainer()).keep(description);
    description.remember?.();
    const result = await (running ?? run());
    counts.executed += 1;
    made.add(context.vertex.id);
    const finished = options.host.now();
    const bare: StepRecord = { key, named, result, tookMs: finished - started, finished };
    const record = (await openExplainer()).complete(bare, vertex, description, causes);
    options.records.put(record);
    options.remote?.keep(record, vertex);
    const isSame = nearest !== undefined && identityOf(nearest.result) === identityOf(result);
    report(vertex, { kind: 'done', ...(isSame ? { same: true } : {}) });
    return result;
  }

  try {
    const result = await visit(target);
    return { result, results, ...counts, skipped: absent.size };
  } catch (error) {
    abort.abort();
    await Promise.allSettled(promises.values());
    throw firstFailure(failure?.error, error, options.signal);
  } finally {
    for (const vertex of absent.values()) report(vertex, { kind: 'skipped', why: 'no step needs its files' });
    explainer?.save();
  }
}

interface Found {
  readonly record: StepRecord;
  readonly from?: 'remote';
}

function firstFailure(first: unknown, thrown: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return new TsbuildError('ABORTED', 'the build was aborted', { cause: thrown });
  return first ?? thrown;
}

function isAbortError(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}

/** Vertices below and including `target`, inputs first, each once. */
export function inOrder(target: Vertex): readonly Vertex[] {
  const seen = new Set<Digest>();
  const order: Vertex[] = [];
  // why: a chain of hundreds of RUNs is legal, so no recursion that could overflow; two visits per vertex instead.
  const stack: { readonly vertex: Vertex; readonly expanded: boolean }[] = [
    { vertex: target, expanded: false },
  ];
  for (let item = stack.pop(); item !== undefined; item = stack.pop()) {
    const { vertex, expanded } = item;
    if (expanded) order.push(vertex);
    if (expanded || seen.has(vertex.id)) continue;
    seen.add(vertex.id);
    stack.push({ vertex, expanded: true });
    for (const input of [...vertex.inputs].reverse()) stack.push({ vertex: input, expanded: false });
  }
  return order;
}

function progressOf(vertex: Vertex, { sink, host }: SolveOptions): VertexProgress {
  return {
    log: (stream, data) => sink.emit({ kind: 'log', vertex: vertex.id, stream, data, at: host.now() }),
    warn: (message, hint) =>
      sink.emit({
        kind: 'warning',
        message,
        vertex: vertex.id,
        at: host.now(),
        ...(hint === undefined ? {} : { hint }),
        ...(vertex.source === undefined ? {} : { source: vertex.source }),
      }),
    transfer: (item) => sink.emit({ kind: 'transfer', vertex: vertex.id, at: host.now(), ...item }),
  };
}

/** Canonical JSON of any plain data, for descriptions. */
export function asJson(value: unknown): Json {
  return JSON.parse(JSON.stringify(value)) as Json;
}
