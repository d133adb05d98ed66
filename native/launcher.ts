/**
 * Clients of the launcher: one persistent server per build, or one process per foreground container.
 *
 * Frames are `u32 length, u32 type, u32 container id, payload` both ways (launch/frames.h).
 */
import { spawn, type ChildProcess } from 'node:child_process';
import type { Duplex, Readable, Writable } from 'node:stream';
import { TsbuildError } from '../src/base/errors.ts';
import { problemOf as netProblemOf, type NetCall, type NetResult } from './net-call.ts';
import { encodeNetOps, type NetOp } from './net-plan.ts';
import { encodeFrame, readFrames } from './frames.ts';

const START = 1;
const KILL = 2;
const NET = 3;
const NAMES = 4;
const STARTED = 10;
const STDOUT = 11;
const STDERR = 12;
const EXIT = 13;
const ERROR = 14;
const WARNING = 15;
const NET_DONE = 16;
const LEFT = 17;
const TOLD = 18;

/** What the launcher says about one container. */
export interface LaunchEvents {
  started(pid: number): void;
  output(stream: 'stdout' | 'stderr', data: Uint8Array): void;
  exited(status: { readonly signaled: boolean; readonly value: number }): void;
  /** The program was not started: operation `op` failed with `errno`. No other event follows. */
  failed(problem: LaunchProblem): void;
  warned(problem: LaunchProblem): void;
  /** An event on the way to the program, where the plan says that it tells. */
  told?(text: string): void;
  /** The launcher itself is gone. No other event follows. */
  lost(reason: string): void;
}

export interface LaunchProblem {
  readonly op: number;
  readonly errno: number;
  readonly text: string;
}

export interface LaunchServer {
  /** Sends a plan; events arrive until exited, failed or lost. */
  start(plan: Uint8Array, events: LaunchEvents): Launched;
  /** Operations of networks; a namespace that they make is held, unpinned, as long as the server lives. */
  readonly net: NetCall;
  /** Serves names there (launch/dns.h): one namespace a server. */
  serveNames(namespace: string, config: string): Promise<NetResult>;
  /** Ends the server and with it everything that it runs; resolves when it is gone. */
  close(): Promise<void>;
}

export function startLaunchServer(launcher: string): LaunchServer {
  const child = spawn(launcher, ['server'], { stdio: ['ignore', 'inherit', 'inherit', 'pipe'] });
  const socket = child.stdio[3] as Duplex;
  const running = new Map<number, LaunchEvents>();
  const asked = new Map<
    number,
    { readonly ops: readonly NetOp[]; readonly answer: (result: NetResult) => void }
  >();
  let next = 1;
  const gone = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const lose = (reason: string): void => {
    for (const [id, events] of running) {
      running.delete(id);
      events.lost(reason);
    }
    for (const { answer } of asked.values()) answer({ kind: 'lost', reason });
    asked.clear();
  };
  child.once('error', (error) => lose(error.message));
  child.once('exit', (code, signal) => lose(`it ended with ${signal ?? code ?? 'no status'}`));
  // why: a broken pipe is told by 'exit' already.
  socket.on('error', () => undefined);
  readFrames(socket, (type, id, payload) => {
    const question = asked.get(id);
    if (question !== undefined) {
      asked.delete(id);
      question.answer(netResultOf(type, payload, question.ops));
    }
    const events = running.get(id);
    if (events === undefined) return;
    if (type === EXIT || type === ERROR) running.delete(id);
    deliver(type, payload, events);
  });
  const ask = (type: number, payload: Uint8Array, ops: readonly NetOp[]): Promise<NetResult> =>
    new Promise((answer) => {
      const id = next++;
      if (child.exitCode !== null || child.signalCode !== null) {
        answer({ kind: 'lost', reason: 'it ended' });
        return;
      }
      asked.set(id, { ops, answer });
      socket.write(encodeFrame(type, payload, id));
    });
  return {
    net: (ops) => ask(NET, encodeNetOps(ops), ops),
    serveNames: (namespace, config) => ask(NAMES, Buffer.from(`${namespace}\0${config}\0`), []),
    start(plan, events) {
      const id = next++;
      running.set(id, events);
      socket.write(encodeFrame(START, plan, id));
      return {
        kill(signal) {
          const payload = Buffer.alloc(4);
          payload.writeUInt32LE(signal);
          if (running.has(id)) socket.write(encodeFrame(KILL, payload, id));
        },
        abandon: () => void running.delete(id),
      };
    },
    async close() {
      socket.end();
      await gone;
    },
  };
}

/** Where descriptors that the caller hands on are in the launcher (`preserve` of a plan). */
export const FIRST_HANDED_ON = 5;

/**
 * A container that outlives the launcher, with the caller's standard streams (or none): `started` or `failed` is the last
 * event, when the program runs or waits for its start.
 */
