/** Attacks on a container's start, tried for real. Each test is named after the advisory or class that it guards against. */
import assert from 'node:assert/strict';
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { locateNative } from '../../native/locate.ts';
import { isTsbuildError } from '../../src/base/errors.ts';
import { DEFAULT_CAPABILITIES } from '../../src/runtime/capabilities.ts';
import { execTarget } from '../../src/runtime/process-namespaces.ts';
import type { ContainerMount } from '../../src/runtime/runtime.ts';
import { launchDirectly } from './security-launch.ts';
import { openSandbox, type Sandbox } from './runtime-fixture.ts';

let box: Sandbox;
before(() => {
  box = openSandbox();
});
after(() => box.close());

const refused = (error: unknown): boolean => isTsbuildError(error, 'CONTAINER_START_FAILED');
const tmpfs = (target: string): ContainerMount => ({ kind: 'tmpfs', target, mode: 0o755 });

const SHARED_MEMORY: Extract<ContainerMount, { kind: 'attach' }> = {
  ...{ kind: 'attach', type: '', source: '/dev/shm', target: '/dev/shm', bind: true, recursive: false },
  ...{
    copyUp: false,
    remount: false,
    set: 0,
    clear: 0,
    setBelow: 0,
    clearBelow: 0,
    propagation: 0,
    options: [],
  },
};

/** A directory of the host that no container may change. */
function makeVictim(): string {
  const victim = mkdtempSync(join(box.directory, 'victim-'));
  writeFileSync(join(victim, 'sentinel'), 'untouched');
  return victim;
}

function assertUntouched(victim: string): void {
  assert.deepEqual(readdirSync(victim), ['sentinel']);
  assert.equal(readFileSync(join(victim, 'sentinel'), 'utf8'), 'untouched');
}

/** Replaces an entry of the root while `work` runs. */
async function withEntry(
  name: string,
  make: (path: string) => void,
  work: () => Promise<void>,
): Promise<void> {
  const path = join(box.root, name);
  const aside = join(box.directory, 'aside');
  if (existsSync(path)) renameSync(path, aside);
  try {
    make(path);
    await work();
  } finally {
    rmSync(path, { recursive: true, force: true });
    if (existsSync(aside)) renameSync(aside, path);
  }
}

