/** From resources to files, for machines of every kind; conversions; the device program, interpreted. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from '../suites/properties.ts';
import { isTsbuildError } from '../../src/base/errors.ts';
import { ioWeightOfBlkio, swapOnly, weightOfShares } from '../../src/runtime/cgroups/conversions.ts';
import { cgroupPath, describeCgroup } from '../../src/runtime/cgroups/describe.ts';
import { compileDeviceProgram } from '../../src/runtime/cgroups/device-program.ts';
import { containerDevices, ruleText } from '../../src/runtime/cgroups/device-rules.ts';
import { holderOf, parseHierarchies, type Hierarchies } from '../../src/runtime/cgroups/hierarchies.ts';
import type { DeviceRule, Resources } from '../../src/runtime/cgroups/resources.ts';
import { valuesOf } from '../../src/runtime/cgroups/values.ts';
import { interpret } from './bpf-interpreter.ts';

const HYBRID_MOUNTS = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /docker/abc /sys/fs/cgroup/with\\040space rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw`;
const HYBRID_SELF = `4:name=systemd:/user.slice
3:memory:/docker/abc/me
2:cpu,cpuacct:/a
1:perf_event:/
0::/user.slice/x`;

test('a hybrid machine is told hierarchy by hierarchy', () => {
  const found = parseHierarchies(HYBRID_MOUNTS, HYBRID_SELF, () => 'hugetlb rdma\n');
  assert.deepEqual(found.unified, {
    version: 2,
    controllers: ['hugetlb', 'rdma'],
    mountPoint: '/sys/fs/cgroup/unified',
    self: '/user.slice/x',
  });
  assert.deepEqual(holderOf(found, 'cpuacct'), {
    version: 1,
    controllers: ['cpu', 'cpuacct'],
    mountPoint: '/sys/fs/cgroup/cpu,cpuacct',
    self: '/a',
  });
  assert.deepEqual(holderOf(found, 'memory'), {
    version: 1,
    controllers: ['memory'],
    mountPoint: '/sys/fs/cgroup/with space',
    self: '/me',
  });
  assert.equal(holderOf(found, 'hugetlb')?.version, 2);
  assert.equal(holderOf(found, 'freezer')?.version, 2);
  assert.equal(holderOf(found, 'pids'), undefined);
  assert.equal(found.v1.find(({ name }) => name === 'systemd')?.self, '/user.slice');
});

test('what lies outside of the visible part of a hierarchy counts as its root', () => {
  const mount = '30 1 0:9 /../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw';
  assert.equal(parseHierarchies(mount, '0::/', () => '').unified?.self, '/');
  const part = '30 1 0:9 /pod /sys/fs/cgroup rw - cgroup2 cgroup2 rw';
  assert.equal(parseHierarchies(part, '0::/other', () => '').unified?.self, '/');
  assert.equal(parseHierarchies(part, '0::/pod', () => '').unified?.self, '/');
  assert.equal(parseHierarchies(part, '0::/podium', () => '').unified?.self, '/');
  assert.deepEqual(
    parseHierarchies('', '', () => ''),
    { v1: [] },
  );
});

test('garbage in place of mountinfo is read without a throw', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (mounts, self) => {
      parseHierarchies(mounts, self, () => '');
    }),
  );
});

const V2: Hierarchies = {
  v1: [],
  unified: {
    version: 2,
    controllers: ['cpuset', 'cpu', 'io', 'memory', 'hugetlb', 'pids', 'rdma'],
    mountPoint: '/sys/fs/cgroup',
    self: '/me',
  },
};
const names = [
  'cpu',
  'cpuacct',
  'cpuset',
  'memory',
  'blkio',
  'pids',
  'devices',
  'freezer',
  'hugetlb',
  'net_cls',
  'net_prio',
];
const V1: Hierarchies = {
  v1: names.map((name) => ({
    version: 1,
    controllers: [name],
    mountPoint: `/sys/fs/cgroup/${name}`,
    self: '/me',
  })),
};

function written(hierarchies: Hierarchies, resources: Resources): readonly string[] {
  return valuesOf(resources, (controller) => holderOf(hierarchies, controller)?.version).map(({ choices }) =>
    choices.map(([file, value]) => `${file}=${value}`).join(' | '),
  );
}

const ROWS: readonly (readonly [string, Resources, readonly string[], readonly string[]])[] = [
  [
    'memory',
    { memory: { limit: 1000, swap: 1500, reservation: 500 } },
    ['memory.soft_limit_in_bytes=500', 'memory.limit_in_bytes=1000', 'memory.memsw.limit_in_bytes=1500'],
    ['memory.low=500', 'memory.swap.max=500', 'memory.max=1000'],
  ],
  [
    'memory without bounds',
    { memory: { limit: -1, swap: -1 } },
    ['memory.limit_in_bytes=-1', 'memory.memsw.limit_in_bytes=-1'],
    ['memory.swap.max=max', 'memory.max=max'],
  ],
  [
    'swappiness and no OOM killer',
    { memory: { swappiness: 0, disableOOMKiller: true } },
    ['memory.swappiness=0', 'memory.oom_control=1'],
    [],
  ],
  [
    'cpu',
    { cpu: { shares: 1024, quota: 50000, period: 100000, burst: 10 } },
    ['cpu.shares=1024', 'cpu.cfs_period_us=100000', 'cpu.cfs_quota_us=50000', 'cpu.cfs_burst_us=10'],
    ['cpu.weight=100', 'cpu.max=50000 100000', 'cpu.max.burst=10'],
  ],
  [
    'no burst and not idle, said aloud',
    { cpu: { burst: 0, idle: 0 } },
    ['cpu.cfs_burst_us=0', 'cpu.idle=0'],
    ['cpu.idle=0', 'cpu.max.burst=0'],
  ],
  [
    'idle cpu',
    { cpu: { idle: 1, shares: 2, quota: -1 } },
    ['cpu.shares=2', 'cpu.cfs_quota_us=-1', 'cpu.idle=1'],
    ['cpu.idle=1', 'cpu.max=max 100000'],
  ],
  [
    'cpuset',
    { cpu: { cpus: '0-1', mems: '0' } },
    ['cpuset.cpus=0-1', 'cpuset.mems=0'],
    ['cpuset.cpus=0-1', 'cpuset.mems=0'],
  ],
  ['pids', { pids: { limit: -1 } }, ['pids.max=max'], ['pids.max=max']],
  [
    'blkio',
    {
      blockIO: {
        weight: 10,
        weightDevice: [{ major: 8, minor: 0, weight: 1000 }],
        throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 7 }],
        throttleWriteIOPSDevice: [{ major: 8, minor: 16, rate: 9 }],
      },
    },
    [
      'blkio.weight=10 | blkio.bfq.weight=10',
      'blkio.weight_device=8:0 1000 | blkio.bfq.weight_device=8:0 1000',
      'blkio.throttle.read_bps_device=8:0 7',
      'blkio.throttle.write_iops_device=8:16 9',
    ],
    [
      'io.bfq.weight=10 | io.weight=default 1',
      'io.bfq.weight=8:0 1000 | io.weight=8:0 10000',
      'io.max=8:0 rbps=7',
      'io.max=8:16 wiops=9',
    ],
  ],
  [
    'huge pages',
    { hugepageLimits: [{ pageSize: '2MB', limit: 4096 }] },
    ['hugetlb.2MB.limit_in_bytes=4096', 'hugetlb.2MB.rsvd.limit_in_bytes=4096'],
    ['hugetlb.2MB.max=4096', 'hugetlb.2MB.rsvd.max=4096'],
  ],
];
for (const [name, resources, v1, v2] of ROWS)
  test(`${name}: the same resources on v1 and on v2`, () => {
    assert.deepEqual(written(V1, resources), v1);
    assert.deepEqual(written(V2, resources), v2);
  });

test('net_cls, net_prio and rdma are where they are', () => {
  const network = { network: { classID: 65537, priorities: [{ name: 'eth0', priority: 5 }] } };
  assert.deepEqual(written(V1, network), ['net_cls.classid=65537', 'net_prio.ifpriomap=eth0 5']);
  assert.throws(
    () => written(V2, network),
    (error: unknown) => isTsbuildError(error, 'KERNEL_UNSUPPORTED') && /network.classID/.test(error.message),
  );
  assert.deepEqual(written(V2, { rdma: { mlx5_0: { hcaHandles: 2, hcaObjects: 100 } } }), [
    'rdma.max=mlx5_0 hca_handle=2 hca_object=100',
  ]);
});

test('unified files are written as they are, line by line', () => {
  const unified = { 'memory.high': '1000', 'io.max': '8:0 rbps=1\n8:16 rbps=2\n', 'cgroup.max.depth': '3' };
  assert.deepEqual(written(V2, { unified }), [
    'memory.high=1000',
    'io.max=8:0 rbps=1',
    'io.max=8:16 rbps=2',
    'cgroup.max.depth=3',
  ]);
  for (const name of ['../memory.max', 'memory', 'a/b.c', 'cgroup.procs/..'])
    assert.throws(
      () => written(V2, { unified: { [name]: '1' } }),
      (error: unknown) => isTsbuildError(error, 'SPEC_INVALID'),
    );
  assert.throws(
    () => written(V1, { unified: { 'memory.high': '1' } }),
    (error: unknown) => isTsbuildError(error, 'KERNEL_UNSUPPORTED'),
  );
});

test('memory limits that contradict each other are refused', () => {
  for (const memory of [{ swap: 100 }, { limit: 100, swap: 50 }, { swappiness: 101 }])
    assert.throws(
      () => written(V1, { memory }),
      (error: unknown) => isTsbuildError(error, 'SPEC_INVALID'),
    );
});

test('shares become weights: ends and default meet, and more is never less', () => {
  assert.deepEqual(
    [0, 1, 2, 512, 1024, 2048, 262144, 999999].map(weightOfShares),
    [0, 1, 1, 59, 100, 174, 10000, 10000],
  );
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 262143 }), (shares) => {
      const [less, more] = [weightOfShares(shares), weightOfShares(shares + 1)];
      assert.ok(Number.isInteger(less) && less >= 1 && more <= 10000 && less <= more);
    }),
  );
});

test('block weights keep their order and their bounds', () => {
  assert.deepEqual([10, 500, 1000].map(ioWeightOfBlkio), [1, 4950, 10000]);
  fc.assert(
    fc.property(fc.integer({ min: 10, max: 999 }), (weight) => {
      assert.ok(ioWeightOfBlkio(weight) < ioWeightOfBlkio(weight + 1));
    }),
  );
});

test('memory and swap add up', () => {
  fc.assert(
    fc.property(fc.nat(), fc.nat(), (limit, more) => {
      assert.equal(swapOnly(limit, limit + more), more);
    }),
  );
  assert.equal(swapOnly(5, -1), -1);
  assert.equal(swapOnly(undefined, 7), undefined);
});

test('a path below the hierarchy, or below our own cgroup, and never elsewhere', () => {
  assert.equal(cgroupPath('/a//b/', '/me'), '/a/b');
  assert.equal(cgroupPath('a', '/me'), '/me/a');
  for (const path of ['/a/../b', '..', '/.', 'a\nb'])
    assert.throws(
      () => cgroupPath(path, '/'),
      (error: unknown) => isTsbuildError(error, 'SPEC_INVALID'),
    );
});

test('a build step is a member of the hierarchies that it needs alone', () => {
  const request = { path: '/tsbuild/x', resources: { pids: { limit: 5 } }, hierarchies: V1 };
  const needed = describeCgroup({ ...request, membership: 'needed' });
  assert.deepEqual(
    needed.place.v1.flatMap(({ controllers }) => controllers),
    ['memory', 'pids'],
  );
  const all = describeCgroup({ ...request, membership: 'all' });
  assert.equal(all.place.v1.length, names.length);
});

test('on v2 the levels above hand down what is needed, and nothing else is required', () => {
  const { before } = describeCgroup({
    hierarchies: V2,
    path: '/a/b/c',
    resources: {
      memory: { limit: 1 },
      blockIO: { throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 1 }] },
    },
    membership: 'all',
    subject: 'linux.resources.',
  });
  const enable = before.find(({ op }) => op === 'cgroupEnable');
  assert.ok(enable?.op === 'cgroupEnable');
  assert.equal(enable.path, '/a/b');
  assert.deepEqual(enable.required, ['memory', 'io']);
  assert.deepEqual(enable.optional, ['cpuset', 'cpu', 'pids']);
  assert.deepEqual(
    before.filter(({ op }) => op === 'cgroupWrite').map(({ subject }) => subject),
    ['linux.resources.memory.limit', 'linux.resources.blockIO.throttleReadBpsDevice[0]'],
  );
  assert.equal(before.at(-1)?.op, 'cgroupBorn');
});

test('device rules as v1 takes them', () => {
  assert.equal(ruleText({ allow: true }), 'a');
  assert.equal(ruleText({ allow: true, type: 'c', major: 5, access: 'rw' }), 'c 5:* rw');
  assert.equal(ruleText({ allow: true, type: 'u', major: -1, minor: 3 }), 'c *:3 rwm');
  assert.throws(() => ruleText({ allow: true, type: 'c', access: 'x' }), /invalid access/);
});

const ACCESS = { m: 1, r: 2, w: 4 } as const;

interface Question {
  readonly type: 'b' | 'c';
  readonly major: number;
  readonly minor: number;
  readonly access: readonly ('r' | 'w' | 'm')[];
}

function ask(rules: readonly DeviceRule[], { type, major, minor, access }: Question): boolean {
  const bits = access.reduce((sum, each) => sum | ACCESS[each], 0);
  return interpret(compileDeviceProgram(rules), [(bits << 16) | (type === 'b' ? 1 : 2), major, minor]) === 1;
}

/** What the rules say, without a program. */
function expected(rules: readonly DeviceRule[], { type, major, minor, access }: Question): boolean {
  return access.every((each) => {
    const last = rules.findLast(
      (rule) =>
        (rule.access ?? 'rwm').includes(each) &&
        ['a', undefined, type].includes(rule.type) &&
        (rule.type === 'a' || rule.type === undefined || rule.major === undefined || rule.major === major) &&
        (rule.type === 'a' || rule.type === undefined || rule.minor === undefined || rule.minor === minor),
    );
    return last?.allow === true;
  });
}

