import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { isTsbuildError } from '../../src/base/errors.ts';
import { readIsolation } from '../../src/cli/commands/run-flags/isolation.ts';
import { RUN_FLAGS } from '../../src/cli/entries/run-flag-table.ts';
import { parseFlags } from '../../src/cli/flags.ts';
import { deviceNumber, hostDevices } from '../../src/engine/containers/host-devices.ts';
import { isolationAtStart, mountStubs, type StartFacts } from '../../src/engine/containers/isolation.ts';
import { containerMounts, parentsFirst } from '../../src/engine/containers/isolation-mounts.ts';
import { resolveIsolation, type CreateFacts } from '../../src/engine/containers/resolve-isolation.ts';
import { limitResources } from '../../src/engine/containers/resources.ts';
import { openVolumes } from '../../src/engine/volumes.ts';
import type { IsolationOptions } from '../../src/runtime/container-options.ts';
import { createContainerSpec } from '../../src/runtime/default-spec.ts';
import { parseDockerProfile } from '../../src/runtime/seccomp/docker-profile.ts';

const SPEC = {
  ...{ name: 'run', usage: '', summary: '', flags: RUN_FLAGS, minimum: 1, maximum: 1 },
  stopAtFirst: true,
};

function options(...argv: readonly string[]): IsolationOptions {
  return readIsolation(parseFlags(SPEC, [...argv, 'img']), { cwd: '/cwd', cpus: 2 });
}

const FACTS: StartFacts = {
  volumeDirectory: (name) => `/volumes/${name}`,
  namespacePath: (container, kind) => `/proc/${container}/ns/${kind}`,
  sharerOf: (container) => ({ pid: Number(container), started: 5n }),
  firstId: () => 1_000_000,
  sharedMemory: ['/dev/shm'],
  arch: 'amd64',
  kernel: '6.18.0',
};

function specOf(...argv: readonly string[]): ReturnType<typeof createContainerSpec> {
  const { input } = isolationAtStart(options(...argv), FACTS);
  return createContainerSpec({
    ...{ id: 'c', mounts: [], args: ['true'], env: [], cwd: '/', home: '/', hostname: 'h', network: 'none' },
    ...{ user: { uid: 0, gid: 0, additionalGids: [] }, terminal: false, resolvConf: '', extraHosts: [] },
    ...input,
  });
}

test('-h is the host name, and --sig-proxy is on', () => {
  const flags = parseFlags(SPEC, ['-h', 'web', 'img']);
  assert.equal(flags.text('hostname'), 'web');
  assert.ok(flags.boolean('sig-proxy') && !flags.has('help'));
  assert.throws(() => options('-h', 'a b'), /invalid hostname/);
  assert.throws(() => options('--oom-score-adj', '2000'), /range for oom score adj/);
});

test("namespaces are new, the host's, or another container's", () => {
  assert.deepEqual(specOf().namespaces, { pid: 'new', ipc: 'new', uts: 'new', cgroup: 'new' });
  const spec = specOf(
    '--pid=host',
    '--ipc=container:7',
    '--uts=host',
    '--cgroupns=host',
    '--time-offset',
    'boottime=60',
  );
  assert.deepEqual(spec.namespaces, {
    ...{ pid: 'host', ipc: { join: '/proc/7/ns/ipc' }, uts: 'host', cgroup: 'host', time: 'new' },
  });
  assert.deepEqual(spec.timeOffsets, { boottime: { secs: 60, nanosecs: 0 } });
  const shm = spec.mounts.find(({ target }) => target === '/dev/shm');
  assert.deepEqual(shm?.kind === 'attach' ? [shm.source, shm.of] : [], ['/dev/shm', { pid: 7, started: 5n }]);
  assert.equal(specOf('--ipc=none', '--shm-size=1m').shmSize, 0);
  assert.equal(spec.hostname, '', "the host's name is not changed");
  assert.equal(specOf().hostname, 'h');
});

