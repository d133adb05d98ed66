/**
 * `create` and `run`: from a bundle to a container that waits for its start, or runs.
 *
 * Order: the id is taken, the config read and laid out, the launcher makes cgroup and container, the record is
 * written. What fails on the way leaves neither cgroup nor directory.
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { isAbsolute, join, resolve } from 'node:path';
import { FIRST_HANDED_ON } from '../../../native/launcher.ts';
import { TsbuildError } from '../../base/errors.ts';
import type { CgroupDescription } from '../cgroups/cgroup.ts';
import { endCgroup, type PreparedCgroup } from '../cgroups/driver.ts';
import { layOut, type Machine } from '../layout.ts';
import { processStartTime } from '../process-namespaces.ts';
import type { ContainerSpec } from '../runtime.ts';
import { prepareContainerCgroup, type CgroupChoice } from './cgroup-document.ts';
import { parseContainer } from './container-document.ts';
import { parseFields, type Fields } from './fields.ts';
import { descriptorsFrom3, startDetached, startForeground, type Foreground, type Launch } from './launch.ts';
import { OCI_VERSION } from './state-document.ts';
import { choiceOf, parseNamespaces } from './namespaces-document.ts';
import { prepareNotify } from './notify-socket.ts';
import type { ContainerRecord } from './record.ts';
import type { StateStore } from './store.ts';

export interface RuntimeContext {
  readonly store: StateStore;
  readonly launcher: string;
  readonly machine: Machine;
  readonly cgroups: CgroupChoice;
  /** Descriptors that were open before Node; undefined: nobody knows. */
  readonly handedOn: ReadonlySet<number> | undefined;
  /** Now, RFC 3339. */
  readonly now: () => string;
  readonly warn: (message: string) => void;
  /** Gets what happens on the way to a program; undefined: nobody wants to know. */
  readonly debug: ((message: string) => void) | undefined;
}

export interface CreateRequest {
  readonly id: string;
  /** Absolute. */
  readonly bundle: string;
  /** Relative to the bundle. */
  readonly config: string;
  readonly consoleSocket?: string;
  /** Absolute. */
  readonly pidfdSocket?: string;
  readonly pivot: boolean;
  readonly keyring: boolean;
  /** How many descriptors from 3 on the program gets. */
  readonly preserveFds: number;
  readonly env: readonly string[];
  /** NOTIFY_SOCKET of the caller. */
  readonly notifySocket?: string;
  /** Waits for `start`; else the program runs at once. */
  readonly waits: boolean;
  /** A terminal and the end of the program are this process's. */
  readonly foreground: boolean;
}

export interface Created {
  readonly record: ContainerRecord;
  readonly config: Fields;
  /** With `foreground`. */
  readonly attached?: Foreground;
}

export async function createContainer(context: RuntimeContext, request: CreateRequest): Promise<Created> {
  const { store } = context;
  const { id, bundle } = request;
  const path = isAbsolute(request.config) ? request.config : join(bundle, request.config);
  const text = readConfig(path);
  const config = parseFields(text, path);
  checkTerminal(config, request);
  store.reserve(id);
  let prepared: PreparedCgroup | undefined;
  try {
    prepared = await prepareContainerCgroup(config, id, context.cgroups);
    const cgroup = prepared?.cgroup;
    const spec = specOf(config, request, context, cgroup);
    store.writeConfig(id, text);
    const launch = launchOf(spec, context);
    const record = { ...recordOf(config, request, context, cgroup), ...waitingOf(launch) };
    store.write(record);
    const attached = request.foreground ? await startForeground(launch) : undefined;
    const pid = attached?.pid ?? (await startDetached(launch));
    const complete = { ...record, pid, pidStart: (processStartTime(pid) ?? 0n).toString() };
    store.write(complete);
    return { record: complete, config, ...(attached === undefined ? {} : { attached }) };
  } catch (error) {
    if (prepared !== undefined) await endCgroup(prepared.cgroup.place).catch(() => undefined);
    store.remove(id);
    throw error;
  } finally {
    prepared?.[Symbol.dispose]();
  }
}

function readConfig(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new TsbuildError('SPEC_INVALID', `JSON specification file ${path} not found: ${String(error)}`, {
      cause: error,
    });
  }
}

function checkTerminal(config: Fields, { consoleSocket, foreground }: CreateRequest): void {
  const terminal = config.fields('process').flag('terminal');
  if (terminal && !foreground && consoleSocket === undefined)
    throw new TsbuildError(
      'SPEC_INVALID',
      'cannot allocate tty if runtime will detach without setting console socket: use --console-socket',
    );
  if (consoleSocket !== undefined && (!terminal || foreground))
    throw new TsbuildError(
      'SPEC_INVALID',
      'cannot use console socket if runtime will not detach or allocate tty',
    );
}

function specOf(
  config: Fields,
  request: CreateRequest,
  { store, warn, handedOn }: RuntimeContext,
  cgroup: CgroupDescription | undefined,
): ContainerSpec {
  const { id, bundle, pivot, keyring, env, preserveFds, consoleSocket, pidfdSocket } = request;
  const notified = prepareNotify(config, request.notifySocket, store.directoryOf(id));
  return parseContainer(config, {
    ...{ id, bundle, cgroup, pivot, keyring, env, warn, foreground: request.foreground },
    ...(notified === undefined ? {} : { notified }),
    ...(request.waits ? { startSocket: store.startSocketOf(id) } : {}),
    ...(consoleSocket === undefined ? {} : { consoleSocket: resolve(bundle, consoleSocket) }),
    ...(pidfdSocket === undefined ? {} : { pidfdSocket }),
    ...(preserveFds === 0
      ? {}
      : { preserveFds: { first: FIRST_HANDED_ON, targets: descriptorsFrom3(preserveFds, handedOn) } }),
  });
}

function recordOf(
  config: Fields,
  { id, bundle }: CreateRequest,
  { now, cgroups }: RuntimeContext,
  cgroup: CgroupDescription | undefined,
): ContainerRecord {
  const namespaces = parseNamespaces(config.fields('linux'));
  return {
    id,
    ociVersion: config.text('ociVersion') ?? OCI_VERSION,
    bundle,
    rootfs: resolve(bundle, config.fields('root').text('path') ?? ''),
    annotations: config.record('annotations'),
    created: now(),
    owner: '',
    pid: 0,
    pidStart: '0',
    ...(cgroup === undefined ? {} : { cgroup: cgroup.place }),
    systemdCgroup: cgroups.manager === 'systemd',
    external_descriptors: JSON.stringify([0, 1, 2].map(streamName)),
    ...(choiceOf(namespaces, 'mount') === 'host' ? { sharesMounts: true } : {}),
    ...(choiceOf(namespaces, 'pid') === 'new' ? {} : { sharesPids: true }),
    later: ['poststart', 'poststop'].filter((name) => config.fields('hooks').list(name).length > 0),
  };
}

function waitingOf({ ops }: Launch): Pick<ContainerRecord, 'waiting'> {
  const at = ops.findIndex(({ op }) => op === 'waitStart');
  if (at < 0) return {};
  return { waiting: { at, preserves: ops.some(({ op }) => op === 'preserve') } };
}

function streamName(fd: number): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return '/dev/null';
  }
}

export function launchOf(spec: ContainerSpec, { launcher, machine, warn, debug }: RuntimeContext): Launch {
  return {
    launcher,
    ops: layOut(spec, machine),
    spec,
    descriptors: spec.preserveFds?.targets ?? [],
    warn,
    debug,
  };
}
