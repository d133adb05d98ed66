/** ContextOp: the user's files stay where they are; whoever copies from them reads them. */
import type { ContextOp } from '../../graph/ops.ts';
import type { OpHandler } from '../handler.ts';

export function createContextHandler(): OpHandler<ContextOp> {
  return {
    cacheMap: () => Promise.resolve(undefined),
    exec: ({ op }) => Promise.resolve({ kind: 'context', name: op.name }),
  };
}
