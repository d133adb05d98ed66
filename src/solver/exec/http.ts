/** HttpOp: one file fetched by http(s), held as a blob. What was fetched is the result; nothing is recorded. */
import { TsbuildError } from '../../base/errors.ts';
import type { Digest } from '../../base/digest.ts';
import type { HttpOp } from '../../graph/ops.ts';
import type { OpHandler, VertexProgress } from '../handler.ts';

export interface FetchedFile {
  readonly blob: Digest;
  readonly size: number;
  /** Seconds since the epoch: Last-Modified, else 0. */
  readonly mtime: number;
}

export interface HttpHandlerOptions {
  readonly fetch: (
    url: string,
    options: { readonly signal: AbortSignal; readonly progress: VertexProgress },
  ) => Promise<FetchedFile>;
}

export function createHttpHandler(options: HttpHandlerOptions): OpHandler<HttpOp> {
  return {
    cacheMap: () => Promise.resolve(undefined),
    async exec({ op, signal, progress }) {
      const file = await options.fetch(op.url, { signal, progress });
      if (op.checksum !== undefined && op.checksum !== file.blob)
        throw new TsbuildError(
          'DIGEST_MISMATCH',
          `digest mismatch of ${JSON.stringify(op.url)}: got ${file.blob}, expected ${op.checksum}`,
        );
      return { kind: 'file', filename: op.filename, ...file };
    },
  };
}
