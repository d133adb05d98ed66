/**
 * Results: what a finished vertex stands for. Plain data; the bytes lie in the layer store.
 *
 * A stack of layers is enough to say what a root file system is. It is turned into a snapshot only when somebody
 * wants to look inside (see stack.ts), so a cached build touches no snapshot at all.
 */
import { chainIDOf, type ChainID, type Digest, type DiffID } from '../base/digest.ts';

export interface ResultLayer {
  readonly diffID: DiffID;
  /** When the layer was made, milliseconds since the epoch. */
  readonly created: number;
}

/** A root file system: layers, lowest first; none at all for scratch. */
export interface StackResult {
  readonly kind: 'stack';
  readonly layers: readonly ResultLayer[];
  readonly chain: ChainID | undefined;
}

/** The user's files; read where they lie. */
export interface ContextResult {
  readonly kind: 'context';
  readonly name: string;
}

/** One fetched file, held as a blob. */
export interface FileResult {
  readonly kind: 'file';
  readonly blob: Digest;
  readonly size: number;
  readonly filename: string;
  /** Seconds since the epoch. */
  readonly mtime: number;
}

export type Result = StackResult | ContextResult | FileResult;

export const emptyStack: StackResult = { kind: 'stack', layers: [], chain: undefined };

export function pushLayer(stack: StackResult, layer: ResultLayer): StackResult {
  return { kind: 'stack', layers: [...stack.layers, layer], chain: chainIDOf(stack.chain, layer.diffID) };
}

/** Identity of a result by its content, where the content is known without reading files. */
export function identityOf(result: Result): string {
  switch (result.kind) {
    case 'stack':
      return result.chain ?? 'scratch';
    case 'context':
      return `context:${result.name}`;
    case 'file':
      return `${result.blob} ${result.filename} ${result.mtime}`;
  }
}
