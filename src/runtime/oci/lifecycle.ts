/** `start`, `kill`, `delete`, `pause`, `resume` and `state` of containers that exist. */
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { constants } from 'node:os';
import { basename, dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FIRST_HANDED_ON, type LaunchProblem } from '../../../native/launcher.ts';
import { errnoOf, TsbuildError } from '../../base/errors.ts';
import { hookStreamsOf } from '../annotations.ts';
import { directoryOf } from '../cgroups/cgroup.ts';
import { tryWrite } from '../cgroups/files.ts';
import { endCgroup } from '../cgroups/driver.ts';
import { freeze, thaw } from '../cgroups/freeze.ts';
import { holderOf } from '../cgroups/hierarchies.ts';
import { killAll, processesOf } from '../cgroups/members.ts';
import { layOut } from '../layout.ts';
import { signalNumber } from '../signals.ts';
import { parseContainer } from './container-document.ts';
import type { RuntimeContext } from './create.ts';
import { runHooks } from './hooks-run.ts';
import { hooksOf } from './hooks-document.ts';
import { runtimeError } from './launch-error.ts';
import { stateParts, stateText } from './state-document.ts';
import type { ContainerRecord, Status } from './record.ts';
import { isAlive, type StateStore } from './store.ts';

/** Throws CONTAINER_NOT_RUNNING unless it is created, and what kept the program from running. */
export async function startContainer(context: RuntimeContext, id: string): Promise<void> {
  const { store } = context;
  const record = await completed(store, id);
  const status = store.statusOf(record);
  if (status !== 'created')
    throw new TsbuildError(
      'CONTAINER_NOT_RUNNING',
      status === 'stopped'
        ? 'cannot start a container that has stopped'
        : 'cannot start an already running container',
    );
  const problem = await awaken(store.startSocketOf(id));
  rmSync(store.startSocketOf(id), { force: true });
  if (problem !== undefined) throw startProblem(context, record, problem);
  await runPoststart(context, record);
}

/** The record once `create` has written all of it; engines may call `start` as soon as they see the container. */
async function completed(store: StateStore, id: string): Promise<ContainerRecord> {
  for (let round = 0; round < 100; round += 1) {
    const record = store.read(id);
    if (store.statusOf(record) !== 'creating') return record;
    await sleep(50);
  }
  return store.read(id);
}

/** Poststart hooks; one that fails ends the container. */
export async function runPoststart(context: RuntimeContext, record: ContainerRecord): Promise<void> {
  const config = context.store.readConfig(record.id);
  const hooks = hooksOf(config.fields('hooks'), 'poststart');
  try {
    runHooks(hooks, {
      name: 'poststart',
      state: stateText(stateParts(config, record), 'running', record.pid),
      streams: hookStreamsOf(record.annotations),
    });
  } catch (error) {
    await endContainer(record);
    throw error;
  }
}

const MESSAGE_BYTES = 256;

/** Connects to the waiting program and hears whether it could be executed: nothing but the end means yes. */
async function awaken(path: string): Promise<LaunchProblem | undefined> {
  const directory = openSync(dirname(path), 'r');
  try {
    const chunks: Buffer[] = [];
    // why: by way of the directory, since a socket's path has at most 108 bytes.
    const socket = connect(`/proc/self/fd/${directory}/${basename(path)}`);
    for await (const chunk of socket as AsyncIterable<Buffer>) chunks.push(chunk);
    const message = Buffer.concat(chunks);
    if (message.byteLength < MESSAGE_BYTES) return undefined;
    const text = message.toString('utf8', 12, MESSAGE_BYTES);
    return {
      op: message.readUInt32LE(4),
      errno: message.readUInt32LE(8),
      text: text.slice(0, text.indexOf('\0')),
    };
  } catch (error) {
    throw new TsbuildError('CONTAINER_NOT_RUNNING', `cannot start the container: ${String(error)}`, {
      cause: error,
    });
  } finally {
    closeSync(directory);
  }
}

/** What comes after the wait is laid out again, to say which part of the config failed. */
function startProblem(
  { store, machine, warn }: RuntimeContext,
  { id, bundle, waiting = { at: 0, preserves: false } }: ContainerRecord,
  problem: LaunchProblem,
): TsbuildError {
  const config = store.readConfig(id);
  const spec = parseContainer(config, {
    ...{ id, bundle, cgroup: undefined, pivot: true, keyring: true, env: [], warn },
    startSocket: store.startSocketOf(id),
    ...(waiting.preserves ? { preserveFds: { first: FIRST_HANDED_ON, targets: [] } } : {}),
  });
  const ops = layOut(spec, machine);
  const at = ops.findIndex(({ op }) => op === 'waitStart');
  return runtimeError({ ...problem, op: at + Math.max(problem.op - waiting.at, 0) }, ops, spec);
}

/** `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`; 0 asks whether it is there. Throws USAGE. */
export function signalOf(text: string): number {
  const number = /^\d+$/.test(text) ? Number(text) : signalNumber(text);
  if (number !== undefined && number <= 64) return number;
  throw new TsbuildError('USAGE', `unknown signal ${JSON.stringify(text)}`);
}

