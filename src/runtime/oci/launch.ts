/** Starting plans for the OCI runtime: detached (created, or running on their own) and in the foreground. */
import { readlinkSync } from 'node:fs';
import {
  launchDetached,
  launchForeground,
  type LaunchEvents,
  type LaunchProblem,
} from '../../../native/launcher.ts';
import type { PlanOp } from '../../../native/plan-ops.ts';
import { encodePlan } from '../../../native/plan.ts';
import { TsbuildError } from '../../base/errors.ts';
import type { ExitStatus, ProcessSpec } from '../runtime.ts';
import { runtimeError } from './launch-error.ts';

export interface Launch {
  readonly launcher: string;
  readonly ops: readonly PlanOp[];
  /** Whose program errors speak of. */
  readonly spec: Pick<ProcessSpec, 'args'>;
  /** Descriptors of this process that go along. */
  readonly descriptors: readonly number[];
  readonly warn: (message: string) => void;
  /** Gets what happens on the way to the program; undefined: nothing is told, which costs time. */
  readonly debug: ((message: string) => void) | undefined;
}

/**
 * The descriptors 3 to 3 + count - 1 of this process, as far as they were there before Node (`handedOn`, where that
 * is known; else event descriptors, which nobody hands on, are taken for Node's own).
 */
export function descriptorsFrom3(
  count: number,
  handedOn: ReadonlySet<number> | undefined,
): readonly number[] {
  return Array.from({ length: count }, (_, index) => 3 + index).filter((fd) => {
    if (handedOn !== undefined) return handedOn.has(fd);
    try {
      return !readlinkSync(`/proc/self/fd/${fd}`).startsWith('anon_inode:');
    } catch {
      return false;
    }
  });
}

/** Resolves with the pid once the program runs, or waits for its start. */
export function startDetached(launch: Launch): Promise<number> {
  return new Promise((resolve, reject) => {
    const events = eventsOf(launch, resolve, reject, () => undefined);
    launchDetached(launch.launcher, planOf(launch), events, launch.descriptors);
  });
}

function planOf({ ops, debug }: Launch): Uint8Array {
  if (debug === undefined) return encodePlan(ops);
  return encodePlan(ops.map((each) => (each.op === 'namespaces' ? { ...each, tells: true } : each)));
}

export interface Foreground {
  readonly pid: number;
  readonly exited: Promise<ExitStatus>;
}

/** The same, but this process waits for its end; a terminal is copied to ours. */
export function startForeground(launch: Launch): Promise<Foreground> {
  return new Promise((resolve, reject) => {
    let end: (status: ExitStatus) => void = () => undefined;
    let lose: (error: unknown) => void = () => undefined;
    const exited = new Promise<ExitStatus>((settle, fail) => ([end, lose] = [settle, fail]));
    exited.catch(() => undefined);
    const events = eventsOf(
      launch,
      (pid) => resolve({ pid, exited }),
      (error) => {
        reject(error);
        lose(error);
      },
      end,
    );
    launchForeground(launch.launcher, planOf(launch), events, {
      input: true,
      more: launch.descriptors,
    });
  });
}

function eventsOf(
  { ops, spec, warn, debug }: Launch,
  started: (pid: number) => void,
  failed: (error: TsbuildError) => void,
  exited: (status: ExitStatus) => void,
): LaunchEvents {
  return {
    started,
    output: () => undefined,
    exited: ({ signaled, value }) =>
      exited(signaled ? { kind: 'signaled', signal: value } : { kind: 'exited', code: value }),
    failed: (problem: LaunchProblem) => failed(runtimeError(problem, ops, spec)),
    warned: ({ op, text }) => warn(`${ops[op]?.subject ?? 'container'}: ${text}`),
    ...(debug === undefined ? {} : { told: debug }),
    lost: (reason) => failed(new TsbuildError('CONTAINER_START_FAILED', `lost the launcher: ${reason}`)),
  };
}
