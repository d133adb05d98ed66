/**
 * A native program with a socket to it, started without copying Node (spawn.c).
 *
 * Node knows nothing of such a child. Its end is looked for at each SIGCHLD, as libuv does for its own: the signal comes
 * when there is a status to be had, and one that stands for several makes all be looked for.
 */
import { Socket } from 'node:net';
import { constants } from 'node:os';
import { basename } from 'node:path';
import { ioError } from '../src/base/errors.ts';
import { spawnProgram, waitFor, type ProgramDescriptor } from './sys.ts';

export interface Program {
  readonly pid: number;
  /** Must be read, or its end is never seen. */
  readonly socket: Socket;
  /** Where it has one: to write to alone. The caller closes it. */
  readonly input?: Socket;
  /**
   * Resolves when the socket is closed and the process gone: undefined if it exited with 0, else the signal's name or the
   * exit status. All that it wrote has been read by then.
   */
  readonly ended: Promise<string | undefined>;
  /** SIGKILL. Without effect where it is gone. */
  readonly kill: () => void;
}

export interface ProgramOptions {
  /** What its descriptors from 0 on are; one of them is a `socket` where there shall be one to it. */
  readonly fds: readonly ProgramDescriptor[];
  /** Default: this process's. */
  readonly cwd?: string;
}

const LOOK_MS = 100;

/** Those that have not ended, by pid, with what their status is told to. */
const running = new Map<number, (status: number) => void>();

function look(): void {
  for (const [pid, tell] of running) {
    const status = waitFor(pid);
    if (status === undefined) continue;
    running.delete(pid);
    tell(status);
  }
  if (running.size === 0) process.off('SIGCHLD', look);
}

/** With what tells its status as waitpid(2) has it, which keeps nobody from ending. */
function begin(
  path: string,
  args: readonly string[],
  { fds, cwd = '' }: ProgramOptions,
): ReturnType<typeof spawnProgram> & { readonly exited: Promise<number> } {
  // why first: it may end before this goes on, and where somebody ignores the signal no status would be kept.
  if (running.size === 0) process.on('SIGCHLD', look);
  try {
    const started = spawnProgram(path, args, fds, { env: [], directory: cwd });
    const exited = new Promise<number>((resolve) => running.set(started.pid, resolve));
    return { ...started, exited };
  } catch (error) {
    look();
    throw ioError(`start ${basename(path)}`, error);
  }
}

/**
 * A program without a socket, which may outlive this process. Resolves when it has ended, if this process lives until then: it
 * is not kept for that. Throws, before it returns, as `startProgram`.
 */
export function startDetached(path: string, args: readonly string[], options: ProgramOptions): Promise<void> {
  return begin(path, args, options).exited.then(() => undefined);
}

/** `args` begin with its name; it has no environment. Throws IO_FAILED and its kin where it cannot be started. */
export function startProgram(path: string, args: readonly string[], options: ProgramOptions): Program {
  const started = begin(path, args, options);
  const { pid, exited } = started;
  const input =
    started.input < 0 ? undefined : new Socket({ fd: started.input, readable: false, writable: true });
  const socket = new Socket({ fd: started.socket, readable: true, writable: true });
  // why: a broken socket is told by its end already.
  socket.on('error', () => undefined);
  const ended = new Promise<string | undefined>((resolve) => {
    socket.once('close', () => {
      // why: a signal alone does not keep this process; and a worker thread is told of none.
      const holding = setInterval(look, LOOK_MS);
      void exited.then((status) => {
        clearInterval(holding);
        resolve(nameOf(status));
      });
    });
  });
  return {
    ...{ pid, socket, ended },
    ...(input === undefined ? {} : { input }),
    kill() {
      // why: not yet waited for, so the number is nobody else's.
      if (running.has(pid)) process.kill(pid, 'SIGKILL');
    },
  };
}

/** `SIGKILL`, `7`; undefined for success. */
function nameOf(status: number): string | undefined {
  const signal = status & 0x7f;
  if (signal === 0) return status === 0 ? undefined : `${(status >> 8) & 0xff}`;
  return Object.entries(constants.signals).find(([, number]) => number === signal)?.[0] ?? `signal ${signal}`;
}