/** Throws CONTAINER_NOT_RUNNING where there is nobody to hear it. `all`: every process of the container's cgroup. */
export async function killContainer(
  { store }: RuntimeContext,
  id: string,
  signal: number,
  all: boolean,
): Promise<void> {
  const record = store.read(id);
  const status = store.statusOf(record);
  // why: where its first process is nobody special, whoever it started stays when it is killed, or is there without it.
  if (signal === constants.signals.SIGKILL && record.sharesPids === true && record.cgroup !== undefined) {
    await killAll(record.cgroup, 'SIGKILL');
    return;
  }
  if (all && record.cgroup !== undefined) {
    for (const pid of processesOf(record.cgroup)) send(pid, signal);
    if (signal === constants.signals.SIGKILL) await thaw(record.cgroup);
    return;
  }
  if (status === 'stopped') throw new TsbuildError('CONTAINER_NOT_RUNNING', 'container not running');
  send(record.pid, signal);
  if (signal === constants.signals.SIGKILL && record.cgroup !== undefined && status === 'paused')
    await thaw(record.cgroup);
}

function send(pid: number, signal: number): void {
  try {
    if (pid > 0) process.kill(pid, signal);
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw error;
  }
}

/**
 * A process that somebody has put into a frozen cgroup of v1 cannot die there. Back in its own it can.
 */
function bringBack({ pid, cgroup }: ContainerRecord): void {
  const holder = cgroup === undefined ? undefined : holderOf(cgroup, 'freezer');
  if (holder?.version === 1) tryWrite(`${directoryOf(holder)}/tasks`, `${pid}`);
}

/** Kills everything of the container and waits until it is gone. */
export async function endContainer(record: ContainerRecord): Promise<void> {
  if (isAlive(record)) {
    send(record.pid, constants.signals.SIGKILL);
    bringBack(record);
  }
  if (record.cgroup !== undefined) await killAll(record.cgroup, 'SIGKILL');
  for (let round = 0; round < 500 && isAlive(record); round += 1) await sleep(round < 50 ? 1 : 10);
}

/** Throws CONTAINER_RUNNING where it is neither stopped nor to be forced, CONTAINER_NOT_FOUND. */
export async function deleteContainer(
  context: RuntimeContext,
  id: string,
  { force }: { readonly force: boolean },
): Promise<void> {
  const { store } = context;
  const record = store.read(id);
  const status = store.statusOf(record);
  if (status !== 'stopped') {
    if (!force && status !== 'created')
      throw new TsbuildError(
        'CONTAINER_RUNNING',
        `cannot delete container ${id} that is not stopped: ${status}`,
      );
    await endContainer(record);
  }
  await removeContainer(context, record);
}

/** The end of a container that has ended: cgroup, directory, poststop hooks (whose failures are warnings). */
export async function removeContainer(
  { store, warn }: RuntimeContext,
  record: ContainerRecord,
): Promise<void> {
  const config = store.readConfig(record.id);
  if (record.cgroup !== undefined) await endCgroup(record.cgroup);
  if (record.sharesMounts === true) unmount(record.rootfs, warn);
  store.remove(record.id);
  for (const hook of hooksOf(config.fields('hooks'), 'poststop'))
    try {
      runHooks([hook], {
        name: 'poststop',
        state: stateText(stateParts(config, record), 'stopped', 0),
        streams: hookStreamsOf(record.annotations),
      });
    } catch (error) {
      warn(String(error));
    }
}

/** The root of a container without a mount namespace of its own, with all that is mounted below it. */
function unmount(rootfs: string, warn: (message: string) => void): void {
  const { status, stderr } = spawnSync('umount', ['--lazy', '--recursive', rootfs], { encoding: 'utf8' });
  if (status !== 0) warn(`cannot unmount ${JSON.stringify(rootfs)}: ${stderr.trim()}`);
}

export async function pauseContainer({ store }: RuntimeContext, id: string): Promise<void> {
  const record = store.read(id);
  const status = store.statusOf(record);
  if (status !== 'running' && status !== 'created')
    throw new TsbuildError('CONTAINER_NOT_RUNNING', `container not running or created: ${status}`);
  if (record.cgroup === undefined) throw new TsbuildError('CGROUP_FAILED', 'the container has no cgroup');
  await freeze(record.cgroup);
}

export async function resumeContainer({ store }: RuntimeContext, id: string): Promise<void> {
  const record = store.read(id);
  if (store.statusOf(record) !== 'paused' || record.cgroup === undefined)
    throw new TsbuildError('CONTAINER_NOT_RUNNING', 'container not paused');
  await thaw(record.cgroup);
}

/** The state document of the specification, with what engines read beside it. */
export function stateOf(record: ContainerRecord, status: Status): Readonly<Record<string, unknown>> {
  const { ociVersion, id, pid, bundle, rootfs, created, annotations, owner } = record;
  return {
    ...{ ociVersion, id, pid: status === 'stopped' ? 0 : pid, status, bundle, rootfs, created },
    annotations,
    owner,
  };
}
