import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isTsbuildError } from '../../src/base/errors.ts';
import { parseContainerFilters } from '../../src/cli/commands/container-filters.ts';
import { formatInspected } from '../../src/cli/format/inspected.ts';
import { formatList } from '../../src/cli/format/rows.ts';
import { inspectedContainer } from '../../src/cli/views/container-inspect.ts';
import {
  CONTAINER_LIST,
  containerRow,
  portsText,
  statusText,
  type ListedContainer,
} from '../../src/cli/views/containers.ts';
import { parseTraffic, statsRow } from '../../src/cli/views/stats.ts';
import type { ContainerConfig, ContainerState, StoredContainer } from '../../src/runtime/container.ts';
import type { PublishedPort } from '../../src/runtime/network/contract.ts';

const NOW = Date.parse('2026-01-02T00:00:00Z');
const ID = 'ab'.repeat(32);

const CONFIG: ContainerConfig = {
  version: 1,
  id: ID,
  name: 'web',
  created: '2026-01-01T23:00:00Z',
  image: { id: `sha256:${'c'.repeat(64)}`, name: 'nginx:1' },
  entrypoint: ['/docker-entrypoint.sh'],
  command: ['nginx', '-g', 'daemon off;'],
  user: 'bob',
  stdin: 'closed',
  labels: { tier: 'front', 'com.x/y': 'z' },
  restart: { name: 'on-failure', maximumRetries: 3 },
  autoRemove: false,
  init: false,
  stopSignal: 'SIGQUIT',
  stopTimeoutS: 10,
  log: { maxSize: 1000, maxFiles: 2 },
  anonymousVolumes: [],
  exposedPorts: ['80/tcp', '443/tcp'],
  network: { kind: 'networks', endpoints: [{ network: 'bridge', aliases: [] }] },
  ports: [],
  dns: { servers: [], search: [], options: [] },
  isolation: {
    mounts: [
      { kind: 'bind', source: '/srv', target: '/s', readonly: true, recursive: true, createSource: true },
      { kind: 'volume', name: 'data', target: '/d', readonly: false, nocopy: false, labels: {}, options: {} },
    ],
    volumesFrom: [],
    namespaces: { pid: { kind: 'host' } },
    security: {
      ...{ capAdd: ['SYS_ADMIN'], capDrop: [], privileged: false, noNewPrivileges: false },
      ...{ seccomp: { kind: 'default' }, systemPathsUnconfined: false, labels: [], given: ['label=disable'] },
    },
    ...{ devices: [], deviceRules: [], readonlyRoot: true, rlimits: [], sysctls: {}, groups: [] },
    limits: { memory: 64 << 20, nanoCpus: 5e8 },
  },
  input: {
    args: ['/docker-entrypoint.sh', 'nginx', '-g', 'daemon off;'],
    ...{ env: ['A=1'], cwd: '/', home: '/', hostname: 'abababababab', terminal: false },
    user: { uid: 0, gid: 0, additionalGids: [] },
    extraHosts: [],
  },
};

const RUNNING: ContainerState = {
  status: 'running',
  process: { pid: 42, start: '1' },
  startedAt: '2026-01-01T23:57:00Z',
  exitCode: 0,
  oomKilled: false,
  error: '',
  restartCount: 0,
};

function container(state: Partial<ContainerState> = {}): StoredContainer {
  return { id: ID, config: CONFIG, state: { ...RUNNING, ...state }, directory: '/root/containers/x' };
}

const published = (hostPort: number, containerPort: number, hostIp = '0.0.0.0'): PublishedPort => ({
  ...{ hostIp, hostPort, containerPort, protocol: 'tcp' },
});

function listed(state: Partial<ContainerState> = {}): ListedContainer {
  return {
    container: container(state),
    networks: ['bridge'],
    ports: [published(8080, 80)],
    exposed: CONFIG.exposedPorts,
  };
}

for (const [state, expected] of [
  [{}, 'Up 3 minutes'],
  [{ health: { status: 'starting', failingStreak: 0, log: [] } }, 'Up 3 minutes (health: starting)'],
  [{ health: { status: 'unhealthy', failingStreak: 3, log: [] } }, 'Up 3 minutes (unhealthy)'],
  [{ status: 'paused' }, 'Up 3 minutes (Paused)'],
  [{ status: 'created' }, 'Created'],
  [{ status: 'exited', exitCode: 137, finishedAt: '2026-01-01T23:59:55Z' }, 'Exited (137) 5 seconds ago'],
  [{ status: 'restarting', exitCode: 1, finishedAt: '2026-01-01T23:59:59Z' }, 'Restarting (1) 1 second ago'],
] as const)
  test(`status ${expected}`, () => {
    assert.equal(statusText({ ...RUNNING, ...state }, NOW), expected);
  });

test('ports are joined where they are neighbours', () => {
  assert.equal(
    portsText([published(81, 8081), published(80, 8080), published(80, 8080, '::')], ['8080/tcp', '90/udp']),
    '0.0.0.0:80-81->8080-8081/tcp, :::80->8080/tcp, 90/udp',
  );
  assert.equal(portsText([], ['80/tcp']), '80/tcp');
});