test('CVE-2019-5736: whoever holds /proc/PID/exe of the launcher cannot write it', async () => {
  // A copy: whoever executes the file keeps everybody from writing it, and other tests do that all the time.
  const launcher = join(mkdtempSync(join(tmpdir(), 'tsbuild-launcher-')), 'tsbuild-launch');
  copyFileSync(locateNative('tsbuild-launch'), launcher);
  const child = spawn(launcher, ['server'], { stdio: ['ignore', 'inherit', 'inherit', 'pipe'] });
  const exe = `/proc/${child.pid}/exe`;
  for (let tries = 0; !/^\/$|^\/memfd:/.test(readlinkSync(exe)); tries += 1) {
    assert.ok(tries < 6000, `it runs from ${readlinkSync(exe)}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const held = openSync(exe, 'r');
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
  assert.throws(() => {
    const fd = openSync(`/proc/self/fd/${held}`, 'r+');
    try {
      writeSync(fd, '#!/bin/evil\n', 0);
    } finally {
      closeSync(fd);
    }
  }, /EPERM|EROFS/);
  closeSync(held);
  rmSync(dirname(launcher), { recursive: true });
});

test('CVE-2019-5736: an entry point of /proc/self/exe finds a sealed copy', async () => {
  const before = readFileSync(locateNative('tsbuild-launch'));
  writeFileSync(join(box.root, 'bin/evil'), '#!/proc/self/exe\n', { mode: 0o755 });
  await box.run(box.spec(['/bin/evil'])).catch(() => undefined);
  await box.sh('for p in /proc/[0-9]*; do echo x > $p/exe; done 2>/dev/null; true');
  assert.ok(readFileSync(locateNative('tsbuild-launch')).equals(before));
});

test('CVE-2024-21626: no descriptor of ours is open in a container', async () => {
  const victim = makeVictim();
  const fd = openSync(victim, 'r');
  try {
    const { stdout } = await launchDirectly(
      box,
      box.spec(['sh', '-c', 'ls /proc/1/fd; ls /proc/1/fd/5/ 2>&1']),
      {
        descriptors: [fd, fd, fd],
      },
    );
    assert.match(stdout, /^0\n1\n2\nls: .*No such file/);
  } finally {
    closeSync(fd);
  }
});

test('CVE-2024-21626: a working directory through a descriptor leads nowhere and makes nothing', async () => {
  const victim = makeVictim();
  const fd = openSync(victim, 'r');
  try {
    for (const cwd of [
      '/proc/self/fd/5',
      '/proc/self/fd/5/made',
      '/proc/1/fd/6/../made',
      '/proc/thread-self/fd/7/a/b',
    ]) {
      const { started, stdout } = await launchDirectly(box, box.spec(['ls'], { cwd }), {
        descriptors: [fd, fd, fd],
      });
      assert.equal(started, false, `${cwd}: ${stdout}`);
    }
    assertUntouched(victim);
    for (let n = 3; n < 20; n += 1)
      await assert.rejects(box.run(box.spec(['pwd'], { cwd: `/proc/self/fd/${n}` })), refused);
  } finally {
    closeSync(fd);
  }
});

test("CVE-2025-31133: a mask is made of the host's /dev/null, whatever the image has there", async () => {
  const victim = makeVictim();
  await withEntry(
    'dev',
    (path) => {
      mkdirSync(path);
      symlinkSync(join(victim, 'sentinel'), join(path, 'null'));
    },
    async () => {
      // Where a volume lies over /dev, the masks come after it.
      const over: ContainerMount = {
        kind: 'bind',
        source: join(box.root, 'dev'),
        target: '/dev',
        readonly: false,
        recursive: false,
      };
      for (const volumes of [[], [over]]) {
        const { stdout } = await box.sh('echo bad > /proc/keys; stat -c %t:%T /proc/keys', { volumes });
        assert.equal(stdout, '1:3\n');
      }
    },
  );
  assertUntouched(victim);
});

for (const name of ['dev', 'proc', 'sys'])
  test(`CVE-2026-41579, CVE-2019-19921: an image whose /${name} is a symlink is not started`, async () => {
    const victim = makeVictim();
    for (const target of [victim, '/tmp', '../../../../tmp'])
      await withEntry(
        name,
        (path) => symlinkSync(target, path),
        async () => {
          await assert.rejects(box.sh('true'), refused);
          assert.deepEqual(readdirSync(join(box.root, 'tmp')), []);
        },
      );
    assertUntouched(victim);
  });

test('CVE-2025-52565: the terminal is mounted on no file but our own /dev/console', async () => {
  writeFileSync(join(box.root, 'victim'), 'untouched');
  await withEntry(
    'dev',
    (path) => {
      mkdirSync(join(path, 'pts'), { recursive: true });
      symlinkSync('/victim', join(path, 'console'));
      symlinkSync('/victim', join(path, 'pts/ptmx'));
    },
    async () => {
      const script = 'stat -c %F /victim /dev/console; tty';
      const { stdout } = await launchDirectly(box, box.spec(['sh', '-c', script], { terminal: true }));
      assert.deepEqual(stdout.split(/\s*\n/), ['regular file', 'character special file', '/dev/pts/0', '']);
      // A volume over /dev comes after the nodes: what it has under these names must not be used.
      const volumes: ContainerMount[] = [
        { kind: 'bind', source: join(box.root, 'dev'), target: '/dev', readonly: false, recursive: false },
      ];
      const { started } = await launchDirectly(box, box.spec(['true'], { terminal: true, volumes }));
      assert.equal(started, false);
      // Nor where it leads to terminals that work.
      rmSync(join(box.root, 'dev/pts'), { recursive: true });
      symlinkSync('/other', join(box.root, 'dev/pts'));
      const devpts: ContainerMount = {
        ...SHARED_MEMORY,
        ...{ type: 'devpts', source: 'devpts', target: '/other', bind: false },
        options: [
          ['newinstance', ''],
          ['ptmxmode', '0666'],
        ],
      };
      const spec = box.spec(['true'], { terminal: true, volumes: [devpts, ...volumes] });
      assert.equal((await launchDirectly(box, spec)).started, false);
    },
  );
  assert.equal(readFileSync(join(box.root, 'victim'), 'utf8'), 'untouched');
});

test('CVE-2025-52881, CVE-2019-16884: nothing covers /proc or what is in it', async () => {
  symlinkSync('/proc/sys', join(box.root, 'to-sys'));
  for (const target of [
    '/proc',
    '/proc/sys',
    '/proc/self/attr',
    '/proc/sys/kernel',
    '/to-sys',
    '/tmp/../proc/sys',
    '//proc/sys/',
  ])
    await assert.rejects(box.sh('true', { volumes: [tmpfs(target)] }), refused, target);
  const file: ContainerMount = {
    kind: 'file',
    target: '/proc/self/attr/exec',
    content: '',
    mode: 0o644,
    uid: 0,
    gid: 0,
    readonly: false,
  };
  await assert.rejects(box.sh('true', { volumes: [file] }), refused);
  const { stdout } = await box.sh('cat /proc/uptime', {
    volumes: [{ ...file, target: '/proc/uptime', content: 'lxcfs' }],
  });
  assert.equal(stdout, 'lxcfs', 'what says how large the machine is may be covered');
});

test('CVE-2022-24769, CVE-2022-2990: neither inheritable capabilities nor groups of the caller get in', async () => {
  const spec = box.spec(
    ['sh', '-c', 'grep -E "^(Groups|CapInh|CapAmb|CapBnd|CapEff)" /proc/self/status; id -G'],
    {
      user: { uid: 1000, gid: 1000, additionalGids: [] },
    },
  );
  const { stdout } = await launchDirectly(box, spec, {
    wrapper: [
      'setpriv',
      '--groups',
      '4242,4243',
      '--inh-caps',
      '+chown,+sys_admin',
      '--ambient-caps',
      '+chown,+sys_admin',
      '--',
    ],
  });
  assert.deepEqual(
    stdout
      .replaceAll('\t', ' ')
      .trim()
      .split('\n')
      .map((line) => line.trim()),
    [
      'Groups:',
      'CapInh: 0000000000000000',
      'CapEff: 0000000000000000',
      'CapBnd: 00000000a80425fb',
      'CapAmb: 0000000000000000',
      '1000',
    ],
  );
});

test('CVE-2022-0492: no cgroup can be mounted or written, in a user namespace neither', async () => {
  const script = `
mkdir /tmp/cg
mount -t cgroup -o memory none /tmp/cg 2>/dev/null && echo mounted
mount -t cgroup2 none /tmp/cg 2>/dev/null && echo mounted 2
unshare -UrmC mount -t cgroup -o memory none /tmp/cg 2>/dev/null && echo mounted in a namespace
unshare -Ur true 2>/dev/null && echo made a user namespace
find /sys/fs/cgroup -name release_agent -exec sh -c 'echo /evil > {}' \\; 2>/dev/null
mkdir /sys/fs/cgroup/evil 2>/dev/null && echo made a cgroup
grep -v ':/$' /proc/self/cgroup
grep CapEff /proc/self/status; true`;
  const { stdout } = await box.sh(script);
  assert.equal(stdout, 'CapEff:\t00000000a80425fb\n');
  assert.equal((BigInt(0xa80425fb) >> 21n) & 1n, 0n, 'CAP_SYS_ADMIN is not among them');
});

test('CVE-2020-15257: none of our sockets has an abstract name', async () => {
  const started = await box.runtime.start(
    box.spec(['sleep', '60']),
    { kind: 'capture', onOutput: () => undefined },
    { signal: new AbortController().signal },
  );
  await using container = started;
  const parent = /^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${container.pid}/status`, 'utf8'))?.[1] ?? '';
  const ours = new Set<string>();
  for (const pid of [parent, `${process.pid}`])
    for (const fd of readdirSync(`/proc/${pid}/fd`))
      try {
        const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1];
        if (inode !== undefined) ours.add(inode);
      } catch {
        // Closed in the meantime.
      }
  assert.ok(ours.size > 0);
  const named = readFileSync('/proc/net/unix', 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , , , , , inode = '', name]) => ours.has(inode) && name !== undefined);
  assert.deepEqual(named, []);
});

