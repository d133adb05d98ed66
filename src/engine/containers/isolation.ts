/**
 * From a container's isolation options to what its spec is made of: each time it starts, since paths of other
 * containers' namespaces, devices of the host and directories of volumes may have changed.
 */
import { TsbuildError } from '../../base/errors.ts';
import type { DeviceRule } from '../../runtime/cgroups/resources.ts';
import { adjustCapabilities } from '../../runtime/capabilities.ts';
import type {
  IsolationOptions,
  MountRequest,
  NamespaceChoice as Asked,
} from '../../runtime/container-options.ts';
import type { ContainerInput } from '../../runtime/default-spec.ts';
import type { ContainerMount, IdMaps, NamespaceChoice } from '../../runtime/runtime.ts';
import { parseDockerProfile } from '../../runtime/seccomp/docker-profile.ts';
import type { MountStub } from '../../../snapshotter/snapshotter.ts';
import { hostDevices } from './host-devices.ts';
import { RANGE_SIZE } from './id-ranges.ts';
import { containerMounts, PROPAGATION_FLAGS, rootPropagation } from './isolation-mounts.ts';

/** What is found out at the start. */
export interface StartFacts {
  /** Where a volume's files are. Throws VOLUME_NOT_FOUND. */
  readonly volumeDirectory: (name: string) => string;
  /** Path of a namespace of another container, which must run. Throws CONTAINER_NOT_FOUND, CONTAINER_NOT_RUNNING. */
  readonly namespacePath: (container: string, kind: 'pid' | 'ipc' | 'uts' | 'cgroup') => string;
  /**
   * First process of another container, which must run and have a /dev/shm to share. Throws CONTAINER_NOT_FOUND,
   * CONTAINER_NOT_RUNNING, SPEC_INVALID.
   */
  readonly sharerOf: (container: string) => { readonly pid: number; readonly started: bigint };
  /** The first of as many ids as a user namespace gets (id-ranges.ts), the container's own. */
  readonly firstId: () => number;
  /** Which of /dev/shm and /dev/mqueue the host has. */
  readonly sharedMemory: readonly string[];
  /** `amd64`, `arm64`. */
  readonly arch: string;
  /** Release of the kernel. */
  readonly kernel: string;
}

export type IsolationInput = Pick<
  ContainerInput,
  | 'volumes'
  | 'readonlyRoot'
  | 'privileged'
  | 'capabilities'
  | 'rlimits'
  | 'shmSize'
  | 'writableFiles'
  | 'noNewPrivileges'
  | 'seccomp'
  | 'apparmorProfile'
  | 'unmasked'
  | 'namespaces'
  | 'idMaps'
  | 'timeOffsets'
  | 'rootPropagation'
  | 'sysctls'
  | 'devices'
  | 'domainname'
  | 'oomScoreAdj'
>;

export interface StartIsolation {
  readonly input: IsolationInput;
  /** For the cgroup. */
  readonly deviceRules: readonly DeviceRule[];
}

/** Throws SPEC_INVALID (a profile, a device), and what `facts` throw. */
export function isolationAtStart(options: IsolationOptions, facts: StartFacts): StartIsolation {
  const { security, mounts, readonlyRoot } = options;
  const { privileged } = security;
  const devices = hostDevices(options.devices, options.deviceRules, { privileged });
  const propagation = rootPropagation(mounts);
  const idMaps = idMapsOf(options, facts);
  const input: IsolationInput = {
    volumes: [...ipcMounts(options, facts), ...containerMounts(mounts, facts.volumeDirectory, idMaps)],
    readonlyRoot,
    privileged,
    ...capabilitiesOf(options),
    rlimits: options.rlimits,
    writableFiles: !readonlyRoot,
    noNewPrivileges: security.noNewPrivileges,
    ...seccompOf(options, facts),
    unmasked: security.systemPathsUnconfined,
    namespaces: namespacesOf(options, facts),
    devices: devices.nodes,
    sysctls: options.sysctls,
    ...present('idMaps', idMaps),
    ...present('shmSize', options.namespaces.ipc?.kind === 'none' ? 0 : options.shmSize),
    ...present('rootPropagation', propagation),
    ...present('domainname', options.domainname),
    ...present('oomScoreAdj', options.oomScoreAdj),
    ...present('apparmorProfile', security.apparmor === 'unconfined' ? undefined : security.apparmor),
    ...timeOf(options),
  };
  return { input, deviceRules: devices.rules };
}

function present<K extends string, V>(key: K, value: V | undefined): { readonly [P in K]?: V } {
  return (value === undefined ? {} : { [key]: value }) as { readonly [P in K]?: V };
}

