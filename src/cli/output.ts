/**
 * The streams that a command writes to, and what happens when nobody reads them any more (`tsbuild logs c | head`):
 * the command ends early and says nothing, with the exit code that a shell gives a process that SIGPIPE ended. Node
 * ignores that signal, and would end with an error of its own.
 */
import { errnoOf } from '../base/errors.ts';

/** As a shell tells of a process that SIGPIPE ended. */
export const BROKEN_PIPE = 141;

export interface Output {
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  /** Nobody reads one of them any more, and nobody else took care of that. */
  readonly isBroken: boolean;
  /** Fires then. */
  readonly signal: AbortSignal;
  /** Takes care of it from now on. */
  readonly onBroken: (handler: () => void) => void;
}

/** Of the last command of this process. why: one that carries out many would have a listener for each on its streams. */
const listeners = new WeakMap<NodeJS.WriteStream, (error: Error) => void>();

export function createOutput(): Output {
  const abort = new AbortController();
  const watched = new Set<NodeJS.WriteStream>();
  let handle = (): void => abort.abort();
  function watch(stream: NodeJS.WriteStream): NodeJS.WriteStream {
    if (watched.has(stream)) return stream;
    watched.add(stream);
    if (!listeners.has(stream)) stream.on('error', (error: Error) => listeners.get(stream)?.(error));
    listeners.set(stream, (error) => {
      if (errnoOf(error) !== 'EPIPE') throw error;
      handle();
    });
    return stream;
  }
  return {
    // why: making a stream of one of these loads what a command that does not use it can do without.
    get stdout() {
      return watch(process.stdout);
    },
    get stderr() {
      return watch(process.stderr);
    },
    get isBroken() {
      return abort.signal.aborted;
    },
    signal: abort.signal,
    onBroken: (handler) => (handle = handler),
  };
}