test("another container's shared memory is taken from its own root, and is a tmpfs or nothing", async () => {
  const victim = makeVictim();
  const signal = new AbortController().signal;
  const capabilities = [...DEFAULT_CAPABILITIES, 'CAP_SYS_ADMIN'];
  for (const [trick, outcome] of [
    ['true', 'started'],
    [`umount /dev/shm; rmdir /dev/shm; ln -s ${victim} /dev/shm`, 'refused'],
    [`umount /dev/shm; rmdir /dev/shm; ln -s /proc/1/root${victim} /dev/shm`, 'refused'],
    ['umount /dev/shm; mount -t proc p /dev/shm', 'refused'],
    ['umount -l /dev; ln -sf /tmp /dev/shm; rmdir /dev/shm', 'refused'],
  ] as const) {
    let said = '';
    await using donor = await box.runtime.start(
      { ...box.spec(['sh', '-c', `${trick}; echo done; sleep 60`], { capabilities, seccomp: 'unconfined' }) },
      { kind: 'capture', onOutput: (_, data) => (said += Buffer.from(data).toString()) },
      { signal },
    );
    while (!said.includes('done')) await new Promise((resolve) => setTimeout(resolve, 5));
    const { pid, started } = execTarget(donor.pid);
    const volumes: ContainerMount[] = [{ ...SHARED_MEMORY, of: { pid, started } }];
    const one = box.sh(`echo evil > /dev/shm/x; cat /dev/shm/sentinel; true`, { volumes });
    if (outcome === 'refused') await assert.rejects(one, refused, trick);
    else assert.equal((await one).stdout, '', trick);
    assertUntouched(victim);
    const other: ContainerMount[] = [{ ...SHARED_MEMORY, of: { pid, started: started + 1n } }];
    await assert.rejects(box.sh('true', { volumes: other }), refused, 'a pid that is another process by now');
  }
});
