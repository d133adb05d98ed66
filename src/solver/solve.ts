/**
 * The solver: memoised recursion over the vertices of one build.
 *
 * One promise per vertex gives sharing (a vertex of two stages runs once) and parallelism (inputs are solved
 * side by side); a limit bounds what executes at the same time. There is no scheduler, no edge merging and
 * nothing that outlives the build. The first failure aborts the rest, and is thrown when the rest has ended.
 */
import pLimit from 'p-limit';
import { digestOf, type CacheKey, type Digest } from '../base/digest.ts';
import { isTsbuildError, locate, TsbuildError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { canonicalJson, type Json } from '../base/json.ts';
import type { Vertex } from '../graph/graph.ts';
import type { Op } from '../graph/ops.ts';
import type { ProgressSink, VertexStatus } from '../progress/progress.ts';
import type {
  NamedInputs,
  OpHandler,
  OpHandlers,
  StepRecord,
  VertexContext,
  VertexProgress,
} from './handler.ts';
import type { RecordStore } from './records.ts';
import type { Result } from './result.ts';

export interface SolveOptions {
  readonly handlers: OpHandlers;
  readonly records: RecordStore;
  /** Whether what a record promises is still at hand. */
  readonly isAvailable: (result: Result) => Promise<boolean>;
  readonly host: Host;
  readonly sink: ProgressSink;
  /** How many vertices may execute at a time. */
  readonly parallelism: number;
  readonly signal: AbortSignal;
  /** Called as soon as a vertex's result is known, before later vertices run. */
  readonly onResult?: (vertex: Vertex, result: Result) => void;
}

export interface Solution {
  readonly result: Result;
  /** Result of every vertex below the target. */
  readonly results: ReadonlyMap<Digest, Result>;
  readonly executed: number;
  readonly cached: number;
}

/** Solves `target`. Throws what the first failing vertex threw, with that vertex's place in the Dockerfile. */
export async function solve(target: Vertex, options: SolveOptions): Promise<Solution> {
  const abort = new AbortController();
  const signal = AbortSignal.any([options.signal, abort.signal]);
  const limit = pLimit(options.parallelism);
  const promises = new Map<Digest, Promise<Result>>();
  const results = new Map<Digest, Result>();
  const inFlight = new Map<CacheKey, Promise<Result>>();
  const counts = { executed: 0, cached: 0 };
  let failure: { readonly error: unknown } | undefined;

  for (const vertex of inOrder(target)) {
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
    const settled = await Promise.allSettled(vertex.inputs.map(visit));
    const inputs: Result[] = [];
    for (const input of settled) {
      if (input.status === 'rejected') throw input.reason;
      inputs.push(input.value);
    }
    return limit(() => solveOne(vertex, inputs));
  }

  async function solveOne(vertex: Vertex, inputs: readonly Result[]): Promise<Result> {
    const { host } = options;
    const status = (value: VertexStatus): void =>
      options.sink.emit({ kind: 'status', vertex: vertex.id, status: value, at: host.now() });
    // why: TypeScript cannot see that handlers[op.kind] belongs to this op; OpHandlers guarantees it.
    const handler = options.handlers[vertex.op.kind] as unknown as OpHandler<Op>;
    const context: VertexContext = {
      vertex,
      op: vertex.op,
      inputs,
      signal,
      progress: progressOf(vertex, options),
    };
    status({ kind: 'started' });
    try {
      if (signal.aborted) throw new TsbuildError('ABORTED', 'the build was aborted');
      const description = await handler.cacheMap(context);
      if (description === undefined) {
        const result = await handler.exec(context);
        status({ kind: 'done' });
        return result;
      }
      const key = digestOf(canonicalJson({ ...description.named })) as CacheKey;
      const record = vertex.noCache === true ? undefined : options.records.get(key);
      if (record !== undefined && (await options.isAvailable(record.result))) {
        counts.cached += 1;
        status({ kind: 'cached' });
        return record.result;
      }
      // Two vertices may turn out to be the same work once their inputs are known.
      const twin = inFlight.get(key);
      if (twin !== undefined) {
        const result = await twin;
        status({ kind: 'cached' });
        return result;
      }
      const execution = execute(handler, context, key, description.named);
      inFlight.set(key, execution);
      const result = await execution;
      status({ kind: 'done' });
      return result;
    } catch (error) {
      const located = locate(error, vertex.source);
      if (signal.aborted && (isTsbuildError(error, 'ABORTED') || isAbortError(error))) {
        status({ kind: 'canceled' });
        throw new TsbuildError('ABORTED', 'the build was aborted', { cause: error });
      }
      status({ kind: 'failed', message: located instanceof Error ? located.message : String(located) });
      throw located;
    }
  }

  async function execute(
    handler: OpHandler<Op>,
    context: VertexContext,
    key: CacheKey,
    named: NamedInputs,
  ): Promise<Result> {
    const started = options.host.now();
    const result = await handler.exec(context);
    counts.executed += 1;
    const finished = options.host.now();
    const record: StepRecord = { key, named, result, tookMs: finished - started, finished };
    options.records.put(record);
    return result;
  }

  try {
    const result = await visit(target);
    return { result, results, ...counts };
  } catch (error) {
    abort.abort();
    await Promise.allSettled(promises.values());
    throw firstFailure(failure?.error, error, options.signal);
  }
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
