/** Monitors of containers in a busybox root, with everything that they say collected. */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { locateNative } from '../../native/locate.ts';
import {
  connectMonitor,
  startMonitor,
  type Attachment,
  type MonitorPort,
  type MonitorConnection,
  type MonitorEnd,
  type MonitorEvents,
  type MonitorHealth,
  type MonitorSettings,
} from '../../native/monitor.ts';
import type { LaunchProblem } from '../../native/launcher.ts';
import { encodePlan } from '../../native/plan.ts';
import { NAMESPACE } from '../../native/plan-ops.ts';
import { readState } from '../../src/runtime/container-files.ts';
import type { ContainerState } from '../../src/runtime/container.ts';
import type { ContainerInput } from '../../src/runtime/default-spec.ts';
import { layOut, layOutExec } from '../../src/runtime/layout.ts';
import { openSandbox, type Sandbox } from './runtime-fixture.ts';

export interface Conversation {
  readonly connection: MonitorConnection;
  readonly stdout: () => string;
  readonly stderr: () => string;
  readonly problems: LaunchProblem[];
  /** Resolve at the first event of that kind, also where it was before. */
  readonly started: Promise<number>;
  readonly failed: Promise<LaunchProblem>;
  readonly ended: Promise<MonitorEnd>;
  readonly finished: Promise<MonitorEnd>;
  readonly lost: Promise<undefined>;
  /** Resolves when the output has `text` in it. */
  saw(text: string): Promise<void>;
}

export interface Monitored extends Conversation {
  readonly directory: string;
  state(): ContainerState;
  log(): string;
}

export interface MonitorStand {
  readonly box: Sandbox;
  monitored(args: readonly string[], more?: MonitorOptions): Monitored;
  sh(script: string, more?: MonitorOptions): Monitored;
  close(): Promise<void>;
}

export interface MonitorOptions {
  readonly settings?: Partial<MonitorSettings>;
  readonly input?: Partial<ContainerInput>;
  readonly init?: boolean;
  readonly attachment?: Attachment;
  readonly ports?: readonly MonitorPort[];
  readonly health?: Omit<MonitorHealth, 'plan'> & { readonly args: readonly string[] };
  readonly size?: { readonly rows: number; readonly columns: number };
  /** Of another one: a second monitor for it. */
  readonly directory?: string;
}

export const ALL: Attachment = { stdin: true, stdout: true, stderr: true, cleans: false };
export const NOTHING: Attachment = { stdin: false, stdout: false, stderr: false, cleans: false };

export function openStand(): MonitorStand {
  const box = openSandbox();
  let count = 0;
  const stand: MonitorStand = {
    box,
    monitored(args, more = {}) {
      const directory = more.directory ?? join(box.directory, `container-${(count += 1)}`);
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      const spec = { ...box.spec(args, more.input), init: more.init === true };
      const conversation = converse((events) =>
        startMonitor(
          locateNative('tsbuild-launch'),
          {
            name: 'test',
            settings: settingsOf(directory, more.settings),
            plan: encodePlan(layOut(spec, box.machine)),
            attachment: more.attachment ?? ALL,
            ports: more.ports ?? [],
            ...(more.size === undefined ? {} : { size: more.size }),
            ...(more.health === undefined ? {} : { health: healthOf(box, more.health) }),
          },
          events,
        ),
      );
      return {
        ...conversation,
        directory,
        state: () => readState(directory),
        log: () => readFileSync(join(directory, 'log'), 'utf8'),
      };
    },
    sh: (script, more) => stand.monitored(['sh', '-c', script], more),
    close: () => box.close(),
  };
  return stand;
}

function settingsOf(directory: string, more: Partial<MonitorSettings> = {}): MonitorSettings {
  return {
    directory,
    stdin: 'closed',
    restart: { policy: 'no', maximumRetries: 0 },
    restartCount: 0,
    stopSignal: 15,
    stopTimeoutS: 10,
    logSize: 1 << 20,
    logFiles: 2,
    exitCommand: [],
    ...more,
  };
}

function healthOf(box: Sandbox, { args, ...health }: NonNullable<MonitorOptions['health']>): MonitorHealth {
  const { mount, uts, ipc, pid, cgroup } = NAMESPACE;
  const spec = {
    ...box.spec(args),
    target: { pid: 0, started: 0n, namespaces: (mount | uts | ipc | pid | cgroup) >>> 0 },
  };
  return { ...health, plan: encodePlan(layOutExec(spec, box.machine)) };
}

/** Another client of a monitor that runs. */
export async function joinMonitor(directory: string): Promise<Conversation | undefined> {
  let found: MonitorConnection | undefined;
  const pending: (() => void)[] = [];
  const conversation = converse((events) => {
    const connection = connectMonitor(directory, events);
    void connection.then((each) => {
      found = each;
      for (const next of pending) next();
    });
    return {} as MonitorConnection;
  });
  await new Promise<void>((resolve) => pending.push(resolve));
  return found === undefined ? undefined : { ...conversation, connection: found };
}

function converse(open: (events: MonitorEvents) => MonitorConnection): Conversation {
  const output = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
  const problems: LaunchProblem[] = [];
  const watchers: (() => void)[] = [];
  const once = <T>(): { readonly promise: Promise<T>; readonly resolve: (value: T) => void } => {
    let resolve: (value: T) => void = () => undefined;
    const promise = new Promise<T>((settle) => (resolve = settle));
    return { promise, resolve };
  };
  const started = once<number>();
  const failed = once<LaunchProblem>();
  const ended = once<MonitorEnd>();
  const finished = once<MonitorEnd>();
  const lost = once<undefined>();
  const text = (stream: 'stdout' | 'stderr'): string => Buffer.concat(output[stream]).toString();
  const connection = open({
    started: started.resolve,
    output(stream, data) {
      output[stream].push(data);
      for (const watch of watchers) watch();
    },
    failed(problem) {
      problems.push(problem);
      failed.resolve(problem);
    },
    warned: (problem) => void problems.push(problem),
    ended(end) {
      ended.resolve(end);
      if (end.final) finished.resolve(end);
    },
    lost: () => lost.resolve(undefined),
  });
  return {
    connection,
    stdout: () => text('stdout'),
    stderr: () => text('stderr'),
    problems,
    started: started.promise,
    failed: failed.promise,
    ended: ended.promise,
    finished: finished.promise,
    lost: lost.promise,
    saw: (wanted) =>
      new Promise((resolve) => {
        const watch = (): void => {
          if (text('stdout').includes(wanted) || text('stderr').includes(wanted)) resolve();
        };
        watchers.push(watch);
        watch();
      }),
  };
}

/** Tries until it holds; throws with what it said last. */
export async function eventually(check: () => void, withinMs = 30_000): Promise<void> {
  const until = Date.now() + withinMs;
  for (;;)
    try {
      check();
      return;
    } catch (error) {
      if (Date.now() > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
}
