/** ImageOp: the layers of an image that the frontend resolved already, or none for scratch. */
import type { Digest } from '../../base/digest.ts';
import type { ImageConfig } from '../../oci/documents.ts';
import type { ImageOp } from '../../graph/ops.ts';
import type { OpHandler } from '../handler.ts';
import { emptyStack, pushLayer, type StackResult } from '../result.ts';

export interface ImageHandlerOptions {
  /** The config of an image that was resolved earlier in this build. Throws IMAGE_NOT_FOUND. */
  readonly configOf: (manifest: Digest) => Promise<ImageConfig>;
}

export function createImageHandler(options: ImageHandlerOptions): OpHandler<ImageOp> {
  return {
    cacheMap: () => Promise.resolve(undefined),
    async exec({ op }) {
      if (op.image === undefined) return emptyStack;
      const config = await options.configOf(op.image.manifest);
      const created = timeOf(config.created);
      return config.rootfs.diff_ids.reduce<StackResult>(
        (stack, diffID) => pushLayer(stack, { diffID, created }),
        emptyStack,
      );
    },
  };
}

function timeOf(text: string | undefined): number {
  const time = text === undefined ? NaN : Date.parse(text);
  return Number.isNaN(time) ? 0 : time;
}