test('mounts carry attributes and propagation; parents come first', () => {
  const { mounts } = options(
    ...['-v', '/a:/x/y:ro,rslave', '--mount', 'type=bind,src=/b,dst=/x,ro,bind-recursive=writable'],
    ...['-v', 'vol:/v:ro', '--tmpfs', '/t:exec,size=1m,uid=7'],
  );
  assert.deepEqual(
    containerMounts(mounts, FACTS.volumeDirectory).map((mount) =>
      mount.kind === 'attach'
        ? [mount.source, mount.target, mount.set, mount.setBelow, mount.propagation, mount.options]
        : mount,
    ),
    [
      ['/volumes/vol', '/v', 1, 0, 0x44000, []],
      ['/b', '/x', 1, 0, 0x44000, []],
      [
        'tmpfs',
        '/t',
        6,
        0,
        0,
        [
          ['size', '1048576'],
          ['uid', '7'],
        ],
      ],
      ['/a', '/x/y', 1, 1, 0x84000, []],
    ],
  );
  assert.equal(specOf('-v', '/a:/b:rslave').root.propagation, 0x84000);
  assert.equal(specOf('-v', '/a:/b:rslave', '-v', '/a:/c:shared').root.propagation, 0x104000);
  assert.equal(specOf('-v', '/a:/b').root.propagation, undefined);
  assert.deepEqual(
    parentsFirst([{ target: '/a/b' }, { target: '/a' }]).map(({ target }) => target),
    ['/a', '/a/b'],
  );
  assert.deepEqual(
    mountStubs(mounts.slice(0, 1), () => true),
    [{ path: '/x/y', type: 'file' }],
  );
  // It takes the mode of what it hides: a place of our own is open to all.
  assert.deepEqual(
    mountStubs(options('--tmpfs', '/t', '--tmpfs', '/m:mode=700').mounts, () => false),
    [
      { path: '/t', type: 'directory', mode: 0o1777 },
      { path: '/m', type: 'directory' },
    ],
  );
});

test('a volume may take the place of /etc/hosts', () => {
  const targets = specOf('-v', '/a:/etc/hosts').mounts.map(({ target }) => target);
  assert.equal(targets.filter((target) => target === '/etc/hosts').length, 1);
});

test('security options reach the spec', () => {
  assert.equal(specOf('--security-opt', 'seccomp=unconfined').seccomp, 'unconfined');
  assert.ok(specOf('--security-opt', 'no-new-privileges').noNewPrivileges);
  assert.deepEqual(specOf('--security-opt', 'systempaths=unconfined').maskedPaths, []);
  assert.deepEqual(specOf('--cap-drop', 'ALL', '--cap-add', 'CHOWN').capabilities, ['CAP_CHOWN']);
  assert.deepEqual(specOf('--ulimit', 'core=-1').rlimits, [
    { type: 'RLIMIT_CORE', soft: Infinity, hard: Infinity },
  ]);
  const privileged = specOf('--privileged');
  assert.ok(privileged.capabilities.includes('CAP_SYS_ADMIN') && privileged.seccomp === 'unconfined');
  assert.ok(
    privileged.mounts.some((mount) => mount.kind === 'attach' && mount.remount && mount.target === '/sys'),
  );
  assert.ok((privileged.devices ?? []).length > 0);
});

test('devices are read from the host, a directory with all that is in it', () => {
  assert.deepEqual(deviceNumber(0x103), { major: 1, minor: 3 });
  const { nodes, rules } = hostDevices(
    [{ source: '/dev/null', target: '/dev/nothing', access: 'r' }],
    [{ type: 'c', major: 10, access: 'rwm' }],
    { privileged: false },
  );
  assert.deepEqual(
    nodes.map(({ path, type, major, minor }) => [path, type, major, minor]),
    [['/dev/nothing', 'char', 1, 3]],
  );
  assert.deepEqual(rules, [
    { allow: true, type: 'c', major: 1, minor: 3, access: 'r' },
    { allow: true, type: 'c', major: 10, access: 'rwm' },
  ]);
  const request = (source: string) => [{ source, target: '/x', access: 'rwm' }];
  for (const [source, message] of [
    ['/dev/nowhere', /error gathering device information.*no such file/],
    ['/etc/passwd', /not a device node/],
  ] as const)
    assert.throws(
      () => hostDevices(request(source), [], { privileged: false }),
      (error) => isTsbuildError(error, 'SPEC_INVALID') && message.test(error.message),
    );
});

test('limits become resources as docker makes them', () => {
  assert.deepEqual(limitResources(options('-m', '64m', '--cpus', '1.5', '--pids-limit', '9').limits), {
    memory: { limit: 64 << 20, swap: 128 << 20 },
    cpu: { quota: 150000, period: 100000 },
    pids: { limit: 9 },
  });
  assert.deepEqual(limitResources(options('-m', '64m', '--memory-swap', '-1').limits).memory, {
    limit: 64 << 20,
    swap: -1,
  });
  assert.throws(() => limitResources(options('--device-read-bps', '/dev/null:1m').limits), /no block device/);
});

