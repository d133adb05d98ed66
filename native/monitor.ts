/**
 * Client of a container's monitor (launch/monitor.c): starting one, and talking to one through its ctl.sock.
 *
 * A monitor belongs to nobody: it lives on when this process or the connection ends.
 */
import { closeSync, openSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { errnoOf, ioError, TsbuildError } from '../src/base/errors.ts';
import { encodeFrame, encodeU32, readFrames } from './frames.ts';
import type { LaunchProblem } from './launcher.ts';
import { startProgram } from './program.ts';

const START = 1;
const KILL = 2;
const STARTED = 10;
const STDOUT = 11;
const STDERR = 12;
const ERROR = 14;
const WARNING = 15;
const SETTINGS = 30;
const HEALTH = 31;
const ATTACH = 32;
const STDIN = 33;
const RESIZE = 34;
const STOP = 35;
const PAUSED = 36;
const POLICY = 37;
const PORTS = 38;
const CLEANED = 39;
const TAKEN = 40;
const DONE = 41;
const ENDED = 42;

/** Operation of a problem that is about no operation of the plan. */
export const NO_OPERATION = 0xffffffff;
/** Of one piece of input; a monitor takes no longer frames. */
const MAX_INPUT = 32768;

export interface MonitorSettings {
  /** Of the container, absolute. */
  readonly directory: string;
  readonly stdin: 'closed' | 'open' | 'once';
  readonly restart: MonitorPolicy;
  readonly restartCount: number;
  readonly stopSignal: number;
  /** -1: for ever. */
  readonly stopTimeoutS: number;
  readonly logSize: number;
  /** 0: nothing is logged. */
  readonly logFiles: number;
  /** A file of the kernel's with a line `oom_kill N`. */
  readonly oomFile?: string;
  /** Names of the container's networks are answered in that namespace. */
  readonly names?: { readonly netns: string; readonly config: string };
  /** Run when it has ended and no client cleans up; an absolute program. */
  readonly exitCommand: readonly string[];
}

export interface MonitorPolicy {
  readonly policy: 'no' | 'always' | 'on-failure';
  /** 0: without an end. */
  readonly maximumRetries: number;
}

export interface MonitorHealth {
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly startPeriodMs: number;
  readonly startIntervalMs: number;
  readonly retries: number;
  /** Of a further process; its `enter` is aimed at the container when it runs. */
  readonly plan: Uint8Array;
}

export interface SocketAddress {
  /** 4 or 16. */
  readonly bytes: Uint8Array;
  readonly port: number;
}

/** A port that the monitor holds open; what arrives there is relayed. */
export interface MonitorPort {
  readonly protocol: 'tcp' | 'udp';
  readonly from: SocketAddress;
  readonly to: SocketAddress;
}

export interface Attachment {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  /** This client cleans up after the end, and says so with `cleaned`; the monitor waits for it. */
  readonly cleans: boolean;
}

export interface MonitorStart {
  /** Shown by ps(1). */
  readonly name: string;
  readonly settings: MonitorSettings;
  readonly health?: MonitorHealth;
  readonly size?: { readonly rows: number; readonly columns: number };
  readonly attachment: Attachment;
  /** A problem with one of them is about no operation, and its text is the port, e.g. `0.0.0.0:80/tcp`. */
  readonly ports: readonly MonitorPort[];
  readonly plan: Uint8Array;
}

export interface MonitorEnd {
  /** As docker counts: 128 + signal; 125 to 127 where it could not be started. */
  readonly exitCode: number;
  readonly oomKilled: boolean;
  /** It is not started again. */
  readonly final: boolean;
}

export interface MonitorEvents {
  started?(pid: number): void;
  output?(stream: 'stdout' | 'stderr', data: Uint8Array): void;
  failed?(problem: LaunchProblem): void;
  warned?(problem: LaunchProblem): void;
  ended?(end: MonitorEnd): void;
  /** The connection is gone. No other event follows. */
  lost?(): void;
}

/** Requests are answered by the errno of what they asked for; 0 is success. They reject with CONTAINER_LOST. */
export interface MonitorConnection {
  attach(attachment: Attachment): Promise<number>;
  kill(signal: number): Promise<number>;
  /** `signal` 0 and `timeoutS` undefined: the container's own. `ended` tells. */
  stop(signal: number, timeoutS: number | undefined): void;
  resize(rows: number, columns: number): void;
  /** Resolves when the container has taken the bytes. */
  input(bytes: Uint8Array): Promise<void>;
  endInput(): void;
  setPaused(isPaused: boolean): Promise<number>;
  setPolicy(policy: MonitorPolicy): Promise<number>;
  /** Gives the ports back. */
  unpublish(): Promise<number>;
  cleaned(): void;
  /** Lets the process end while the connection is open. */
  unref(): void;
  close(): void;
}

const POLICIES = { no: 0, always: 1, 'on-failure': 2 } as const;

/** `started` or `failed` tells how it went. */
export function startMonitor(
  launcher: string,
  start: MonitorStart,
  events: MonitorEvents,
): MonitorConnection {
  const { settings, health, size, attachment, ports, plan } = start;
  // why: nothing of the caller's environment may be seen in a process that others can look at.
  // The monitor itself is a child of that process, which ends at once.
  const { socket } = startProgram(launcher, [launcher, 'monitor', start.name], {
    fds: ['null', 'null', 2, 'socket'],
    cwd: '/',
  });
  const connection = talk(socket, events);
  socket.write(
    Buffer.concat([
      encodeFrame(SETTINGS, encodeSettings(settings)),
      ...(health === undefined ? [] : [encodeFrame(HEALTH, encodeHealth(health))]),
      ...(size === undefined ? [] : [encodeFrame(RESIZE, encodeU32(size.rows, size.columns))]),
      ...(ports.length === 0 ? [] : [encodeFrame(PORTS, encodePorts(ports))]),
      encodeFrame(ATTACH, encodeU32(bitsOf(attachment))),
      encodeFrame(START, plan),
    ]),
  );
  return connection;
}

/** undefined where no monitor listens in this directory. */
export async function connectMonitor(
  directory: string,
  events: MonitorEvents,
): Promise<MonitorConnection | undefined> {
  let at: number | undefined;
  try {
    at = openSync(directory, 'r');
    // why: a state root may lie deeper than the 108 bytes that an address takes.
    const socket = connect(`/proc/self/fd/${at}/ctl.sock`);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return talk(socket, events);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT' || errno === 'ECONNREFUSED') return undefined;
    throw ioError("reach the container's monitor", error);
  } finally {
    if (at !== undefined) closeSync(at);
  }
}

interface Waiting<T> {
  resolve(value: T): void;
  reject(error: unknown): void;
}

function talk(socket: Socket, events: MonitorEvents): MonitorConnection {
  const answers: Waiting<number>[] = [];
  const takers: Waiting<void>[] = [];
  let isOpen = true;
  readFrames(socket, (type, _id, payload) => {
    if (type === DONE) answers.shift()?.resolve(payload.readUInt32LE(0));
    else if (type === TAKEN) takers.shift()?.resolve();
    else deliver(type, payload, events);
  });
  // why: 'close' tells.
  socket.on('error', () => undefined);
  socket.once('close', () => {
    isOpen = false;
    for (const each of [...answers.splice(0), ...takers.splice(0)]) each.reject(lost());
    events.lost?.();
  });
  const send = (type: number, payload: Uint8Array): void => {
    if (isOpen) socket.write(encodeFrame(type, payload));
  };
  const wait = <T>(queue: Waiting<T>[]): Promise<T> =>
    new Promise<T>((resolve, reject) => {
      if (isOpen) queue.push({ resolve, reject });
      else reject(lost());
    });
  const ask = (type: number, ...values: readonly number[]): Promise<number> => {
    const answer = wait(answers);
    send(type, encodeU32(...values));
    return answer;
  };
  return {
    attach: (attachment) => ask(ATTACH, bitsOf(attachment)),
    kill: (signal) => ask(KILL, signal),
    stop: (signal, timeoutS) => send(STOP, encodeU32(signal, timeoutS ?? -2)),
    resize: (rows, columns) => send(RESIZE, encodeU32(rows, columns)),
    async input(bytes) {
      for (let at = 0; at < bytes.byteLength; at += MAX_INPUT) {
        const taken = wait(takers);
        send(STDIN, bytes.subarray(at, at + MAX_INPUT));
        await taken;
      }
    },
    endInput: () => send(STDIN, Buffer.alloc(0)),
    setPaused: (isPaused) => ask(PAUSED, isPaused ? 1 : 0),
    unpublish: () => ask(PORTS),
    setPolicy: ({ policy, maximumRetries }) => ask(POLICY, POLICIES[policy], maximumRetries),
    cleaned: () => send(CLEANED, Buffer.alloc(0)),
    unref: () => void socket.unref(),
    close: () => void socket.destroy(),
  };
}

function lost(): TsbuildError {
  return new TsbuildError('CONTAINER_LOST', "lost the connection to the container's monitor");
}

function deliver(type: number, payload: Buffer, events: MonitorEvents): void {
  if (type === STDOUT) events.output?.('stdout', payload);
  else if (type === STDERR) events.output?.('stderr', payload);
  else if (type === STARTED) events.started?.(payload.readUInt32LE(0));
  else if (type === ERROR) events.failed?.(problemOf(payload));
  else if (type === WARNING) events.warned?.(problemOf(payload));
  else if (type === ENDED)
    events.ended?.({
      exitCode: payload.readUInt32LE(0),
      oomKilled: payload.readUInt32LE(4) === 1,
      final: payload.readUInt32LE(8) === 1,
    });
}

function problemOf(payload: Buffer): LaunchProblem {
  return { op: payload.readUInt32LE(0), errno: payload.readUInt32LE(4), text: payload.toString('utf8', 8) };
}

function bitsOf({ stdin, stdout, stderr, cleans }: Attachment): number {
  return (stdin ? 1 : 0) | (stdout ? 2 : 0) | (stderr ? 4 : 0) | (cleans ? 8 : 0);
}

function encodeSettings(settings: MonitorSettings): Buffer {
  const { stdin, restart, exitCommand, directory, oomFile = '', names } = settings;
  const flags = (stdin === 'closed' ? 0 : 1) | (stdin === 'once' ? 2 : 0);
  const logSize = Buffer.alloc(8);
  logSize.writeBigUInt64LE(BigInt(settings.logSize));
  return Buffer.concat([
    encodeU32(flags, POLICIES[restart.policy], restart.maximumRetries, settings.restartCount),
    encodeU32(settings.stopSignal, settings.stopTimeoutS, settings.logFiles, exitCommand.length),
    logSize,
    ...[directory, oomFile, names?.netns ?? '', names?.config ?? '', ...exitCommand].map((text) =>
      Buffer.from(`${text}\0`, 'utf8'),
    ),
  ]);
}

function encodeHealth({ plan, ...health }: MonitorHealth): Buffer {
  const { intervalMs, timeoutMs, startPeriodMs, startIntervalMs, retries } = health;
  return Buffer.concat([
    encodeU32(intervalMs, timeoutMs, startPeriodMs, startIntervalMs, retries, plan.byteLength),
    plan,
  ]);
}

const TCP = 6;
const UDP = 17;
const INET = 2;
const INET6 = 10;

function encodePorts(ports: readonly MonitorPort[]): Buffer {
  const address = ({ bytes, port }: SocketAddress): readonly Uint8Array[] => [
    encodeU32(bytes.byteLength === 4 ? INET : INET6),
    Buffer.concat([bytes], 16),
    encodeU32(port),
  ];
  return Buffer.concat([
    encodeU32(ports.length),
    ...ports.flatMap(({ protocol, from, to }) => [
      encodeU32(protocol === 'tcp' ? TCP : UDP),
      ...address(from),
      ...address(to),
    ]),
  ]);
}