export function launchDetached(
  launcher: string,
  plan: Uint8Array,
  events: LaunchEvents,
  more: readonly number[] = [],
  streams: 'inherit' | 'ignore' = 'inherit',
): void {
  const child = spawn(launcher, ['create'], {
    stdio: [streams, streams, streams, 'pipe', 'pipe', ...more],
  });
  let ended = false;
  child.once('error', (error) => {
    ended = true;
    events.lost(error.message);
  });
  child.once('close', () => {
    if (!ended) events.lost('it ended without a word');
  });
  const planPipe = child.stdio[3] as Writable;
  // why: a broken pipe is told by 'close' already.
  planPipe.on('error', () => undefined);
  planPipe.end(plan);
  readFrames(child.stdio[4] as Readable, (type, _id, payload) => {
    ended ||= type === STARTED || type === ERROR;
    deliver(type, payload, events);
    // why: the container may hold the other end as long as it waits.
    if (ended) (child.stdio[4] as Readable).destroy();
  });
}

export interface ForegroundOptions {
  /** Standard input is handed on, too. */
  readonly input: boolean;
  /** False: standard output and errors are not. */
  readonly output?: boolean;
  /** Descriptors for the program, from FIRST_HANDED_ON on. */
  readonly more?: readonly number[];
  /**
   * The process goes on when the caller is gone, when these keys are typed at its terminal (none: no keys), or when
   * nobody reads that any more: `left` tells, and no other event follows. Absent: it ends with the caller.
   */
  readonly leaving?: { readonly keys: Uint8Array; readonly left: (why: 'keys' | 'unread') => void };
}

export interface Launched {
  kill(signal: number): void;
  /** Waits for it no longer; no event follows. What cannot go on alone is to be killed before. */
  abandon(): void;
}

/** One process with the caller's standard streams. */
export function launchForeground(
  launcher: string,
  plan: Uint8Array,
  events: LaunchEvents,
  { input, output = true, more = [], leaving }: ForegroundOptions,
): Launched {
  const call =
    leaving === undefined
      ? ['run']
      : ['exec', input ? 'input' : 'none', Buffer.from(leaving.keys).toString('hex')];
  const child = spawn(launcher, call, {
    stdio: [
      input ? 'inherit' : 'ignore',
      output ? 'inherit' : 'ignore',
      output ? 'inherit' : 'ignore',
      'pipe',
      'pipe',
      ...more,
    ],
  });
  let pid: number | undefined;
  let ended = false;
  child.once('error', (error) => {
    ended = true;
    events.lost(error.message);
  });
  child.once('close', () => {
    if (!ended) events.lost('it ended without a word');
  });
  const planPipe = child.stdio[3] as Writable;
  planPipe.on('error', () => undefined);
  planPipe.end(plan);
  let last: (() => void) | undefined;
  const abandon = (): void => {
    ended = true;
    child.unref();
    (child.stdio[4] as Readable).destroy();
  };
  readFrames(child.stdio[4] as Readable, (type, id, payload) => {
    if (type === STARTED) pid = payload.readUInt32LE(0);
    if (type === LEFT) {
      abandon();
      leaving?.left(id === 0 ? 'keys' : 'unread');
    } else if (type === EXIT || type === ERROR) {
      ended = true;
      // why: told when the launcher is gone, so that the terminal is the caller's again.
      last = () => deliver(type, payload, events);
    } else deliver(type, payload, events);
  });
  child.once('close', () => last?.());
  return { kill: (signal) => killIfAlive(child, pid, signal), abandon };
}

function killIfAlive(child: ChildProcess, pid: number | undefined, signal: number): void {
  if (pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    process.kill(pid, signal);
  } catch {
    // It ended in the meantime.
  }
}

function netResultOf(type: number, payload: Buffer, ops: readonly NetOp[]): NetResult {
  if (type !== NET_DONE) return { kind: 'failed', problem: netProblemOf(ops, payload) };
  const descriptor = payload.readInt32LE(0);
  return {
    kind: 'done',
    answers: new Map(),
    // The server's own: it is the server that opens the path.
    ...(descriptor < 0 ? {} : { namespace: `/proc/self/fd/${descriptor}` }),
  };
}

function deliver(type: number, payload: Buffer, events: LaunchEvents): void {
  switch (type) {
    case STARTED:
      events.started(payload.readUInt32LE(0));
      break;
    case STDOUT:
      events.output('stdout', payload);
      break;
    case STDERR:
      events.output('stderr', payload);
      break;
    case EXIT:
      events.exited({ signaled: payload.readUInt32LE(0) === 1, value: payload.readUInt32LE(4) });
      break;
    case ERROR:
      events.failed(problemOf(payload));
      break;
    case WARNING:
      events.warned(problemOf(payload));
      break;
    case TOLD:
      events.told?.(payload.toString());
      break;
    default:
      throw new TsbuildError('CONTAINER_START_FAILED', `the launcher sent a frame of type ${type}`);
  }
}

function problemOf(payload: Buffer): LaunchProblem {
  return { op: payload.readUInt32LE(0), errno: payload.readUInt32LE(4), text: payload.toString('utf8', 8) };
}
