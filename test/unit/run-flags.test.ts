import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isTsbuildError } from '../../src/base/errors.ts';
import { parseDevice, parseDeviceRule } from '../../src/cli/commands/run-flags/device.ts';
import { parseEnvironment, parseLabels } from '../../src/cli/commands/run-flags/environment.ts';
import { splitFields } from '../../src/cli/commands/run-flags/fields.ts';
import { parseHealth, parseLog, parseRestart, parseSignal } from '../../src/cli/commands/run-flags/life.ts';
import { parseLimits } from '../../src/cli/commands/run-flags/limits.ts';
import { parseMount } from '../../src/cli/commands/run-flags/mount.ts';
import { parseNamespaces, type NamespaceFlags } from '../../src/cli/commands/run-flags/namespaces.ts';
import { parseBytes, parseDuration, parseNanoCpus } from '../../src/cli/commands/run-flags/numbers.ts';
import { parseSecurity } from '../../src/cli/commands/run-flags/security.ts';
import { parseTmpfs } from '../../src/cli/commands/run-flags/tmpfs.ts';
import { parseShmSize, parseSysctls, parseUlimit } from '../../src/cli/commands/run-flags/ulimit.ts';
import { parseVolume, parseVolumesFrom } from '../../src/cli/commands/run-flags/volume.ts';

const resolve = (path: string): string => (path.startsWith('/') ? path : `/cwd/${path.replace(/^\.\//, '')}`);

/** A row: what is written → what it means, or what the error says. */
type Row<T> = readonly [string, T | RegExp];

function rows<T>(subject: string, parse: (text: string) => T, table: readonly Row<T>[]): void {
  for (const [text, expected] of table)
    test(`${subject} ${text}`, () => {
      if (expected instanceof RegExp)
        assert.throws(
          () => parse(text),
          (error) => isTsbuildError(error, 'USAGE') && error.exitCode === 125 && expected.test(error.message),
        );
      else assert.deepEqual(parse(text), expected);
    });
}

rows<unknown>('size', (text) => parseBytes(text) ?? 'none', [
  ['0', 0],
  ['100', 100],
  ['100b', 100],
  ['512m', 512 << 20],
  ['512M', 512 << 20],
  ['512MB', 512 << 20],
  ['1.5GiB', 1.5 * 2 ** 30],
  ['1 kb', 1024],
  ['2t', 2 * 2 ** 40],
  ['', 'none'],
  ['-1', 'none'],
  ['1x', 'none'],
  ['m', 'none'],
  ['9999999999999p', 'none'],
]);

rows<unknown>('duration', (text) => parseDuration(text) ?? 'none', [
  ['0', 0],
  ['1s', 1e9],
  ['1m30s', 90e9],
  ['1.5h', 5400e9],
  ['-2ms', -2e6],
  ['1', 'none'],
  ['s', 'none'],
  ['1d', 'none'],
]);

rows<unknown>('cpus', (text) => parseNanoCpus(text) ?? 'none', [
  ['1', 1e9],
  ['0.5', 5e8],
  ['.25', 2.5e8],
  ['1.', 1e9],
  ['x', 'none'],
  ['-1', 'none'],
]);

rows<unknown>('fields', (text) => splitFields(text) ?? 'none', [
  ['a=1,b', ['a=1', 'b']],
  ['"a=1,2",b', ['a=1,2', 'b']],
  ['"a=""q""",b', ['a="q"', 'b']],
  ['a="b"', 'none'],
  ['"a', 'none'],
  ['"a"b', 'none'],
]);

const VOLUME = { kind: 'volume', readonly: false, nocopy: false, labels: {}, options: {} } as const;
const BIND = { kind: 'bind', readonly: false, recursive: true } as const;

