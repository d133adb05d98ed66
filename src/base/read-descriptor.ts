/** A file's bytes by a descriptor that stays open. */
import { read } from 'node:fs';
import { promisify } from 'node:util';

const READ_SIZE = 1 << 20;
const readSome = promisify(read);

/**
 * From `start` up to `end` (not included) or the end of the file; where the descriptor stands makes no difference. Chunks
 * may be kept.
 *
 * why no stream of node:fs: one that is left before its end closes the descriptor, whatever `autoClose` says.
 */
export async function* readDescriptor(fd: number, start = 0, end = Infinity): AsyncGenerator<Uint8Array> {
  for (let at = start; at < end; ) {
    const size = Math.min(READ_SIZE, end - at);
    const { buffer, bytesRead } = await readSome(fd, Buffer.allocUnsafe(size), 0, size, at);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
    at += bytesRead;
  }
}
