/** `exec`: a further process in a container that runs. */
import { encodePlan } from '../../../native/plan.ts';
import type { Mount } from '../../../native/mount.ts';
import { launchDetached } from '../../../native/launcher.ts';
import { locateNative } from '../../../native/locate.ts';
import { TsbuildError } from '../../base/errors.ts';
import { openTree } from '../../layer/open-tree.ts';
import { resolveGroups, resolveRunUser } from '../../oci/user.ts';
import { placeOfProcess } from '../../runtime/cgroups/place-of.ts';
import { joinCgroup } from '../../runtime/cgroups/join.ts';
import { ALL_CAPABILITIES } from '../../runtime/capabilities.ts';
import type { StoredContainer } from '../../runtime/container.ts';
import { createContainerSpec } from '../../runtime/default-spec.ts';
import { startError } from '../../runtime/launch-runtime.ts';
import { layOutExec } from '../../runtime/layout.ts';
import { execTarget } from '../../runtime/process-namespaces.ts';
import type { Container, ExecSpec, Stdio } from '../../runtime/runtime.ts';
import { readOwnerFiles } from '../../solver/exec/owner-files.ts';
import type { Engine } from '../engine.ts';
import { probeMachine } from '../machine.ts';
import { current, requireActive } from './hold.ts';
import { mergeEnv } from './image-wishes.ts';
import { isolationAtStart } from './isolation.ts';
import { rootMounts } from './spec.ts';
import { startFacts } from './start-facts.ts';

export interface ExecRequest {
  readonly container: string;
  readonly command: readonly string[];
  readonly env: readonly string[];
  readonly user?: string;
  readonly workdir?: string;
  readonly terminal: boolean;
  readonly privileged: boolean;
}

export interface ExecOptions {
  readonly signal: AbortSignal;
  readonly onWarning?: (message: string) => void;
}

/** Resolves when the program runs; it is the container's, and survives us. Throws CONTAINER_NOT_RUNNING, USER_NOT_FOUND, COMMAND_*. */
export async function execInContainer(
  engine: Engine,
  request: ExecRequest,
  stdio: Stdio,
  options: ExecOptions,
): Promise<Container> {
  const spec = await execSpec(engine, request);
  return (await engine.runtime()).exec({ ...spec, survive: true }, stdio, options);
}

/** The process belongs to the container alone; resolves with its pid when the program runs. */
export async function execDetached(
  engine: Engine,
  request: ExecRequest,
  signal: AbortSignal,
): Promise<number> {
  if (request.terminal) {
    await using running = await execInContainer(
      engine,
      request,
      { kind: 'terminal', streams: 'none' },
      { signal },
    );
    return running.pid;
  }
  const spec = await execSpec(engine, request);
  const machine = probeMachine(engine.options.root, engine.options.platform);
  const ops = layOutExec({ ...spec, survive: true }, machine);
  return new Promise<number>((resolve, reject) => {
    const ignored = (): void => undefined;
    launchDetached(
      locateNative('tsbuild-launch'),
      encodePlan(ops),
      {
        started: resolve,
        failed: (problem) => reject(startError(problem, ops, spec)),
        lost: (reason) => reject(startError({ op: -1, errno: 0, text: reason }, ops, spec)),
        output: ignored,
        exited: ignored,
        warned: ignored,
      },
      [],
      'ignore',
    );
  });
}

async function execSpec(engine: Engine, request: ExecRequest): Promise<ExecSpec> {
  const container = await current(engine, request.container);
  requireActive(container);
  const { config, state } = container;
  const first = state.process;
  if (state.status === 'paused' || first === undefined)
    throw new TsbuildError(
      'CONTAINER_NOT_RUNNING',
      `container ${JSON.stringify(config.name)} is ${state.status === 'paused' ? 'paused' : 'restarting'}`,
      state.status === 'paused' ? { hint: `unpause it first: tsbuild unpause ${config.name}` } : {},
    );
  const place = placeOfProcess(first.pid);
  return {
    ...(await processOf(engine, container, request)),
    target: execTarget(first.pid, BigInt(first.start)),
    ...(place === undefined ? {} : { cgroup: joinCgroup(place) }),
  };
}

/** As the container's first process, but for what was asked for. */
async function processOf(
  engine: Engine,
  container: StoredContainer,
  request: ExecRequest,
): Promise<Omit<ExecSpec, 'target'>> {
  const { id, config } = container;
  const { input } = isolationAtStart(config.isolation, {
    ...startFacts(engine, id),
    namespacePath: () => '',
    sharerOf: () => ({ pid: 0, started: 0n }),
  });
  const user = await userOf(engine, container, request.user);
  const spec = createContainerSpec({
    ...config.input,
    ...input,
    ...user,
    id,
    tellsHostname: true,
    args: request.command,
    env: mergeEnv(config.input.env, request.env),
    cwd: request.workdir ?? config.input.cwd,
    terminal: request.terminal,
    mounts: [],
    network: 'host',
    resolvConf: '',
    privileged: input.privileged === true || request.privileged,
    ...(request.privileged ? { capabilities: ALL_CAPABILITIES } : {}),
  });
  const { args, env, cwd, umask, terminal, capabilities, noNewPrivileges, seccomp, rlimits } = spec;
  const { apparmorProfile, oomScoreAdj, streamsOwner } = spec;
  return {
    ...{ args, env, cwd, umask, terminal, capabilities, noNewPrivileges, seccomp, rlimits },
    user: spec.user,
    ...(apparmorProfile === undefined ? {} : { apparmorProfile }),
    ...(oomScoreAdj === undefined ? {} : { oomScoreAdj }),
    ...(streamsOwner === undefined ? {} : { streamsOwner }),
  };
}

/** Names are those of the container's own passwd and group, which it may have changed. */
async function userOf(
  engine: Engine,
  container: StoredContainer,
  asked: string | undefined,
): Promise<Pick<StoredContainer['config']['input'], 'user' | 'home'>> {
  const { input, isolation } = container.config;
  if (asked === undefined) return { user: input.user, home: input.home };
  using tree = openTree((await rootMounts(engine, container)).map(readOnly));
  const files = readOwnerFiles(tree);
  const { home, ...user } = resolveRunUser(asked, files);
  const groups = [...user.additionalGids, ...resolveGroups(isolation.groups, files)];
  return { user: { ...user, additionalGids: [...new Set(groups)] }, home };
}

/** The same files, as a mount that writes nothing: of an overlay both sides become lower ones. */
function readOnly(mount: Mount): Mount {
  if (mount.kind === 'bind') return { ...mount, readonly: true };
  const { lower, upper, program } = mount;
  return {
    ...{ kind: 'overlay', lower: upper === undefined ? lower : [upper, ...lower] },
    ...(program === undefined ? {} : { program }),
  };
}
