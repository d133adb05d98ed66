/** `start`: resources, plan and monitor of a stored container. */
import { constants } from 'node:os';
import { join } from 'node:path';
import { locateNative } from '../../../native/locate.ts';
import {
  NO_OPERATION,
  startMonitor,
  type Attachment as Attached,
  type MonitorConnection,
  type MonitorEnd,
  type MonitorEvents,
  type MonitorHealth,
  type MonitorPolicy,
} from '../../../native/monitor.ts';
import type { LaunchProblem } from '../../../native/launcher.ts';
import { NAMESPACE, type PlanOp } from '../../../native/plan-ops.ts';
import { encodePlan } from '../../../native/plan.ts';
import { allSettled, nextTurn } from '../../base/all-settled.ts';
import { writeFileAtomic } from '../../base/atomic-file.ts';
import { TsbuildError } from '../../base/errors.ts';
import { joinCgroup } from '../../runtime/cgroups/join.ts';
import { oomFileOf } from '../../runtime/cgroups/oom.ts';
import {
  shortID,
  type HeldResources,
  type RestartPolicy,
  type StoredContainer,
} from '../../runtime/container.ts';
import { startError } from '../../runtime/launch-runtime.ts';
import { layOut, layOutExec } from '../../runtime/layout.ts';
import type { Attachment } from '../../runtime/network/contract.ts';
import type { ContainerSpec, NamespaceKind } from '../../runtime/runtime.ts';
import { signalNumber } from '../../runtime/signals.ts';
import type { Engine } from '../engine.ts';
import { probeMachine } from '../machine.ts';
import { monitorPorts, portError } from './published.ts';
import { releaseContainer } from './release.ts';
import { prepareSpec, rootMounts } from './spec.ts';

export interface StartOptions {
  readonly attached: Omit<Attached, 'cleans'>;
  readonly size?: { readonly rows: number; readonly columns: number };
  readonly onOutput?: (stream: 'stdout' | 'stderr', data: Uint8Array) => void;
  readonly onWarning?: (message: string) => void;
  readonly signal: AbortSignal;
}

/** A container that runs, held by its monitor; this process cleans up after it unless it says `detach`. */
export interface StartedContainer {
  readonly pid: number;
  readonly connection: MonitorConnection;
  /** At the first end of the process. Rejects with CONTAINER_LOST. */
  readonly ended: Promise<MonitorEnd>;
  /** Leaves it alone: its end is the monitor's business. The connection is closed. */
  detach(): Promise<void>;
  /** After the final end: tells the monitor that everything is cleaned up, and closes the connection. */
  cleaned(): void;
}

/**
 * Throws CONTAINER_START_FAILED, COMMAND_NOT_FOUND, COMMAND_NOT_EXECUTABLE, CONTAINER_RUNNING, SPEC_INVALID, and what
 * networks throw; what was allocated is released then, and the container is as it was but for its exit status.
 */
export async function startContainer(
  engine: Engine,
  container: StoredContainer,
  options: StartOptions,
): Promise<StartedContainer> {
  try {
    // The kernel works on the network while the root is laid out here.
    const [attachment, mounts] = await allSettled([
      attachNetworks(engine, container, options.signal),
      nextTurn().then(() => rootMounts(engine, container)),
    ]);
    for (const note of attachment?.notes ?? []) options.onWarning?.(note);
    using prepared = await prepareSpec(engine, container, mounts, attachment);
    const { spec } = prepared;
    hold(engine, container, {
      starter: engine.host.unique(),
      networks: attachment !== undefined,
      ...(spec.cgroup === undefined ? {} : { cgroup: spec.cgroup.place }),
    });
    options.signal.throwIfAborted();
    return await launch(engine, container, spec, attachment, options);
  } catch (error) {
    // why: somebody else's monitor has what we would release.
    if (!(error instanceof TsbuildError && error.code === 'CONTAINER_RUNNING')) {
      await releaseContainer(engine, container);
      noteFailure(engine, container, error);
    }
    throw error;
  }
}

function hold({ host }: Engine, { directory }: StoredContainer, resources: HeldResources): void {
  writeFileAtomic(host, join(directory, 'held.json'), JSON.stringify(resources), { mode: 0o600 });
}

async function attachNetworks(
  engine: Engine,
  container: StoredContainer,
  signal: AbortSignal,
): Promise<Attachment | undefined> {
  const { id, config } = container;
  if (config.network.kind !== 'networks') return undefined;
  const { domainname } = config.isolation;
  hold(engine, container, { starter: engine.host.unique(), networks: true });
  const networks = await engine.networks();
  return networks.attach(
    {
      containerId: id,
      name: config.name,
      hostname: config.input.hostname,
      ...(domainname === undefined ? {} : { domainname }),
      holder: { kind: 'container' },
      endpoints: config.network.endpoints,
      ports: config.ports,
      dns: config.dns,
      extraHosts: config.input.extraHosts,
    },
    { signal },
  );
}

