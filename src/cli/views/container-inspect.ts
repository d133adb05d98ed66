/** A container as docker's `inspect` shows it. Source: moby, api/types/container (InspectResponse), Engine API v1.43. */
import { join } from 'node:path';
import type { MountRequest } from '../../runtime/container-options.ts';
import { isActive, shortID, type ContainerState, type StoredContainer } from '../../runtime/container.ts';
import { DEFAULT_NETWORK } from '../../runtime/network/choice.ts';
import type { MemoryReport } from '../../runtime/runtime.ts';
import type { Endpoint, PublishedPort } from '../../runtime/network/contract.ts';
import { mapOf, type Value } from '../format/values.ts';
import { hostConfigValue } from './host-config.ts';

export interface InspectFacts {
  readonly endpoints: readonly Endpoint[];
  readonly ports: readonly PublishedPort[];
  /** Path of the pinned network namespace. */
  readonly netns: string | undefined;
  readonly volumeDirectory: (name: string) => string;
  readonly driver: string;
  /** Of the latest run that something was killed in for want of memory. */
  readonly memory?: MemoryReport;
  readonly size?: { readonly own: number; readonly all: number };
}

const ZERO_TIME = '0001-01-01T00:00:00Z';

export function inspectedContainer(container: StoredContainer, facts: InspectFacts): Value {
  const { id, config, state, directory } = container;
  const [path = '', ...args] = config.input.args;
  return {
    Id: id,
    Created: config.created,
    Path: path,
    Args: args,
    State: stateValue(state, facts.memory),
    Image: config.image.id,
    ResolvConfPath: '/etc/resolv.conf',
    HostnamePath: '/etc/hostname',
    HostsPath: '/etc/hosts',
    LogPath: config.log.driver === 'none' ? '' : join(directory, 'log'),
    Name: `/${config.name}`,
    RestartCount: state.restartCount,
    Driver: facts.driver,
    Platform: 'linux',
    MountLabel: '',
    ProcessLabel: '',
    AppArmorProfile: config.isolation.security.apparmor ?? '',
    ExecIDs: null,
    HostConfig: hostConfigValue(config),
    GraphDriver: { Name: facts.driver, Data: null },
    ...(facts.size === undefined ? {} : { SizeRw: facts.size.own, SizeRootFs: facts.size.all }),
    Mounts: config.isolation.mounts.map((mount) => mountValue(mount, facts)),
    Config: configValue(container),
    NetworkSettings: networkValue(container, facts),
    Namespaces: namespaceValue(state, facts.netns),
  };
}

function stateValue(state: ContainerState, memory: MemoryReport | undefined): Value {
  const { status, process, health } = state;
  return {
    Status: status,
    Running: isActive(state),
    Paused: status === 'paused',
    Restarting: status === 'restarting',
    OOMKilled: state.oomKilled,
    ...(state.oomKilled && memory !== undefined ? { Memory: memoryValue(memory) } : {}),
    Dead: false,
    Pid: process?.pid ?? 0,
    ExitCode: state.exitCode,
    Error: state.error,
    StartedAt: state.startedAt ?? ZERO_TIME,
    FinishedAt: state.finishedAt ?? ZERO_TIME,
    ...(health === undefined
      ? {}
      : {
          Health: {
            Status: health.status,
            FailingStreak: health.failingStreak,
            Log: health.log.map(({ start, end, exitCode, output }) => ({
              ...{ Start: start, End: end, ExitCode: exitCode, Output: output },
            })),
          },
        }),
  };
}

/** Bytes, as the cgroup told; not docker's. */
function memoryValue({ kills, limit, peak }: MemoryReport): Value {
  return { Kills: kills, Limit: limit ?? 0, Peak: peak ?? 0 };
}

/** Paths for nsenter(1) and lsns(8), while it runs. */
function namespaceValue({ process }: ContainerState, netns: string | undefined): Value {
  if (process === undefined) return netns === undefined ? null : { net: netns };
  const kinds = ['cgroup', 'ipc', 'mnt', 'net', 'pid', 'time', 'user', 'uts'];
  const paths = kinds.map((kind) => [kind, `/proc/${process.pid}/ns/${kind}`] as const);
  return Object.fromEntries(paths.map(([kind, path]) => [kind, kind === 'net' ? (netns ?? path) : path]));
}

