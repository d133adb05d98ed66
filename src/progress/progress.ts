/**
 * Progress: plain data about a build, emitted as it happens. Renderers (`src/cli`) and libraries read it;
 * nothing else of tsbuild prints.
 *
 * Times are milliseconds since the epoch, taken from the Host's clock by the emitter.
 */
import type { SourceRef } from '../base/errors.ts';
import type { Cause } from './cause.ts';

export type VertexStatus =
  | { readonly kind: 'started' }
  /** Another build executes the same step; what it makes will be taken. */
  | { readonly kind: 'waiting' }
  /** There is no result that could be used, for these reasons; `why` has them in words. */
  | { readonly kind: 'executing'; readonly why: string; readonly causes: readonly Cause[] }
  /** Nothing was executed: the result of an earlier build was there, or another machine's, or a running build's. */
  | { readonly kind: 'cached'; readonly from?: 'remote' | 'build' }
  /** Nothing was executed for it, and no files of it were needed: nobody has them. */
  | { readonly kind: 'skipped'; readonly why: string }
  /** `same`: it was executed and has the same files as before, so what follows stays cached. */
  | { readonly kind: 'done'; readonly same?: true }
  | { readonly kind: 'canceled' }
  | { readonly kind: 'failed'; readonly message: string };

export type ProgressEvent =
  /** Announced once per vertex, before any other event about it. `name` is e.g. `[build 2/5] RUN npm ci`. */
  | {
      readonly kind: 'vertex';
      readonly vertex: string;
      readonly name: string;
      readonly source?: SourceRef;
      readonly at: number;
    }
  | { readonly kind: 'status'; readonly vertex: string; readonly status: VertexStatus; readonly at: number }
  /** Bytes that a RUN wrote; not cut at lines. */
  | {
      readonly kind: 'log';
      readonly vertex: string;
      readonly stream: 'stdout' | 'stderr';
      readonly data: Uint8Array;
      readonly at: number;
    }
  /** Something with an amount: a blob pulled or pushed, files hashed. `total` is absent where unknown. */
  | {
      readonly kind: 'transfer';
      readonly vertex: string;
      /** Unique within the vertex, e.g. a digest. */
      readonly item: string;
      readonly action: string;
      readonly current: number;
      readonly total?: number;
      readonly unit: 'bytes' | 'files';
      readonly done: boolean;
      readonly at: number;
    }
  | {
      readonly kind: 'warning';
      readonly message: string;
      readonly vertex?: string;
      readonly source?: SourceRef;
      readonly hint?: string;
      readonly at: number;
    };

export interface ProgressSink {
  emit(event: ProgressEvent): void;
}

/** For library calls that nobody watches. */
export const silentSink: ProgressSink = { emit: () => undefined };
