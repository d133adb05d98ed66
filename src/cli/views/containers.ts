/** Containers as `ps` and templates show them. Columns and words: docker/cli, formatter/container.go; moby, container/state.go. */
import type { MountRequest } from '../../runtime/container-options.ts';
import { shortID, type ContainerState, type StoredContainer } from '../../runtime/container.ts';
import type { Endpoint, PublishedPort } from '../../runtime/network/contract.ts';
import type { ListView } from '../format/rows.ts';
import type { Struct } from '../format/values.ts';
import { decimalSize, ellipsis, goTime, humanDuration, labelText } from './words.ts';

export const CONTAINER_LIST: ListView = {
  headings: {
    Command: 'COMMAND',
    CreatedAt: 'CREATED AT',
    ID: 'CONTAINER ID',
    Image: 'IMAGE',
    Labels: 'LABELS',
    LocalVolumes: 'LOCAL VOLUMES',
    Mounts: 'MOUNTS',
    Names: 'NAMES',
    Networks: 'NETWORKS',
    Platform: 'PLATFORM',
    Ports: 'PORTS',
    RunningFor: 'CREATED',
    Size: 'SIZE',
    State: 'STATE',
    Status: 'STATUS',
  },
  table: '{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}',
  quiet: 'ID',
};

export const CONTAINER_SIZE_TABLE = `table ${CONTAINER_LIST.table}\t{{.Size}}`;

export interface ListedContainer {
  readonly container: StoredContainer;
  /** Names of its networks. */
  readonly networks: readonly string[];
  readonly ports: readonly PublishedPort[];
  /** `80/tcp`: ports that are exposed and not published. */
  readonly exposed: readonly string[];
  /** Bytes of its own layer, and of everything; measured where they were asked for. */
  readonly size?: { readonly own: number; readonly all: number };
}

export function containerRow(listed: ListedContainer, nowMs: number, whole: boolean): Struct {
  const { container, networks, ports, exposed, size } = listed;
  const { id, config, state } = container;
  const command = commandText([...config.entrypoint, ...config.command]);
  const mounts = config.isolation.mounts.filter(({ kind }) => kind !== 'tmpfs');
  const names = mounts.map(mountName);
  return {
    Command: JSON.stringify(whole ? command : ellipsis(command, 20)),
    CreatedAt: goTime(config.created),
    ID: whole ? id : shortID(id),
    Image: config.image.name,
    Labels: labelText(config.labels),
    Label: (name) =>
      typeof name === 'string' && Object.hasOwn(config.labels, name) ? config.labels[name] : '',
    LocalVolumes: String(mounts.filter(({ kind }) => kind === 'volume').length),
    Mounts: names.map((name) => (whole ? name : ellipsis(name, 15))).join(','),
    Names: config.name,
    Networks: networks.join(','),
    Platform: '',
    Ports: portsText(ports, exposed),
    RunningFor: `${humanDuration(secondsSince(config.created, nowMs))} ago`,
    Size: size === undefined ? '0B' : `${decimalSize(size.own)} (virtual ${decimalSize(size.all)})`,
    State: state.status,
    Status: statusText(state, nowMs),
  };
}

/** Arguments with spaces in quotes, not the program. */
function commandText([program = '', ...args]: readonly string[]): string {
  return [program, ...args.map((arg) => (arg.includes(' ') ? `'${arg}'` : arg))].join(' ');
}

function mountName(mount: MountRequest): string {
  if (mount.kind === 'volume') return mount.name ?? '';
  return mount.kind === 'bind' ? mount.source : mount.target;
}

function secondsSince(time: string | undefined, nowMs: number): number {
  const at = time === undefined ? Number.NaN : Date.parse(time);
  return Number.isNaN(at) ? 0 : Math.max(0, (nowMs - at) / 1000);
}

/** `Up 3 minutes (healthy)`, `Exited (0) 2 hours ago`. */
export function statusText(state: ContainerState, nowMs: number): string {
  const ended = `${humanDuration(secondsSince(state.finishedAt, nowMs))} ago`;
  const up = `Up ${humanDuration(secondsSince(state.startedAt, nowMs))}`;
  switch (state.status) {
    case 'created':
      return 'Created';
    case 'restarting':
      return `Restarting (${state.exitCode}) ${ended}`;
    case 'paused':
      return `${up} (Paused)`;
    case 'running':
      return `${up}${healthText(state)}`;
    case 'exited':
      return `Exited (${state.exitCode}) ${ended}`;
  }
}

function healthText({ health }: ContainerState): string {
  if (health === undefined) return '';
  return health.status === 'starting' ? ' (health: starting)' : ` (${health.status})`;
}

/** `0.0.0.0:8080-8081->80-81/tcp, :::8080->80/tcp, 90/udp`: neighbours are joined. */
export function portsText(ports: readonly PublishedPort[], exposed: readonly string[]): string {
  const published = new Set(ports.map(({ containerPort, protocol }) => `${containerPort}/${protocol}`));
  const sorted = [...ports].sort(
    (a, b) =>
      a.protocol.localeCompare(b.protocol) ||
      Number(a.hostIp.includes(':')) - Number(b.hostIp.includes(':')) ||
      a.hostIp.localeCompare(b.hostIp) ||
      a.containerPort - b.containerPort ||
      a.hostPort - b.hostPort,
  );
  const runs: { first: PublishedPort; count: number }[] = [];
  for (const port of sorted) {
    const run = runs.at(-1);
    if (run !== undefined && continues(run.first, run.count, port)) run.count += 1;
    else runs.push({ first: port, count: 1 });
  }
  const shown = runs.map(({ first, count }) => {
    const range = (start: number): string => (count === 1 ? `${start}` : `${start}-${start + count - 1}`);
    const ip = first.hostIp.includes(':') && first.hostIp !== '::' ? `[${first.hostIp}]` : first.hostIp;
    return `${ip}:${range(first.hostPort)}->${range(first.containerPort)}/${first.protocol}`;
  });
  return [...shown, ...exposed.filter((port) => !published.has(port))].join(', ');
}

function continues(first: PublishedPort, count: number, next: PublishedPort): boolean {
  return (
    next.hostIp === first.hostIp &&
    next.protocol === first.protocol &&
    next.containerPort === first.containerPort + count &&
    next.hostPort === first.hostPort + count
  );
}

export function networkNames(endpoints: readonly Endpoint[], mode: string): readonly string[] {
  return endpoints.length === 0 ? [mode] : endpoints.map(({ network }) => network);
}
