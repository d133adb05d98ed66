/**
 * What the solver asks of an operation: describe first, then do.
 *
 * A handler's description holds everything that decides the result, each part by name, and nothing else: it is
 * the cache key, and `tsbuild why` compares it part by part. Parents count by their content (the chainID of
 * their layers), not by their own keys, so a step that was executed again with the same outcome stops there.
 */
import type { Json } from '../base/json.ts';
import type { Digest } from '../base/digest.ts';
import type { Vertex } from '../graph/graph.ts';
import type { OnPacking } from '../layer/layer.ts';
import type { Op, OpKind, OpOf } from '../graph/ops.ts';
import type { Cause } from '../progress/cause.ts';
import type { ProgressEvent } from '../progress/progress.ts';
import type { Listing } from './listing.ts';
import type { StepOrigin } from './why/origin.ts';
import type { Result } from './result.ts';

/** Everything that decides a vertex's result, by name. */
export type NamedInputs = Readonly<Record<string, Json>>;

export interface CacheMap {
  readonly named: NamedInputs;
  /**
   * Does the vertex with what describing it has found or made already (COPY reads files once for both). The
   * handler's own `exec` is not called then.
   */
  readonly exec?: () => Promise<Result>;
  /** Gives up what describing holds for `exec`. Called once, whether `exec` was or not. */
  readonly release?: () => Promise<void> | void;
  /** What stands behind digests of files in `named`, as far as it was read now. */
  readonly listings?: readonly Listing[];
  /**
   * Keeps the digests of the listings, so that those files are not read again; called when the step is cached, or when the
   * listings are kept. why not at once: whoever finds a digest has no listing to say what changed.
   */
  readonly remember?: () => void;
  /** What kept files out of the listings. */
  readonly ignoreFile?: IgnoreFile;
}

export interface IgnoreFile {
  /** As shown to the user. */
  readonly file: string;
  readonly text: string;
}

/** One vertex being solved. */
export interface VertexContext<O extends Op = Op> {
  readonly vertex: Vertex & { readonly op: O };
  readonly op: O;
  /** Results of the vertex's inputs, in order. */
  readonly inputs: readonly Result[];
  readonly signal: AbortSignal;
  readonly progress: VertexProgress;
  /** Wants to be told of the vertex's layer while it is packed. */
  readonly onPacking?: OnPacking | undefined;
}

/** Events of one vertex; time and vertex id are filled in. */
export interface VertexProgress {
  log(stream: 'stdout' | 'stderr', data: Uint8Array): void;
  warn(message: string, hint?: string): void;
  transfer(item: Omit<Extract<ProgressEvent, { kind: 'transfer' }>, 'kind' | 'vertex' | 'at'>): void;
}

export interface OpHandler<O extends Op> {
  /** undefined: the result is found without work, nothing is recorded (image, context). */
  cacheMap(context: VertexContext<O>): Promise<CacheMap | undefined>;
  exec(context: VertexContext<O>): Promise<Result>;
}

/** A new operation does not compile without a handler. */
export type OpHandlers = { readonly [K in OpKind]: OpHandler<OpOf<K>> };

export interface StepRecord {
  readonly key: Digest;
  readonly named: NamedInputs;
  readonly result: Result;
  /** Milliseconds. */
  readonly tookMs: number;
  readonly finished: number;
  /** Where the step stood. It decides nothing. */
  readonly origin?: StepOrigin;
  /** Why it was executed then. */
  readonly causes?: readonly Cause[];
}
