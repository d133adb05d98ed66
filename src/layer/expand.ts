/**
 * A compressed layer becomes its tar, in one pass of the native program: it digests what comes in, decompresses,
 * digests and writes what comes out, and may keep what came in.
 */
import type { Digest, DiffID } from '../base/digest.ts';
import { isTsbuildError } from '../base/errors.ts';
import { callTree } from '../../native/tree.ts';

/** A whole file, or bytes as they come. */
export type ExpandSource =
  | { readonly kind: 'file'; readonly fd: number }
  | { readonly kind: 'stream'; readonly body: AsyncIterable<Uint8Array> };

export interface Expanded {
  readonly blob: { readonly digest: Digest; readonly size: number };
  readonly layer: { readonly diffID: DiffID; readonly size: number };
}

/**
 * Writes to open files of the caller: the tar to `to`, the compressed bytes to `keep`, if it is given. undefined where
 * the native program was built without what it takes, and nothing was read yet. Throws what the source throws,
 * ARCHIVE_INVALID, DISK_FULL, IO_FAILED, ABORTED; whose digests are right is the caller's to decide.
 */
export async function expandLayer(
  source: ExpandSource,
  { to, keep, signal }: { readonly to: number; readonly keep?: number; readonly signal: AbortSignal },
): Promise<Expanded | undefined> {
  const request = Buffer.alloc(4);
  request.writeUInt32LE(keep === undefined ? 0 : 1);
  const files = keep === undefined ? [to] : [to, keep];
  try {
    const answer = await callTree({
      job: 'decompress',
      request,
      descriptors: source.kind === 'file' ? [source.fd, ...files] : files,
      ...(source.kind === 'file' ? {} : { input: source.body }),
      signal,
      what: 'decompress a layer',
      refused: (errno) => (errno === 'ENOSYS' ? new NotBuiltIn() : undefined),
    });
    return {
      blob: { digest: digestAt(answer, 0), size: Number(answer.readBigUInt64LE(32)) },
      layer: { diffID: digestAt(answer, 40) as DiffID, size: Number(answer.readBigUInt64LE(72)) },
    };
  } catch (error) {
    if (error instanceof NotBuiltIn || isTsbuildError(error, 'NATIVE_MISSING')) return undefined;
    throw error;
  }
}

class NotBuiltIn extends Error {}

function digestAt(answer: Buffer, at: number): Digest {
  return `sha256:${answer.toString('hex', at, at + 32)}` as Digest;
}