test('the device program says what the rules say', () => {
  const small = fc.integer({ min: 0, max: 3 });
  const access = fc.uniqueArray(fc.constantFrom('r', 'w', 'm'), { minLength: 1, maxLength: 3 });
  const rule = fc.record(
    {
      allow: fc.boolean(),
      type: fc.constantFrom('a', 'b', 'c'),
      major: small,
      minor: small,
      access: access.map((each) => each.join('')),
    },
    { requiredKeys: ['allow'] },
  );
  const question = fc.record({ type: fc.constantFrom('b', 'c'), major: small, minor: small, access });
  fc.assert(
    fc.property(fc.array(rule, { maxLength: 12 }), question, (rules, asked) => {
      assert.equal(ask(rules as DeviceRule[], asked), expected(rules as DeviceRule[], asked));
    }),
    { numRuns: 2000 },
  );
});

test('a container of ours opens null and no disk; a privileged one opens all', () => {
  const usual = containerDevices([], { privileged: false });
  const asks = (rules: readonly DeviceRule[], type: 'b' | 'c', major: number, minor: number) =>
    (['r', 'w', 'm'] as const)
      .filter((access) => ask(rules, { type, major, minor, access: [access] }))
      .join('');
  assert.equal(asks(usual, 'c', 1, 3), 'rwm');
  assert.equal(asks(usual, 'c', 136, 77), 'rwm');
  assert.equal(asks(usual, 'b', 8, 0), 'm');
  assert.equal(asks(usual, 'c', 10, 200), 'm');
  assert.equal(asks(containerDevices([], { privileged: true }), 'b', 8, 0), 'rwm');
});