rows<unknown>('-v', (text) => parseVolume(text, resolve), [
  ['/data', { ...VOLUME, target: '/data' }],
  ['name:/data', { ...VOLUME, name: 'name', target: '/data' }],
  ['name:/data/../x/:ro,nocopy', { ...VOLUME, name: 'name', target: '/x', readonly: true, nocopy: true }],
  ['/a:/b', { ...BIND, source: '/a', target: '/b', createSource: true }],
  ['./a:/b:z', { ...BIND, source: '/cwd/a', target: '/b', createSource: true }],
  [
    '/a:/b:ro,rshared',
    { ...BIND, source: '/a', target: '/b', createSource: true, readonly: true, propagation: 'rshared' },
  ],
  ['/a:/b:bind', { ...BIND, source: '/a', target: '/b', createSource: true, recursive: false }],
  ['', /invalid volume specification: ''/],
  ['a:/b:ro:x', /invalid volume specification/],
  ['/a::ro', /invalid volume specification/],
  ['/a:b', /invalid mount path: 'b' mount path must be absolute/],
  ['/a:/', /destination can't be '\/'/],
  ['/a:/b:no', /invalid mode: no/],
  ['/a:/b:ro,rw', /invalid mode: ro,rw/],
  ['/a:/b:shared,slave', /invalid mode/],
  ['/a:/b:nocopy', /invalid mode: nocopy/],
  ['na/me:/b', /includes invalid characters for a local volume name/],
  ['..:/b', { ...BIND, source: '/cwd/..', target: '/b', createSource: true }],
]);

rows<unknown>('--mount', (text) => parseMount(text, resolve), [
  ['type=bind,src=/a,dst=/b', { ...BIND, source: '/a', target: '/b', createSource: false }],
  [
    'type=bind,source=/a,target=/b,readonly,bind-propagation=rslave,bind-nonrecursive',
    {
      ...BIND,
      source: '/a',
      target: '/b',
      createSource: false,
      readonly: true,
      recursive: false,
      propagation: 'rslave',
    },
  ],
  ['src=vol,dst=/b,ro=false', { ...VOLUME, name: 'vol', target: '/b' }],
  ['type=volume,dst=/b', { ...VOLUME, target: '/b' }],
  [
    'type=volume,src=v,dst=/b,volume-nocopy,volume-label=a=1,volume-opt=o=x,volume-subpath=../s',
    {
      ...VOLUME,
      name: 'v',
      target: '/b',
      nocopy: true,
      labels: { a: '1' },
      options: { o: 'x' },
      subpath: 's',
    },
  ],
  [
    'type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=0700',
    { kind: 'tmpfs', target: '/t', readonly: false, mode: 0o700, size: 1 << 20, options: [] },
  ],
  ['"type=bind","src=/a,b",dst=/b', { ...BIND, source: '/a,b', target: '/b', createSource: false }],
  ['type=bind,src=/a', /target is required/],
  ['type=bind,dst=/b', /field Source must not be empty/],
  ['type=bind,src=/a,dst=b', /mount path must be absolute/],
  ['type=nfs,dst=/b', /mount type unknown: "nfs"/],
  ['type=bind,src=/a,dst=/b,foo=1', /unexpected key 'foo' in 'foo=1'/],
  ['type=bind,src=/a,dst=/b,foo', /invalid field 'foo' must be a key=value pair/],
  ['type=bind,src=/a,dst=/b,ro=maybe', /invalid value for ro: maybe/],
  ['type=bind,src=/a,dst=/b,volume-nocopy', /cannot mix 'volume-\*' options with mount type 'bind'/],
  ['type=volume,dst=/b,bind-propagation=slave', /cannot mix 'bind-\*' options with mount type 'volume'/],
  ['type=bind,src=/a,dst=/b,bind-propagation=no', /invalid propagation mode: no/],
  ['type=tmpfs,dst=/b,tmpfs-size=x', /invalid value for tmpfs-size: x/],
  ['type=tmpfs,src=/a,dst=/b', /field Source must not be specified/],
  ['type=bind,src="/a",dst=/b', /parse error/],
]);

const TMPFS = { kind: 'tmpfs', readonly: false, options: [] } as const;
rows<unknown>('--tmpfs', parseTmpfs, [
  ['/t', { ...TMPFS, target: '/t' }],
  [
    '/t:size=10m,mode=755,noexec,ro,uid=7',
    { ...TMPFS, target: '/t', size: 10 << 20, mode: 0o755, readonly: true, options: ['noexec', 'uid=7'] },
  ],
  ['/t:size=50%', { ...TMPFS, target: '/t', options: ['size=50%'] }],
  ['t', /mount path must be absolute/],
  ['/', /destination can't be/],
  ['/t:size=x', /invalid option: size=x/],
  ['/t:mode=9', /invalid option: mode=9/],
  ['/t:huge=always', /invalid option: huge=always/],
  ['/t:uid=root', /invalid option: uid=root/],
]);

rows<unknown>('--volumes-from', parseVolumesFrom, [
  ['web', { container: 'web' }],
  ['web:ro', { container: 'web', readonly: true }],
  ['web:rw', { container: 'web', readonly: false }],
  ['web:z', { container: 'web' }],
  ['', /invalid volumes-from/],
  ['web:no', /invalid mode: no/],
  ['web:ro:x', /invalid volumes-from/],
]);

rows<unknown>('--device', parseDevice, [
  ['/dev/fuse', { source: '/dev/fuse', target: '/dev/fuse', access: 'rwm' }],
  ['/dev/fuse:/dev/x', { source: '/dev/fuse', target: '/dev/x', access: 'rwm' }],
  ['/dev/fuse:r', { source: '/dev/fuse', target: '/dev/fuse', access: 'r' }],
  ['/dev/fuse:/dev/x:rw', { source: '/dev/fuse', target: '/dev/x', access: 'rw' }],
  ['/dev/fuse:/dev/x:rx', /bad mode specified: rx/],
  ['/dev/fuse:/dev/x:rr', /bad mode specified: rr/],
  ['fuse', /fuse is not an absolute path/],
  ['/a:/b:r:x', /invalid device specification/],
]);

rows<unknown>('--device-cgroup-rule', parseDeviceRule, [
  ['c 1:3 rwm', { type: 'c', major: 1, minor: 3, access: 'rwm' }],
  ['b 8:* r', { type: 'b', major: 8, access: 'r' }],
  ['a *:* rwm', { type: 'a', access: 'rwm' }],
  ['c 1 rwm', /invalid device cgroup format/],
]);

rows<unknown>('--ulimit', parseUlimit, [
  ['nofile=1024', { type: 'RLIMIT_NOFILE', soft: 1024, hard: 1024 }],
  ['nofile=1024:2048', { type: 'RLIMIT_NOFILE', soft: 1024, hard: 2048 }],
  ['core=-1', { type: 'RLIMIT_CORE', soft: -1, hard: -1 }],
  ['core=0:unlimited', { type: 'RLIMIT_CORE', soft: 0, hard: -1 }],
  ['nofile', /invalid ulimit argument: nofile/],
  ['files=1', /invalid ulimit type: files/],
  ['nofile=2:1', /soft limit must be less than or equal to hard limit: 2 > 1/],
  ['nofile=1:2:3', /too many limit value arguments/],
  ['nofile=x', /invalid ulimit argument/],
]);

rows<unknown>('--sysctl', (text) => parseSysctls([text]), [
  ['net.ipv4.ip_forward=1', { 'net.ipv4.ip_forward': '1' }],
  ['kernel.shmmax=5', { 'kernel.shmmax': '5' }],
  ['fs/mqueue/msg_max=5', { 'fs.mqueue.msg_max': '5' }],
  ['kernel.core_pattern=|/x', /sysctl 'kernel.core_pattern=\|\/x' is not allowed/],
  ['vm.swappiness=1', /is not allowed/],
  ['net.ipv4.ip_forward', /is not allowed/],
  ['net/../kernel/core_pattern=x', /is not allowed/],
]);

rows<unknown>('--shm-size', parseShmSize, [
  ['64m', 64 << 20],
  ['x', /invalid size: 'x'/],
  ['0', /invalid size: '0'/],
]);

const restart = (name: string): object => ({ name });
rows<unknown>('--restart', parseRestart, [
  ['no', restart('no')],
  ['always', restart('always')],
  ['unless-stopped', restart('unless-stopped')],
  ['on-failure', { name: 'on-failure', maximumRetries: 0 }],
  ['on-failure:3', { name: 'on-failure', maximumRetries: 3 }],
  ['on-failure:x', /maximum retry count must be an integer/],
  ['on-failure:-1', /maximum retry count cannot be negative/],
  ['always:3', /can only be used with 'on-failure'/],
  ['sometimes', /unknown policy 'sometimes'/],
]);

rows<unknown>('--stop-signal', (text) => parseSignal('--stop-signal', text), [
  ['TERM', 'SIGTERM'],
  ['sigquit', 'SIGQUIT'],
  ['9', 'SIGKILL'],
  ['FOO', /invalid signal: FOO/],
  ['999', /invalid signal: 999/],
]);

const reader = (values: Readonly<Record<string, string | true | readonly string[]>>) => ({
  text: (name: string) => (typeof values[name] === 'string' ? values[name] : undefined),
  list: (name: string) => (Array.isArray(values[name]) ? (values[name] as readonly string[]) : []),
  boolean: (name: string) => values[name] === true,
});

/** Flags, and what four processors make of them. */
for (const [flags, expected] of [
  [{}, {}],
  [
    { memory: '512m', 'memory-swap': '1g' },
    { memory: 512 << 20, memorySwap: 2 ** 30 },
  ],
  [
    { memory: '512m', 'memory-swap': '-1' },
    { memory: 512 << 20, memorySwap: -1 },
  ],
  [{ memory: '0' }, {}],
  [{ cpus: '1.5' }, { nanoCpus: 1.5e9 }],
  [
    { 'cpu-shares': '512', 'cpuset-cpus': '0-1,3' },
    { cpuShares: 512, cpusetCpus: '0-1,3' },
  ],
  [{ 'pids-limit': '-1' }, { pids: -1 }],
  [{ 'blkio-weight': '300' }, { blkioWeight: 300 }],
  [{ 'device-read-bps': ['/dev/sda:1mb'] }, { deviceReadBps: [{ path: '/dev/sda', rate: 1 << 20 }] }],
  [{ 'device-write-iops': ['/dev/sda:100'] }, { deviceWriteIops: [{ path: '/dev/sda', rate: 100 }] }],
  [{ 'blkio-weight-device': ['/dev/sda:100'] }, { blkioWeightDevice: [{ path: '/dev/sda', weight: 100 }] }],
  [{ memory: 'abc' }, /invalid argument "abc" for "-m, --memory" flag: invalid size: 'abc'/],
  [{ memory: '1m' }, /Minimum memory limit allowed is 6MB/],
  [{ 'memory-swap': '1g' }, /should always set the Memory limit/],
  [{ memory: '1g', 'memory-swap': '512m' }, /should be larger than memory limit/],
  [{ memory: '1g', 'memory-reservation': '2g' }, /can not be less than memory reservation/],
  [{ cpus: 'x' }, /failed to parse x as a rational number/],
  [{ cpus: '5' }, /range of CPUs is from 0.01 to 4.00/],
  [{ cpus: '1', 'cpu-quota': '50000' }, /Nano CPUs and CPU Quota cannot both be set/],
  [{ 'cpuset-cpus': 'a' }, /invalid value a for cpuset cpus/],
  [{ 'blkio-weight': '5' }, /Range of blkio weight is from 10 to 1000/],
  [{ 'device-read-bps': ['sda:1'] }, /bad format for device path: sda:1/],
  [{ 'device-read-bps': ['/dev/sda'] }, /bad format: \/dev\/sda/],
  [{ 'device-read-bps': ['/dev/sda:x'] }, /The correct format is <device-path>:<number>\[<unit>\]/],
  [{ 'pids-limit': 'x' }, /invalid syntax/],
] as const)
  test(`limits ${JSON.stringify(flags)}`, () => {
    const parse = (): unknown => parseLimits(reader(flags), 4);
    if (expected instanceof RegExp) assert.throws(parse, expected);
    else assert.deepEqual(parse(), expected);
  });

for (const [flags, expected] of [
  [{}, undefined],
  [{ 'no-healthcheck': true }, { none: true }],
  [
    { 'health-cmd': 'true', 'health-interval': '1m30s', 'health-retries': '2' },
    { command: 'true', intervalMs: 90000, retries: 2, none: false },
  ],
  [{ 'health-interval': '5' }, /time: invalid duration "5"/],
  [{ 'health-timeout': '-1s' }, /--health-timeout cannot be negative/],
  [{ 'health-timeout': '1us' }, /cannot be less than 1ms/],
  [{ 'health-cmd': 'x', 'no-healthcheck': true }, /--no-healthcheck conflicts/],
] as const)
  test(`health ${JSON.stringify(flags)}`, () => {
    const parse = (): unknown => parseHealth(reader(flags));
    if (expected instanceof RegExp) assert.throws(parse, expected);
    else assert.deepEqual(parse(), expected);
  });

test('log options bound the files', () => {
  assert.deepEqual(parseLog(undefined, ['max-size=10m', 'max-file=3']), {
    driver: 'json-file',
    maxSize: 10 << 20,
    maxFiles: 3,
  });
  assert.throws(() => parseLog('syslog', []), /no log driver named 'syslog'/);
  assert.throws(() => parseLog(undefined, ['foo=1']), /unknown log opt 'foo'/);
});

const NONE: NamespaceFlags = {
  ...{ pid: undefined, ipc: undefined, uts: undefined, cgroupns: undefined, userns: undefined },
  timeOffsets: [],
};
for (const [flags, expected] of [
  [{}, {}],
  [{ pid: 'host' }, { pid: { kind: 'host' } }],
  [{ pid: 'container:web' }, { pid: { kind: 'container', container: 'web' } }],
  [{ ipc: 'shareable' }, { ipc: { kind: 'shareable' } }],
  [
    { uts: 'private', cgroupns: 'host' },
    { uts: { kind: 'private' }, cgroup: { kind: 'host' } },
  ],
  [{ userns: 'auto:size=4096' }, { user: { kind: 'auto', size: 4096 } }],
  [{ userns: 'keep-id' }, { user: { kind: 'keep-id' } }],
  [{ userns: 'keep-id:uid=5,gid=6' }, { user: { kind: 'keep-id', uid: 5, gid: 6 } }],
  [{ userns: 'nomap' }, { user: { kind: 'nomap' } }],
  [
    { timeOffsets: ['monotonic=86400,boottime=-1.5'] },
    {
      timeOffsets: {
        monotonic: { seconds: 86400, nanoseconds: 0 },
        boottime: { seconds: -2, nanoseconds: 5e8 },
      },
    },
  ],
  [{ pid: 'x' }, /invalid PID mode/],
  [{ pid: 'container:' }, /invalid PID mode/],
  [{ ipc: 'x' }, /invalid IPC mode: x/],
  [{ userns: 'auto:size=x' }, /invalid USER mode/],
  [{ userns: 'host:size=1' }, /invalid USER mode/],
  [{ timeOffsets: ['realtime=1'] }, /invalid offset of a clock/],
] as const)
  test(`namespaces ${JSON.stringify(flags)}`, () => {
    const parse = (): unknown => parseNamespaces({ ...NONE, ...flags });
    if (expected instanceof RegExp) assert.throws(parse, expected);
    else assert.deepEqual(parse(), expected);
  });

test('security options are read, profiles as they are now', () => {
  const flags = { capAdd: ['SYS_ADMIN'], capDrop: ['all'], privileged: false };
  const parsed = parseSecurity(
    { ...flags, options: ['no-new-privileges', 'seccomp=p.json', 'label=disable', 'systempaths=unconfined'] },
    () => '{"defaultAction":"SCMP_ACT_ALLOW"}',
  );
  assert.ok(parsed.noNewPrivileges && parsed.systemPathsUnconfined);
  assert.deepEqual(parsed.seccomp, {
    kind: 'profile',
    path: 'p.json',
    text: '{"defaultAction":"SCMP_ACT_ALLOW"}',
  });
  assert.deepEqual(parsed.labels, ['disable']);
  assert.deepEqual(parseSecurity({ ...flags, options: ['seccomp:unconfined'] }, () => '').seccomp, {
    kind: 'unconfined',
  });
  assert.ok(!parseSecurity({ ...flags, options: ['no-new-privileges=false'] }, () => '').noNewPrivileges);
  for (const [options, message] of [
    [['foo'], /Invalid --security-opt: "foo"/],
    [['systempaths=x'], /Invalid --security-opt/],
    [['seccomp=nowhere'], /opening seccomp profile \(nowhere\) failed/],
  ] as const)
    assert.throws(
      () =>
        parseSecurity({ ...flags, options }, () => {
          throw new Error('ENOENT');
        }),
      message,
    );
  assert.throws(
    () => parseSecurity({ ...flags, options: ['seccomp=p'] }, () => '{'),
    /compacting json for seccomp profile/,
  );
  assert.throws(
    () => parseSecurity({ ...flags, capAdd: ['FOO'], options: [] }, () => ''),
    /unknown capability "FOO"/,
  );
});

test('environment: files first, then flags; a name alone takes the value from outside', () => {
  const read = (): string => '\uFEFF# comment\n\n  A=file\nB\r\nC=x # not a comment\n';
  assert.deepEqual(
    parseEnvironment({ files: ['f'], values: ['A=flag', 'HOME', 'NOPE'] }, { HOME: '/h', B: 'b' }, read),
    [...['A=file', 'B=b', 'C=x # not a comment', 'A=flag', 'HOME=/h', 'NOPE']],
  );
  const bad = (text: string): void => void parseEnvironment({ files: ['f'], values: [] }, {}, () => text);
  assert.throws(() => bad('A B=1'), /variable 'A B' contains whitespaces/);
  assert.throws(() => bad('=1'), /no variable name on line '=1'/);
  assert.throws(
    () => parseEnvironment({ files: [], values: ['=1'] }, {}, read),
    /invalid environment variable: =1/,
  );
  assert.deepEqual(parseLabels('--label', ['a=1', 'b', 'a=2']), { a: '2', b: '' });
  assert.throws(() => parseLabels('--label', ['=x']), /invalid label '=x': empty name/);
});
