/** What a container was asked for, as docker's HostConfig shows it. */
import type { ContainerConfig } from '../../runtime/container.ts';
import type {
  DeviceRateRequest,
  IsolationOptions,
  MountRequest,
  NamespaceOptions,
} from '../../runtime/container-options.ts';
import { mapOf, type Value } from '../format/values.ts';

export function hostConfigValue(config: ContainerConfig): Value {
  const { isolation, input } = config;
  return {
    Binds: bindTexts(isolation.mounts),
    ContainerIDFile: '',
    LogConfig: logConfig(config.log),
    NetworkMode: networkMode(config),
    PortBindings: portBindings(config),
    RestartPolicy: {
      Name: config.restart.name,
      MaximumRetryCount: config.restart.name === 'on-failure' ? config.restart.maximumRetries : 0,
    },
    AutoRemove: config.autoRemove,
    Annotations: mapOf(config.annotations ?? {}),
    Init: config.init,
    ExtraHosts: input.extraHosts.length === 0 ? null : input.extraHosts,
    ReadonlyRootfs: isolation.readonlyRoot,
    ShmSize: isolation.shmSize ?? 64 << 20,
    OomScoreAdj: isolation.oomScoreAdj ?? 0,
    ...isolationValue(isolation),
    ...limitsValue(isolation),
  };
}

function logConfig({ driver, maxSize, maxFiles }: ContainerConfig['log']): Value {
  if (driver === 'none') return { Type: 'none', Config: mapOf({}) };
  return {
    Type: 'json-file',
    Config: mapOf({ 'max-file': String(maxFiles), 'max-size': String(maxSize) }),
  };
}

export function networkMode({ network }: ContainerConfig): string {
  if (network.kind === 'networks') return network.endpoints[0]?.network ?? 'bridge';
  return network.kind === 'container' ? `container:${network.container}` : network.kind;
}

function bindTexts(mounts: readonly MountRequest[]): Value {
  const binds = mounts.flatMap((mount) => {
    if (mount.kind === 'tmpfs' || (mount.kind === 'volume' && mount.name === undefined)) return [];
    const source = mount.kind === 'bind' ? mount.source : (mount.name ?? '');
    return [`${source}:${mount.target}${mount.readonly ? ':ro' : ''}`];
  });
  return binds.length === 0 ? null : binds;
}

function portBindings({ ports }: ContainerConfig): Value {
  const map = new Map<string, Value[]>();
  for (const { containerPort, protocol, hostIp = '', hostPorts } of ports) {
    const key = `${containerPort}/${protocol}`;
    const first = hostPorts === undefined ? '' : String(hostPorts.first);
    map.set(key, [...(map.get(key) ?? []), { HostIp: hostIp, HostPort: first }]);
  }
  return map;
}

function isolationValue(isolation: IsolationOptions): Readonly<Record<string, Value>> {
  const { security, namespaces, devices } = isolation;
  return {
    Privileged: security.privileged,
    CapAdd: security.capAdd.length === 0 ? null : security.capAdd,
    CapDrop: security.capDrop.length === 0 ? null : security.capDrop,
    SecurityOpt: security.given.length === 0 ? null : security.given,
    GroupAdd: isolation.groups.length === 0 ? null : isolation.groups,
    PidMode: modeText(namespaces.pid),
    IpcMode: modeText(namespaces.ipc) || 'private',
    UTSMode: modeText(namespaces.uts),
    CgroupnsMode: modeText(namespaces.cgroup) || 'private',
    UsernsMode: namespaces.user?.kind ?? '',
    Cgroup: '',
    CgroupParent: isolation.cgroupParent ?? '',
    CgroupDriver: isolation.cgroupDriver ?? 'cgroupfs',
    Sysctls: mapOf(isolation.sysctls),
    Tmpfs: mapOf(tmpfsTexts(isolation.mounts)),
    VolumesFrom: null,
    Devices: devices.map(({ source, target, access }) => ({
      ...{ PathOnHost: source, PathInContainer: target, CgroupPermissions: access },
    })),
    Ulimits: isolation.rlimits.map(({ type, soft, hard }) => ({
      ...{ Name: type.replace(/^RLIMIT_/, '').toLowerCase(), Hard: hard, Soft: soft },
    })),
  };
}

function modeText(choice: NamespaceOptions['pid'] | NamespaceOptions['ipc']): string {
  if (choice === undefined) return '';
  return 'container' in choice ? `container:${choice.container}` : choice.kind;
}

function tmpfsTexts(mounts: readonly MountRequest[]): Readonly<Record<string, string>> {
  return Object.fromEntries(
    mounts.flatMap((mount) => {
      if (mount.kind !== 'tmpfs') return [];
      const size = mount.size === undefined ? [] : [`size=${mount.size}`];
      const mode = mount.mode === undefined ? [] : [`mode=${mount.mode.toString(8)}`];
      return [[mount.target, [...size, ...mode, ...mount.options].join(',')] as const];
    }),
  );
}

function limitsValue({ limits }: IsolationOptions): Readonly<Record<string, Value>> {
  const rates = (list: readonly DeviceRateRequest[] | undefined): Value =>
    list?.map(({ path, rate }) => ({ Path: path, Rate: rate })) ?? null;
  const { memory = 0 } = limits;
  return {
    Memory: memory,
    MemorySwap: limits.memorySwap ?? memory * 2,
    MemoryReservation: limits.memoryReservation ?? 0,
    MemorySwappiness: limits.memorySwappiness ?? null,
    OomKillDisable: limits.oomKillDisable ?? null,
    NanoCpus: limits.nanoCpus ?? 0,
    CpuShares: limits.cpuShares ?? 0,
    CpuPeriod: limits.cpuPeriod ?? 0,
    CpuQuota: limits.cpuQuota ?? 0,
    CpusetCpus: limits.cpusetCpus ?? '',
    CpusetMems: limits.cpusetMems ?? '',
    PidsLimit: limits.pids ?? null,
    BlkioWeight: limits.blkioWeight ?? 0,
    BlkioWeightDevice:
      limits.blkioWeightDevice?.map(({ path, weight }) => ({ Path: path, Weight: weight })) ?? null,
    BlkioDeviceReadBps: rates(limits.deviceReadBps),
    BlkioDeviceWriteBps: rates(limits.deviceWriteBps),
    BlkioDeviceReadIOps: rates(limits.deviceReadIops),
    BlkioDeviceWriteIOps: rates(limits.deviceWriteIops),
  };
}
