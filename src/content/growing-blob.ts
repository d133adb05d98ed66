/** A blob that is read while it is still being written: its readers wait for what is not there yet. */
import { open, type FileHandle } from 'node:fs/promises';
import { errnoOf, ioError, TsbuildError } from '../base/errors.ts';
import { createGrowth } from '../base/growth.ts';

export interface GrowingBlob {
  /** So many bytes lie in the file. */
  readonly grown: (size: number) => void;
  /** Nothing more comes. */
  end(): void;
  fail(error: unknown): void;
  /**
   * From the beginning, any number of times; the bytes of a chunk of CHUNK hold until the next but one is asked for.
   * Throws what it failed with, ABORTED or IO_FAILED.
   */
  readonly read: (signal: AbortSignal) => AsyncGenerator<Uint8Array>;
}

const CHUNK = 256 << 10;
/** Whole chunks whose bytes hold: who sends one asks for the next when the one before has been written. */
const HELD = 3;

/** `path`: where the file lies now; it may be renamed between two calls. */
export function createGrowingBlob(path: () => string): GrowingBlob {
  const growth = createGrowth();
  return {
    grown: growth.grown,
    end: growth.end,
    fail: growth.fail,
    async *read(signal) {
      let file: FileHandle | undefined;
      // why taken in turns: a new buffer each makes V8 collect all garbage every few dozen of them, a second per GiB.
      const chunks: Buffer[] = [];
      try {
        for (let at = 0, turn = 0; await growth.hasMore(at, signal); turn = (turn + 1) % HELD) {
          file ??= await openWhereItIs(path);
          // why not for small ones: several of them are held by a socket before it makes who sends wait.
          const left = growth.size - at;
          const isWhole = left >= CHUNK;
          const chunk = isWhole
            ? (chunks[turn] ??= Buffer.allocUnsafeSlow(CHUNK))
            : Buffer.allocUnsafeSlow(left);
          const { bytesRead } = await file.read(chunk, 0, chunk.byteLength, at);
          if (bytesRead === 0) throw new TsbuildError('IO_FAILED', 'a blob became shorter while it was read');
          at += bytesRead;
          yield chunk.subarray(0, bytesRead);
        }
      } catch (error) {
        throw ioError('read a blob', error);
      } finally {
        await file?.close();
      }
    },
  };
}

/** It may be moved between the question for its place and the opening. */
async function openWhereItIs(path: () => string): Promise<FileHandle> {
  for (;;) {
    const place = path();
    try {
      return await open(place, 'r');
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT' || path() === place) throw error;
    }
  }
}