function mountValue(mount: MountRequest, facts: InspectFacts): Value {
  const mode = mount.readonly ? 'ro' : '';
  const common = { Destination: mount.target, Mode: mode, RW: !mount.readonly };
  switch (mount.kind) {
    case 'bind':
      return { Type: 'bind', Source: mount.source, ...common, Propagation: mount.propagation ?? 'rprivate' };
    case 'volume': {
      const name = mount.name ?? '';
      const source = facts.volumeDirectory(name);
      return { Type: 'volume', Name: name, Source: source, ...common, Driver: 'local', Propagation: '' };
    }
    case 'tmpfs':
      return { Type: 'tmpfs', Source: '', ...common, Propagation: '' };
  }
}

function configValue({ config }: StoredContainer): Value {
  const { input, isolation } = config;
  const set = (names: readonly string[]): Value =>
    names.length === 0 ? null : mapOf(Object.fromEntries(names.map((name) => [name, {}])));
  return {
    Hostname: isolation.hostname ?? input.hostname,
    Domainname: isolation.domainname ?? '',
    User: config.user,
    AttachStdin: config.stdin !== 'closed',
    AttachStdout: true,
    AttachStderr: true,
    ExposedPorts: set(config.exposedPorts),
    Tty: input.terminal,
    OpenStdin: config.stdin !== 'closed',
    StdinOnce: config.stdin === 'once',
    Env: input.env,
    Cmd: config.command,
    Image: config.image.name,
    Volumes: set(isolation.mounts.filter(({ kind }) => kind === 'volume').map(({ target }) => target)),
    WorkingDir: input.cwd,
    Entrypoint: config.entrypoint.length === 0 ? null : config.entrypoint,
    OnBuild: null,
    Labels: mapOf(config.labels),
    StopSignal: config.stopSignal,
    StopTimeout: config.stopTimeoutS,
    ...(config.healthCheck === undefined ? {} : { Healthcheck: healthcheckValue(config.healthCheck) }),
  };
}

function healthcheckValue(check: NonNullable<StoredContainer['config']['healthCheck']>): Value {
  const nanoseconds = (ms: number): number => ms * 1e6;
  return {
    Test: ['CMD', ...check.args],
    Interval: nanoseconds(check.intervalMs),
    Timeout: nanoseconds(check.timeoutMs),
    StartPeriod: nanoseconds(check.startPeriodMs),
    StartInterval: nanoseconds(check.startIntervalMs),
    Retries: check.retries,
  };
}

/** `80/tcp` → where it is published; null where it is exposed alone. */
export function portMap(
  ports: readonly PublishedPort[],
  exposed: readonly string[],
): ReadonlyMap<string, Value> {
  const map = new Map<string, Value>(exposed.map((port) => [port, null]));
  for (const { containerPort, protocol, hostIp, hostPort } of ports) {
    const key = `${containerPort}/${protocol}`;
    const known = map.get(key);
    map.set(key, [
      ...(Array.isArray(known) ? (known as Value[]) : []),
      { HostIp: hostIp, HostPort: String(hostPort) },
    ]);
  }
  return map;
}

function networkValue({ id, config }: StoredContainer, { endpoints, ports, netns }: InspectFacts): Value {
  const [first] = endpoints;
  return {
    Bridge: '',
    SandboxID: '',
    SandboxKey: netns ?? '',
    Ports: portMap(ports, config.exposedPorts),
    Gateway: first?.gateway ?? '',
    GlobalIPv6Address: first?.ip6 ?? '',
    GlobalIPv6PrefixLen: first?.prefix6 ?? 0,
    IPAddress: first?.ip ?? '',
    IPPrefixLen: first?.prefix ?? 0,
    IPv6Gateway: first?.gateway6 ?? '',
    MacAddress: first?.mac ?? '',
    Networks: mapOf(
      Object.fromEntries(
        endpoints.map((endpoint) => [endpoint.network, endpointValue(endpoint, [config.name, shortID(id)])]),
      ),
    ),
  };
}

/** `names`: what it is called on a network with names, beside its aliases. */
function endpointValue(endpoint: Endpoint, names: readonly [string, string]): Value {
  const [name, id] = names;
  return {
    IPAMConfig: null,
    Links: null,
    Aliases: endpoint.aliases,
    MacAddress: endpoint.mac,
    NetworkID: endpoint.networkId,
    EndpointID: endpoint.hostInterface ?? '',
    Gateway: endpoint.gateway ?? '',
    IPAddress: endpoint.ip ?? '',
    IPPrefixLen: endpoint.prefix ?? 0,
    IPv6Gateway: endpoint.gateway6 ?? '',
    GlobalIPv6Address: endpoint.ip6 ?? '',
    GlobalIPv6PrefixLen: endpoint.prefix6 ?? 0,
    DNSNames: endpoint.network === DEFAULT_NETWORK ? null : [name, ...endpoint.aliases, id],
  };
}