test("ps has docker's columns", () => {
  const row = containerRow(listed(), NOW, false);
  assert.equal(
    formatList(CONTAINER_LIST, [row], { format: undefined }),
    'CONTAINER ID   IMAGE     COMMAND                  CREATED             STATUS         PORTS                           NAMES\n' +
      'abababababab   nginx:1   "/docker-entrypoint.…"   About an hour ago   Up 3 minutes   0.0.0.0:8080->80/tcp, 443/tcp   web\n',
  );
  const shown = formatList(CONTAINER_LIST, [row], {
    format: '{{.ID}} {{.Label "com.x/y"}} {{.Mounts}} {{.Networks}} {{.State}}',
  });
  assert.equal(shown, 'abababababab z /srv,data bridge running\n');
});

for (const [filter, expected] of [
  ['name=we', true],
  ['name=^we$', false],
  ['name=^web$', true],
  ['id=abab', true],
  ['label=tier', true],
  ['label=tier=back', false],
  ['status=running', true],
  ['status=exited', false],
  ['ancestor=nginx:1', true],
  ['ancestor=nginx', false],
  [`ancestor=${'c'.repeat(12)}`, true],
  ['volume=data', true],
  ['volume=/s', true],
  ['network=none', false],
  ['publish=8080', true],
  ['publish=8000-8100/tcp', true],
  ['publish=80', false],
  ['expose=443', true],
  ['health=none', true],
] as const)
  test(`ps --filter ${filter}`, () => {
    assert.equal(parseContainerFilters([filter], () => container()).matches(listed()), expected);
  });

test('filters of one key are alternatives, of several keys conditions', () => {
  const matches = (...texts: readonly string[]): boolean =>
    parseContainerFilters(texts, () => container()).matches(listed());
  assert.ok(matches('name=nope', 'name=web'));
  assert.ok(!matches('name=web', 'status=exited'));
  assert.ok(!matches('label=tier', 'label=nope'));
  for (const text of ['nope=1', 'status=lost', 'name', 'exited=x'])
    assert.throws(
      () => matches(text),
      (error) => isTsbuildError(error, 'USAGE'),
    );
});

test("inspect has docker's members", () => {
  const value = inspectedContainer(container(), {
    endpoints: [
      {
        ...{
          networkId: 'n',
          network: 'bridge',
          driver: 'bridge',
          interface: 'eth0',
          mac: '02:42:ac:11:00:02',
        },
        ...{ ip: '172.17.0.2', prefix: 16, gateway: '172.17.0.1', aliases: [] },
      },
    ],
    ports: [published(8080, 80)],
    netns: '/run/netns/tsb-abababababab',
    volumeDirectory: (name) => `/volumes/${name}`,
    driver: 'overlay',
  });
  const get = (template: string): string => formatInspected([value], template).trim();
  for (const [template, expected] of [
    ['{{.Id}} {{.Name}}', `${ID} /web`],
    ['{{.State.Running}} {{.State.Pid}} {{.State.ExitCode}}', 'true 42 0'],
    ['{{.Config.User}} {{index .Config.Labels "com.x/y"}} {{.Config.StopSignal}}', 'bob z SIGQUIT'],
    ['{{json .Config.ExposedPorts}}', '{"443/tcp":{},"80/tcp":{}}'],
    ['{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidMode}}', '67108864 500000000 host'],
    [
      '{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.Binds}}',
      'on-failure true [/srv:/s:ro data:/d]',
    ],
    [
      '{{.NetworkSettings.IPAddress}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}',
      '172.17.0.2 172.17.0.2',
    ],
    ['{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}', '8080'],
    [
      '{{range .Mounts}}{{.Type}}:{{.Source}}:{{.Destination}}:{{.RW}} {{end}}',
      'bind:/srv:/s:false volume:/volumes/data:/d:true',
    ],
    ['{{.Namespaces.pid}} {{.Namespaces.net}}', '/proc/42/ns/pid /run/netns/tsb-abababababab'],
  ] as const)
    assert.equal(get(template), expected, template);
  assert.throws(() => get('{{.Nope}}'), /can't evaluate field Nope/);
});

test('stats are differences and shares', () => {
  const sample = (usage: number, atMs: number) => ({
    stats: {
      cpu: { usage, user: 0, system: 0, periods: 0, throttledPeriods: 0, throttled: 0 },
      memory: {
        usage: 3 << 20,
        limit: 8 << 20,
        peak: undefined,
        failures: 0,
        inactiveFile: 1 << 20,
        cache: 0,
        raw: {},
      },
      pids: { current: 2, limit: undefined },
      blockIO: [{ major: 8, minor: 0, operation: 'Read' as const, bytes: 5000, operations: 1 }],
      hugetlb: {},
    },
    traffic: parseTraffic('h\nh\n lo: 9 0 0 0 0 0 0 0 9\neth0: 1000 1 0 0 0 0 0 0 2000 1\n'),
    atMs,
  });
  const row = statsRow({ id: 'a', name: 'b', before: sample(0, 0), now: sample(5e8, 1000), memory: 2 ** 30 });
  assert.deepEqual(
    [row['CPUPerc'], row['MemUsage'], row['MemPerc'], row['NetIO'], row['BlockIO'], row['PIDs']],
    ['50.00%', '2MiB / 8MiB', '25.00%', '1kB / 2kB', '5kB / 0B', '2'],
  );
});