function capabilitiesOf({ security }: IsolationOptions): Pick<IsolationInput, 'capabilities'> {
  const { capAdd, capDrop, privileged } = security;
  if (privileged || (capAdd.length === 0 && capDrop.length === 0)) return {};
  return { capabilities: adjustCapabilities(capAdd, capDrop) };
}

function seccompOf({ security }: IsolationOptions, facts: StartFacts): Pick<IsolationInput, 'seccomp'> {
  const { seccomp, capAdd, capDrop } = security;
  if (seccomp.kind !== 'profile') return seccomp.kind === 'default' ? {} : { seccomp: 'unconfined' };
  const capabilities = adjustCapabilities(capAdd, capDrop);
  return { seccomp: parseDockerProfile(seccomp.text, { capabilities, ...facts }) };
}

function namespacesOf(
  { namespaces }: IsolationOptions,
  { namespacePath }: StartFacts,
): NonNullable<ContainerInput['namespaces']> {
  const choice = (asked: Asked | undefined, kind: 'pid' | 'ipc' | 'uts' | 'cgroup'): NamespaceChoice => {
    if (asked?.kind === 'container') return { join: namespacePath(asked.container, kind) };
    return asked?.kind === 'host' ? 'host' : 'new';
  };
  const { ipc, user, timeOffsets } = namespaces;
  return {
    pid: choice(namespaces.pid, 'pid'),
    ipc: ipc === undefined || isOwn(ipc) ? 'new' : choice(ipc, 'ipc'),
    uts: choice(namespaces.uts, 'uts'),
    cgroup: choice(namespaces.cgroup, 'cgroup'),
    ...(timeOffsets === undefined ? {} : { time: 'new' }),
    ...(user === undefined || user.kind === 'host' ? {} : { user: 'new' }),
  };
}

/** Whether others may join it makes no difference to the kernel. */
function isOwn(
  ipc: NonNullable<IsolationOptions['namespaces']['ipc']>,
): ipc is { readonly kind: 'none' | 'shareable' } {
  return ipc.kind === 'none' || ipc.kind === 'shareable';
}

/** Root inside is nobody outside; ids beyond the range are nobody's. */
function idMapsOf({ namespaces: { user } }: IsolationOptions, facts: StartFacts): IdMaps | undefined {
  if (user === undefined || user.kind === 'host') return undefined;
  if (user.kind === 'keep-id')
    throw new TsbuildError('SPEC_INVALID', 'keep-id is only supported in rootless mode', {
      hint: 'use --userns=auto',
    });
  const size = Math.min(RANGE_SIZE, user.kind === 'auto' ? (user.size ?? RANGE_SIZE) : RANGE_SIZE);
  const map = [{ inside: 0, outside: facts.firstId(), size }];
  return { uids: map, gids: map };
}

function timeOf({ namespaces: { timeOffsets } }: IsolationOptions): Pick<IsolationInput, 'timeOffsets'> {
  if (timeOffsets === undefined) return {};
  const offset = (clock: 'monotonic' | 'boottime'): NonNullable<ContainerInput['timeOffsets']> => {
    const given = timeOffsets[clock];
    return given === undefined ? {} : { [clock]: { secs: given.seconds, nanosecs: given.nanoseconds } };
  };
  return { timeOffsets: { ...offset('monotonic'), ...offset('boottime') } };
}

/** Shared memory and message queues belong to the ipc namespace, so who joins one gets them, too. */
function ipcMounts(
  { namespaces: { ipc, user } }: IsolationOptions,
  facts: StartFacts,
): readonly ContainerMount[] {
  const isMapped = user !== undefined && user.kind !== 'host';
  const shared = (path: string): Extract<ContainerMount, { kind: 'attach' }> => ({
    ...{ kind: 'attach', type: '', source: path, target: path, bind: true, recursive: false, copyUp: false },
    ...{ remount: false, set: 0, clear: 0, setBelow: 0, clearBelow: 0, options: [] },
    ...{ propagation: PROPAGATION_FLAGS.rprivate, outside: isMapped },
  });
  if (ipc?.kind === 'container') {
    const of = facts.sharerOf(ipc.container);
    return ['/dev/shm', ...(isMapped ? ['/dev/mqueue'] : [])].map((path) => ({ ...shared(path), of }));
  }
  return ipc?.kind === 'host' ? facts.sharedMemory.map(shared) : [];
}

/** Targets of mounts, as places that must exist below all layers: they never appear in a layer. */
export function mountStubs(
  mounts: readonly MountRequest[],
  isFile: (path: string) => boolean,
): readonly MountStub[] {
  return mounts.map((mount) => ({
    path: mount.target,
    type: mount.kind === 'bind' && isFile(mount.source) ? 'file' : 'directory',
    // It takes the mode of what it hides.
    ...(mount.kind === 'tmpfs' && mount.mode === undefined ? { mode: 0o1777 } : {}),
  }));
}
