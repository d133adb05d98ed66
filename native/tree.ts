/**
 * Client of tsbuild-tree: one call per tree or per layer, none per file (tree/tree.h).
 *
 * A call is a process of its own, which may touch the descriptors that it is given and what lies beneath those that
 * are directories, nothing else. It ends with its answer, with an error, or with the caller.
 */
import { closeSync, writevSync } from 'node:fs';
import type { Writable } from 'node:stream';
import { constants } from 'node:os';
import { ioError, TsbuildError } from '../src/base/errors.ts';
import { readFrames } from './frames.ts';
import { locateNative } from './locate.ts';
import { startProgram, type Program } from './program.ts';
import { memoryFile } from './sys.ts';

const DONE = 1;
const FAILED = 2;
const PROGRESS = 3;
const DATA = 4;

/** In the program, the first of `descriptors` has this number. */
export const FIRST_DESCRIPTOR = 5;

export interface TreeCall {
  readonly job: string;
  readonly request: Uint8Array | readonly Uint8Array[];
  /** Open descriptors of the caller, which stays their owner. */
  readonly descriptors: readonly number[];
  /** Bytes that the job reads from a pipe, its first descriptor, before `descriptors`. What they throw is thrown. */
  readonly input?: AsyncIterable<Uint8Array>;
  readonly signal?: AbortSignal;
  /** What the call is for, for messages: `pack a layer`. */
  readonly what: string;
  /** Frames of data; what the job promises. The bytes may be kept. */
  readonly onData?: (payload: Buffer) => void;
  /** An error of its own for what the program refused; `text` has a character per byte. undefined: the usual one. */
  readonly refused?: (errno: string, text: string) => Error | undefined;
  /** Bytes so far. */
  readonly onProgress?: (bytes: number) => void;
}

/** why: a socket takes a little at a time, whenever this thread gets to it; the program would wait for what else it does. */
const IN_MEMORY = 64 << 10;
/** What writev(2) takes at once. */
const MOST_PARTS = 1024;

/** A request in a file, which the program reads from the beginning. The caller closes it. */
function fileOf(parts: readonly Uint8Array[], size: number): number {
  const fd = memoryFile('request');
  try {
    let left = parts.length > MOST_PARTS ? [Buffer.concat(parts, size)] : [...parts];
    for (let at = 0; at < size; ) {
      const written = writevSync(fd, left, at);
      at += written;
      left = without(left, written);
    }
    return fd;
  } catch (error) {
    closeSync(fd);
    throw ioError('keep a request in memory', error);
  }
}

/** What is left of the parts behind their first `bytes`. */
function without(parts: readonly Uint8Array[], bytes: number): Uint8Array[] {
  let left = bytes;
  return parts.flatMap((part) => {
    const passed = Math.min(left, part.byteLength);
    left -= passed;
    return passed === part.byteLength ? [] : [part.subarray(passed)];
  });
}

function start({ job, input, descriptors }: TreeCall, file: number | undefined): Program {
  try {
    return startProgram(locateNative('tsbuild-tree'), ['tsbuild-tree', job], {
      fds: [
        ...(['null', 'null', 2, file ?? 'socket', 'socket'] as const),
        ...(input === undefined ? [] : ['input' as const]),
        ...descriptors,
      ],
    });
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

/**
 * Carries a call out; resolves with what the job promises. Throws ABORTED; what the program refuses as
 * ARCHIVE_INVALID (`EBADMSG`), DISK_FULL, PERMISSION_DENIED or IO_FAILED.
 */
export async function callTree(call: TreeCall): Promise<Buffer> {
  const parts = call.request instanceof Uint8Array ? [call.request] : call.request;
  const size = parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const file = size < IN_MEMORY ? undefined : fileOf(parts, size);
  const { socket, input, ended, kill } = start(call, file);
  let answer: Buffer | undefined;
  let failure: Error | undefined;
  readFrames(socket, (type, _id, payload) => {
    if (type === DONE) answer = Buffer.from(payload);
    else if (type === FAILED) failure = refusal(call, payload);
    else if (type === DATA) call.onData?.(payload);
    else if (type === PROGRESS) call.onProgress?.(Number(payload.readBigUInt64LE(0)));
  });
  if (file === undefined) for (const part of parts) socket.write(part);
  socket.end();
  if (call.signal?.aborted === true) kill();
  call.signal?.addEventListener('abort', kill, { once: true });
  let refused: { readonly error: unknown } | undefined;
  if (call.input !== undefined && input !== undefined)
    feed(call.input, input).catch((error: unknown) => {
      refused = { error };
      kill();
    });
  const how = await ended;
  input?.destroy();
  call.signal?.removeEventListener('abort', kill);
  if (refused !== undefined) throw refused.error;
  if (answer !== undefined) return answer;
  if (call.signal?.aborted === true) throw new TsbuildError('ABORTED', 'the build was aborted');
  throw failure ?? new TsbuildError('IO_FAILED', `cannot ${call.what}: it ended with ${how ?? '0'}`);
}

/** Throws what the source throws. Where the program reads no more, the rest is left. */
async function feed(source: AsyncIterable<Uint8Array>, to: Writable): Promise<void> {
  // why: that it is broken shows in `destroyed`.
  to.on('error', () => undefined);
  for await (const chunk of source) {
    // why: a source may use its buffer again once it is asked for more.
    await new Promise<void>((resolve) => to.write(chunk, () => resolve()));
    if (to.destroyed) break;
  }
  to.end();
}

const names = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));

function refusal({ what, refused }: TreeCall, payload: Buffer): Error {
  const errno = payload.readUInt32LE(0);
  const text = payload.toString('utf8', 4);
  if (errno === 0) return new TsbuildError('IO_FAILED', `cannot ${what}: ${text}`);
  const name = names.get(errno) ?? `errno ${errno}`;
  const own = refused?.(name, payload.toString('latin1', 4));
  if (own !== undefined) return own;
  if (name === 'EBADMSG') return new TsbuildError('ARCHIVE_INVALID', text);
  return ioError(what, Object.assign(new Error(`${text}: ${name}`), { code: name }));
}