test("create names all volumes once: own ones, the image's, those of other containers", () => {
  const root = mkdtempSync(join(tmpdir(), 'tsbuild-isolation-'));
  try {
    let count = 0;
    const volumes = openVolumes({
      root,
      host: { now: () => 0, unique: () => `1.1.${(count += 1)}` },
      random: (size) => new Uint8Array(size).fill((count += 1)),
      containerExists: () => true,
    });
    const facts: CreateFacts = {
      containerID: 'c1',
      imageVolumes: ['/data/', '/named', '/../x'],
      volumes,
      containerOf: (reference) => ({
        id: `id of ${reference}`,
        mounts: options('-v', 'other:/o', '-v', 'mine:/named', '--tmpfs', '/t').mounts,
      }),
    };
    const { isolation, anonymousVolumes } = resolveIsolation(
      options('-v', 'own:/named', '-v', '/anon', '--volumes-from', 'x:ro', '--pid', 'container:x'),
      facts,
    );
    assert.deepEqual(isolation.namespaces.pid, { kind: 'container', container: 'id of x' });
    assert.deepEqual(
      isolation.mounts
        .map((mount) => [
          mount.target,
          mount.kind === 'volume' ? (mount.name ?? '').slice(0, 5) : '',
          mount.readonly,
        ])
        .sort(),
      [
        ['/anon', anonymousVolumes[0]?.slice(0, 5), false],
        ['/data', anonymousVolumes[1]?.slice(0, 5), false],
        ['/named', 'own', false],
        ['/o', 'other', true],
      ],
    );
    assert.equal(anonymousVolumes.length, 2);
    assert.deepEqual(volumes.holders('other'), ['c1']);
    assert.throws(
      () => resolveIsolation(options('-v', '/a:/x', '--tmpfs', '/x'), facts),
      /Duplicate mount point: \/x/,
    );
    assert.throws(
      () => resolveIsolation(options('--mount', 'type=bind,src=/nowhere/x,dst=/x'), facts),
      /bind source path does not exist: \/nowhere\/x/,
    );
    resolveIsolation(options('-v', `${root}/made:/x`), facts);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});

test("docker's profile is read for these capabilities, this machine and this kernel", () => {
  const facts = { capabilities: ['CAP_SYS_ADMIN'], arch: 'amd64', kernel: '6.18.0' };
  const rule = (more: object): object => ({ names: ['mount'], action: 'SCMP_ACT_ALLOW', ...more });
  const profile = (...rules: readonly object[]) =>
    parseDockerProfile(
      JSON.stringify({
        defaultAction: 'SCMP_ACT_ERRNO',
        defaultErrnoRet: 1,
        archMap: [{ architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86'] }],
        syscalls: rules,
      }),
      facts,
    );
  assert.deepEqual(profile().architectures, ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86']);
  for (const [more, count] of [
    [{}, 1],
    [{ includes: { caps: ['CAP_SYS_ADMIN'] } }, 1],
    [{ includes: { caps: ['CAP_BPF'] } }, 0],
    [{ excludes: { caps: ['CAP_SYS_ADMIN'] } }, 0],
    [{ includes: { arches: ['arm64'] } }, 0],
    [{ includes: { minKernel: '4.8' } }, 1],
    [{ includes: { minKernel: '7.0' } }, 0],
    [{ excludes: { minKernel: '4.8' } }, 0],
  ] as const)
    assert.equal(profile(rule(more)).syscalls.length, count, JSON.stringify(more));
  assert.deepEqual(profile(rule({ args: [{ index: 0, value: 2, op: 'SCMP_CMP_EQ' }] })).syscalls[0]?.args, [
    { index: 0, value: 2n, valueTwo: 0n, op: 'SCMP_CMP_EQ' },
  ]);
  for (const bad of [
    '',
    '[]',
    '{}',
    '{"defaultAction":"x"}',
    '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[1]}',
  ])
    assert.throws(
      () => parseDockerProfile(bad, facts),
      (error) => isTsbuildError(error, 'SPEC_INVALID'),
      bad,
    );
});
