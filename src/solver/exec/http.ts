/** HttpOp: one file fetched by http(s), held as a blob. What was fetched is the result; nothing is recorded. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
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
  /** Path of a blob on disk. */
  readonly blobPath: (blob: Digest) => string;
}

export function createHttpHandler(options: HttpHandlerOptions): OpHandler<HttpOp> {
  return {
    cacheMap: () => Promise.resolve(undefined),
    async exec({ op, signal, progress }) {
      const file = await options.fetch(op.url, { signal, progress });
      const actual = op.checksum === undefined ? undefined : await digestAs(op.checksum, file, options);
      if (actual !== op.checksum)
        throw new TsbuildError(
          'DIGEST_MISMATCH',
          `digest mismatch of ${JSON.stringify(op.url.replace(/:\/\/[^/@]*@/, '://***@'))}: got ${String(actual)}, expected ${String(op.checksum)}`,
          {
            hint: 'look at what the server has: the file has changed, or the checksum is that of another',
            ...(op.checksum === undefined ? {} : { word: op.checksum }),
          },
        );
      return { kind: 'file', filename: op.filename, ...file };
    },
  };
}

/** The file's digest by the algorithm of the checksum: sha256, sha384 or sha512. */
async function digestAs(
  checksum: string,
  { blob }: FetchedFile,
  { blobPath }: HttpHandlerOptions,
): Promise<string> {
  const algorithm = checksum.slice(0, checksum.indexOf(':'));
  if (algorithm === 'sha256') return blob;
  const hash = createHash(algorithm);
  for await (const chunk of createReadStream(blobPath(blob))) hash.update(chunk as Buffer);
  return `${algorithm}:${hash.digest('hex')}`;
}
