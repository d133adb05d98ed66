/** From a stored container to the spec of its process: each time it starts, since the machine may have changed. */
import { join } from 'node:path';
import type { Mount } from '../../../native/mount.ts';
import { keepsGroups } from '../../runtime/annotations.ts';
import { cgroupMounts } from '../../runtime/cgroups/mounts.ts';
import { prepareCgroup, type PreparedCgroup } from '../../runtime/cgroups/driver.ts';
import { readWritableHierarchies } from '../../runtime/cgroups/read-hierarchies.ts';
import { DEFAULT_PARENT } from '../../runtime/cgroups/remove.ts';
import type { StoredContainer } from '../../runtime/container.ts';
import { createContainerSpec, DEFAULT_STUBS, MTAB } from '../../runtime/default-spec.ts';
import type { Attachment } from '../../runtime/network/contract.ts';
import type { ContainerMount, ContainerNetwork, ContainerSpec } from '../../runtime/runtime.ts';
import type { Engine } from '../engine.ts';
import { isFile } from './create.ts';
import { isolationAtStart, mountStubs, type StartIsolation } from './isolation.ts';
import { resourcesOf } from './resources.ts';
import { runningPid, startFacts } from './start-facts.ts';

/** How the writable layer is mounted; what is not there of it is made. */
export async function rootMounts(
  engine: Engine,
  { config, directory }: StoredContainer,
): Promise<readonly Mount[]> {
  const snapshotter = await engine.snapshotter();
  const { mounts } = await snapshotter.prepare(config.image.snapshot, {
    home: join(directory, 'layer'),
    stubs: [...DEFAULT_STUBS, MTAB, ...mountStubs(config.isolation.mounts, isFile)],
    // What is thrown away at the end need not survive a crash of the machine.
    volatile: config.autoRemove,
  });
  return mounts;
}

export interface PreparedSpec extends Disposable {
  readonly spec: ContainerSpec;
}

/**
 * To be disposed of when the container has started, or failed to. Throws SPEC_INVALID, VOLUME_NOT_FOUND,
 * CONTAINER_NOT_RUNNING (whose namespaces are to be joined), KERNEL_UNSUPPORTED, SYSTEMD_FAILED.
 */
export async function prepareSpec(
  engine: Engine,
  { id, config }: StoredContainer,
  mounts: readonly Mount[],
  attachment: Attachment | undefined,
): Promise<PreparedSpec> {
  const { input, deviceRules } = isolationAtStart(config.isolation, startFacts(engine, id));
  const network = networkOf(engine, config.network, attachment);
  const prepared = await cgroupOf(id, config.isolation, deviceRules);
  const spec = createContainerSpec({
    ...config.input,
    ...input,
    volumes: [...ownCgroup(prepared, input), ...(input.volumes ?? [])],
    id,
    tellsHostname: true,
    mounts,
    network,
    resolvConf: attachment?.resolvConf ?? engine.options.resolvConf(),
    ...(attachment === undefined ? {} : { hosts: attachment.hosts }),
  });
  const keepGroups = keepsGroups(config.annotations ?? {});
  return {
    spec: {
      ...spec,
      user: { ...spec.user, keepGroups },
      init: config.init,
      ...(prepared === undefined ? {} : { cgroup: prepared.cgroup }),
    },
    [Symbol.dispose]: () => prepared?.[Symbol.dispose](),
  };
}

const CGROUPS = '/sys/fs/cgroup';
/** read-only, nosuid, nodev, noexec */
const CLOSED = 0x0f;
const PLAIN = { remount: false, clear: 0, setBelow: 0, clearBelow: 0, propagation: 0 };

/** On v1; on v2 the layout mounts it. Programs size themselves by the limits that they read there. */
function ownCgroup(
  prepared: PreparedCgroup | undefined,
  { privileged, namespaces, volumes = [] }: StartIsolation['input'],
): readonly ContainerMount[] {
  const place = prepared?.cgroup.place;
  const isTaken = volumes.some(({ target }) => target === CGROUPS);
  if (place === undefined || place.v1.length === 0 || isTaken) return [];
  return cgroupMounts(place, {
    target: CGROUPS,
    flags: { ...PLAIN, set: privileged === true ? CLOSED & ~1 : CLOSED },
    hasNamespace: namespaces?.cgroup === 'new',
  });
}

function networkOf(
  engine: Engine,
  choice: StoredContainer['config']['network'],
  attachment: Attachment | undefined,
): ContainerNetwork {
  if (choice.kind === 'container') return { join: `/proc/${runningPid(engine, choice.container)}/ns/net` };
  return choice.kind === 'networks' ? { join: attachment?.netns ?? '' } : choice.kind;
}

async function cgroupOf(
  id: string,
  { limits, cgroupParent, cgroupDriver = 'cgroupfs', security }: StoredContainer['config']['isolation'],
  deviceRules: ReturnType<typeof isolationAtStart>['deviceRules'],
): Promise<PreparedCgroup | undefined> {
  const hierarchies = readWritableHierarchies();
  if (hierarchies.v1.length === 0 && hierarchies.unified === undefined) return undefined;
  return prepareCgroup(cgroupDriver, {
    hierarchies,
    path:
      cgroupDriver === 'systemd'
        ? `${cgroupParent ?? ''}:tsbuild:${id}`
        : `${cgroupParent ?? DEFAULT_PARENT}/${id}`,
    resources: resourcesOf(limits, deviceRules, { privileged: security.privileged }),
    membership: 'all',
  });
}
