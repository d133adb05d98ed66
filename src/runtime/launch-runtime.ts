/** The runtime on the launcher (contract in runtime.ts). */
import { constants } from 'node:os';
import { TsbuildError } from '../base/errors.ts';
import {
  launchForeground,
  startLaunchServer,
  type LaunchEvents,
  type LaunchProblem,
  type Launched,
  type LaunchServer,
} from '../../native/launcher.ts';
import { encodePlan } from '../../native/plan.ts';
import type { PlanOp } from '../../native/plan-ops.ts';
import { cgroupHint } from './cgroups/files.ts';
import { errnoName, layOut, layOutExec, type Machine } from './layout.ts';
import type { Container, ExitStatus, ProcessSpec, Runtime, StartOptions, Stdio } from './runtime.ts';

export interface LaunchRuntimeOptions {
  /** Path of tsbuild-launch. */
  readonly launcher: string;
  readonly machine: Machine;
}

const NO_KEYS = { keys: new Uint8Array(), left: (): void => undefined };

export function createRuntime({ launcher, machine }: LaunchRuntimeOptions): Runtime {
  let server: LaunchServer | undefined;
  const serverOf = (): LaunchServer => (server ??= startLaunchServer(launcher));

  function launch(plan: Uint8Array, stdio: Stdio, events: LaunchEvents, survive: boolean): Launched {
    if (stdio.kind === 'capture') return serverOf().start(plan, events);
    const isTerminal = stdio.kind === 'terminal';
    const { keys, left } = (isTerminal ? stdio.leave : undefined) ?? NO_KEYS;
    return launchForeground(launcher, plan, events, {
      input: isTerminal ? stdio.streams === undefined : stdio.input,
      output: !isTerminal || stdio.streams !== 'none',
      ...(survive ? { leaving: { keys, left } } : {}),
    });
  }

  function begin(
    ops: readonly PlanOp[],
    spec: ProcessSpec,
    stdio: Stdio,
    { signal, onWarning }: StartOptions,
  ): Promise<Container> {
    const plan = encodePlan(ops);
    const survive = spec.survive === true;
    return new Promise<Container>((resolveStart, rejectStart) => {
      let settleExit: (status: ExitStatus) => void = () => undefined;
      let failExit: (error: unknown) => void = () => undefined;
      const exited = new Promise<ExitStatus>(
        (resolve, reject) => ([settleExit, failExit] = [resolve, reject]),
      );
      // why: whoever only waits for the start must not be told of a later loss as an unhandled rejection.
      exited.catch(() => undefined);
      let over = false;
      const end = (): void => {
        over = true;
        signal.removeEventListener('abort', abort);
      };
      const events: LaunchEvents = {
        started: (pid) => resolveStart(containerOf(pid)),
        output: (stream, data) => {
          if (stdio.kind === 'capture') stdio.onOutput(stream, data);
        },
        exited: ({ signaled, value }) => {
          end();
          settleExit(signaled ? { kind: 'signaled', signal: value } : { kind: 'exited', code: value });
        },
        failed: (problem) => {
          end();
          rejectStart(startError(problem, ops, spec));
        },
        warned: ({ op, text }) => onWarning?.(`${ops[op]?.subject ?? 'container'}: ${text}`),
        lost: (reason) => {
          end();
          const error = new TsbuildError('CONTAINER_START_FAILED', `lost the launcher: ${reason}`);
          rejectStart(error);
          failExit(error);
        },
      };
      const handle = launch(plan, stdio, events, survive);
      const abort = (): void => {
        if (survive) abandon();
        else handle.kill(constants.signals.SIGKILL);
      };
      const abandon = (): void => {
        end();
        handle.abandon();
        const aborted = new TsbuildError('ABORTED', 'the process was left alone');
        rejectStart(aborted);
        failExit(aborted);
      };
      signal.addEventListener('abort', abort);
      if (signal.aborted) abort();

      function containerOf(pid: number): Container {
        return {
          pid,
          exited,
          kill: (name: NodeJS.Signals) => handle.kill(constants.signals[name]),
          async [Symbol.asyncDispose]() {
            if (over) return;
            if (survive) {
              abandon();
              return;
            }
            handle.kill(constants.signals.SIGKILL);
            await exited.catch(() => undefined);
          },
        };
      }
    });
  }

  return {
    start: async (spec, stdio, options) => begin(layOut(spec, machine), spec, stdio, options),
    exec: async (spec, stdio, options) => begin(layOutExec(spec, machine), spec, stdio, options),
    network: (ops) => serverOf().net(ops),
    async serveNames(namespace, config) {
      const result = await serverOf().serveNames(namespace, config);
      if (result.kind === 'done') return;
      const reason = result.kind === 'lost' ? result.reason : errnoName(result.problem.errno);
      throw new TsbuildError('NETWORK_UNAVAILABLE', `cannot serve names of containers: ${reason}`);
    },
    async [Symbol.asyncDispose]() {
      const closing = server;
      server = undefined;
      await closing?.close();
    },
  };
}

/** What the launcher said about a plan, in the spec's terms. */
export function startError(
  { op, errno, text }: LaunchProblem,
  ops: readonly PlanOp[],
  spec: ProcessSpec,
): TsbuildError {
  const failed = ops[op];
  const name = errnoName(errno);
  if (failed?.op === 'exec') return execError(name, spec);
  const detail = text === '' ? '' : ` (${JSON.stringify(text)})`;
  const isFurther = ops.some(({ op: each }) => each === 'enter');
  return new TsbuildError(
    'CONTAINER_START_FAILED',
    `cannot ${isFurther ? 'run that in' : 'start'} the container: ${failed?.subject ?? 'the plan'}${detail}: ${name}`,
    hintOf(failed, name),
  );
}

function hintOf(failed: PlanOp | undefined, errno: string): { readonly hint?: string } {
  const hint = failed?.op.startsWith('cgroup') === true ? cgroupHint(errno) : undefined;
  return hint === undefined ? {} : { hint };
}

function execError(errno: string, spec: ProcessSpec): TsbuildError {
  const program = JSON.stringify(spec.args[0] ?? '');
  const quoted = { exitCode: errno === 'ENOENT' ? 127 : 126 };
  if (errno === 'ENOENT')
    return new TsbuildError(
      'COMMAND_NOT_FOUND',
      `cannot run ${program}: no such file in the container (or no interpreter for it)`,
      {
        ...quoted,
        hint: /(?:^|\/)(?:[a-z]*sh)$/.test(spec.args[0] ?? '')
          ? 'install that shell, choose another with SHELL, or write the command as ["PROGRAM", "ARGUMENT"]'
          : 'install it in an earlier step, or write the path under which it is there',
      },
    );
  if (errno === 'EACCES')
    return new TsbuildError('COMMAND_NOT_EXECUTABLE', `cannot run ${program}: permission denied`, {
      ...quoted,
      hint: 'name a file that has the right to be executed (chmod +x, COPY --chmod=755)',
    });
  if (errno === 'ENOEXEC')
    return new TsbuildError('COMMAND_NOT_EXECUTABLE', `cannot run ${program}: exec format error`, {
      ...quoted,
      hint: 'check that the program is for this machine, and that a script begins with #!',
    });
  return new TsbuildError('COMMAND_NOT_EXECUTABLE', `cannot run ${program}: ${errno}`, quoted);
}
