/** MergeOp: layers of all inputs one above the other. No byte moves (COPY --link). */
import { TsbuildError } from '../../base/errors.ts';
import type { MergeOp } from '../../graph/ops.ts';
import type { OpHandler } from '../handler.ts';
import { emptyStack, pushLayer, type StackResult } from '../result.ts';

export function createMergeHandler(): OpHandler<MergeOp> {
  return {
    cacheMap: () => Promise.resolve(undefined),
    exec({ inputs }) {
      let merged: StackResult = emptyStack;
      for (const input of inputs) {
        if (input.kind !== 'stack')
          throw new TsbuildError('SPEC_INVALID', `cannot merge a ${input.kind} into an image`);
        for (const layer of input.layers) merged = pushLayer(merged, layer);
      }
      return Promise.resolve(merged);
    },
  };
}