function launch(
  engine: Engine,
  container: StoredContainer,
  spec: ContainerSpec,
  attachment: Attachment | undefined,
  options: StartOptions,
): Promise<StartedContainer> {
  const { id, config, directory, state } = container;
  const machine = probeMachine(engine.options.root, engine.options.platform);
  const ops = layOut(spec, machine);
  const health = healthOf(container, spec, machine);
  const names = attachment?.nameService;
  const oomFile = spec.cgroup === undefined ? undefined : oomFileOf(spec.cgroup.place);
  const { cleanupCommand } = engine.options;
  return begin(
    (events) =>
      startMonitor(
        locateNative('tsbuild-launch'),
        {
          name: `${config.name} ${shortID(id)}`,
          plan: encodePlan(ops),
          attachment: { ...options.attached, cleans: true },
          ports: monitorPorts(attachment?.forwards ?? []),
          ...(health === undefined ? {} : { health }),
          ...(options.size === undefined ? {} : { size: options.size }),
          settings: {
            directory,
            stdin: config.stdin,
            restart: policyOf(config.restart),
            restartCount: state.restartCount,
            stopSignal: signalNumber(config.stopSignal) ?? constants.signals.SIGTERM,
            stopTimeoutS: config.stopTimeoutS,
            logSize: config.log.maxSize,
            logFiles: config.log.driver === 'none' ? 0 : config.log.maxFiles,
            exitCommand: cleanupCommand.length === 0 ? [] : [...cleanupCommand, id],
            ...(names === undefined ? {} : { names }),
            ...(oomFile === undefined ? {} : { oomFile }),
          },
        },
        events,
      ),
    (problem) => startProblem(problem, ops, spec, container),
    (problem) => options.onWarning?.(`${ops[problem.op]?.subject ?? 'container'}: ${problem.text}`),
    options,
  );
}

/** From a monitor that was started to a container that runs. */
function begin(
  open: (events: MonitorEvents) => MonitorConnection,
  errorOf: (problem: LaunchProblem) => TsbuildError,
  warn: (problem: LaunchProblem) => void,
  options: StartOptions,
): Promise<StartedContainer> {
  return new Promise<StartedContainer>((resolve, reject) => {
    let settleEnd: (end: MonitorEnd) => void = () => undefined;
    let failEnd: (error: unknown) => void = () => undefined;
    const ended = new Promise<MonitorEnd>((settle, fail) => ([settleEnd, failEnd] = [settle, fail]));
    // why: whoever detaches does not ask how it ended.
    ended.catch(() => undefined);
    let failure: TsbuildError | undefined;
    const connection = open({
      started(pid) {
        resolve({
          pid,
          connection,
          ended,
          async detach() {
            await connection.attach({ stdin: false, stdout: false, stderr: false, cleans: false });
            connection.close();
          },
          cleaned() {
            connection.cleaned();
            connection.close();
          },
        });
      },
      output: options.onOutput ?? (() => undefined),
      failed: (problem) => (failure ??= errorOf(problem)),
      warned: warn,
      ended(end) {
        settleEnd(end);
        if (failure !== undefined) {
          connection.cleaned();
          connection.close();
        }
      },
      lost() {
        const lost = new TsbuildError('CONTAINER_LOST', "lost the connection to the container's monitor");
        reject(failure ?? lost);
        failEnd(failure ?? lost);
      },
    });
  });
}

function startProblem(
  problem: LaunchProblem,
  ops: readonly PlanOp[],
  spec: ContainerSpec,
  { config }: StoredContainer,
): TsbuildError {
  if (problem.op !== NO_OPERATION) return startError(problem, ops, spec);
  if (problem.errno === constants.errno.EAGAIN)
    return new TsbuildError(
      'CONTAINER_RUNNING',
      `container ${JSON.stringify(config.name)} is running already`,
    );
  return portError(problem) ?? startError(problem, [], spec);
}

/** What inspect tells of a container that could not be started. */
function noteFailure({ containers }: Engine, { id, state }: StoredContainer, error: unknown): void {
  if (containers.get(id) === undefined || !(error instanceof TsbuildError)) return;
  containers.saveState(id, { ...state, exitCode: error.exitCode ?? 128, error: error.message });
}

export function policyOf(restart: RestartPolicy): MonitorPolicy {
  if (restart.name === 'on-failure') return { policy: 'on-failure', maximumRetries: restart.maximumRetries };
  return { policy: restart.name === 'no' ? 'no' : 'always', maximumRetries: 0 };
}

const KINDS: readonly NamespaceKind[] = ['mount', 'cgroup', 'uts', 'ipc', 'pid', 'network', 'time'];

/** Health checks enter what the container has of its own; whom they enter the monitor knows. */
function healthOf(
  { config }: StoredContainer,
  spec: ContainerSpec,
  machine: Parameters<typeof layOutExec>[1],
): MonitorHealth | undefined {
  if (config.healthCheck === undefined) return undefined;
  const { args, ...times } = config.healthCheck;
  const { cgroup, ...process } = spec;
  const namespaces = KINDS.filter((kind) => isOwn(spec, kind)).reduce(
    (flags, kind) => flags | NAMESPACE[kind],
    0,
  );
  const target = { pid: 0, started: 0n, namespaces: namespaces >>> 0 };
  const check = {
    ...process,
    args,
    terminal: false,
    target,
    ...(cgroup === undefined ? {} : { cgroup: joinCgroup(cgroup.place) }),
  };
  return { ...times, plan: encodePlan(layOutExec(check, machine)) };
}

function isOwn(spec: ContainerSpec, kind: NamespaceKind): boolean {
  if (kind === 'network') return spec.network !== 'host';
  return (spec.namespaces?.[kind] ?? (kind === 'time' ? 'host' : 'new')) !== 'host';
}
