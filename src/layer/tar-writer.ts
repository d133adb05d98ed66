/**
 * The writer of layers: entries in, deterministic tar out, synchronously through one reused buffer.
 *
 * Per-file promises would cost five times as much as the file itself; callers with long loops yield now and then.
 */
import { readSync } from 'node:fs';
import { toText } from '../base/byte-string.ts';
import { ioError, TsbuildError } from '../base/errors.ts';
import { BLOCK, encodeHeader, type TarEntry } from './tar-header.ts';

const BUFFER = 1 << 20;
/** Above this a file is read by turns with the event loop (see `largeFile`). */
const SLICE = 8 << 20;

export interface TarWriter {
  /** Writes a header; a file's `content` must follow, exactly `size` bytes. */
  entry(header: TarEntry): void;
  content(bytes: Uint8Array): void;
  /** Header and content of a regular file; throws IO_FAILED where the file has become shorter. */
  file(header: TarEntry, fd: number): void;
  /** As `file`, letting the event loop run between slices of 8 MiB. */
  largeFile(header: TarEntry, fd: number, signal: AbortSignal): Promise<void>;
  /** Two zero blocks; nothing may be written afterwards. Flushes. */
  end(): void;
}

export function isLarge(size: number): boolean {
  return size > SLICE;
}

export function createTarWriter(out: { write(bytes: Uint8Array): void }): TarWriter {
  const buffer = Buffer.allocUnsafe(BUFFER);
  let used = 0;
  let expected = 0;
  let padded = 0;

  function flush(): void {
    if (used > 0) out.write(buffer.subarray(0, used));
    used = 0;
  }

  function append(bytes: Uint8Array): void {
    if (bytes.byteLength > BUFFER - used) flush();
    if (bytes.byteLength > BUFFER) {
      out.write(bytes);
      return;
    }
    buffer.set(bytes, used);
    used += bytes.byteLength;
  }

  function pad(): void {
    if (padded === 0) return;
    if (padded > BUFFER - used) flush();
    buffer.fill(0, used, used + padded);
    used += padded;
    padded = 0;
  }

  function begin(header: TarEntry): void {
    if (expected !== 0)
      throw new TsbuildError('IO_FAILED', `content of a layer entry is ${expected} bytes short`);
    append(encodeHeader(header));
    expected = header.type === 'file' ? header.size : 0;
    padded = (BLOCK - (expected % BLOCK)) % BLOCK;
  }

  /** Reads up to `limit` bytes of the file straight into the buffer. */
  function read(header: TarEntry, fd: number, limit: number): void {
    for (let left = Math.min(limit, expected); left > 0; ) {
      if (used === BUFFER) flush();
      let n: number;
      try {
        n = readSync(fd, buffer, used, Math.min(left, BUFFER - used), null);
      } catch (error) {
        throw ioError(`read ${JSON.stringify(toText(header.path))}`, error);
      }
      if (n === 0)
        throw new TsbuildError(
          'IO_FAILED',
          `${JSON.stringify(toText(header.path))} became shorter while it was read`,
        );
      used += n;
      left -= n;
      expected -= n;
    }
    if (expected === 0) pad();
  }

  return {
    entry(header) {
      begin(header);
    },
    content(bytes) {
      if (bytes.byteLength > expected)
        throw new TsbuildError('IO_FAILED', 'content of a layer entry is too long');
      append(bytes);
      expected -= bytes.byteLength;
      if (expected === 0) pad();
    },
    file(header, fd) {
      begin(header);
      read(header, fd, header.size);
    },
    async largeFile(header, fd, signal) {
      begin(header);
      while (expected > 0) {
        read(header, fd, SLICE);
        await new Promise((resolve) => setImmediate(resolve));
        signal.throwIfAborted();
      }
    },
    end() {
      if (expected !== 0)
        throw new TsbuildError('IO_FAILED', `content of a layer entry is ${expected} bytes short`);
      append(new Uint8Array(2 * BLOCK));
      flush();
    },
  };
}
