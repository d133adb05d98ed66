/** What the isolation options of run do, as seen from inside. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { importBusybox, leftovers, openWorkspace, type Workspace } from './fixture.ts';

let space: Workspace;
before(() => {
  space = openWorkspace();
  importBusybox(space);
  const context = space.context('img', {
    Dockerfile:
      'FROM bb:1\nCOPY --chown=1000:2000 seed /data/sub/seed\nRUN chmod 750 /data && chown 7:8 /data\nVOLUME /data /plain\n',
    seed: 'seed\n',
  });
  space.ok(['-q', '-t', 'vols', context]);
});
after(() => {
  assert.deepEqual(leftovers(space.root), []);
  space[Symbol.dispose]();
});

const run = (flags: readonly string[], script: string, image = 'bb:1'): string =>
  space.ok(['run', '--rm', ...flags, image, 'sh', '-c', script]).stdout;

/** Flags, what is looked at inside, what is seen. */
const SEEN: readonly (readonly [readonly string[], string, string | RegExp])[] = [
  [[], 'readlink /etc/mtab; grep -c overlay /etc/mtab', '/proc/mounts\n1\n'],
  [['--read-only'], 'touch /x 2>&1 || true', /Read-only file system/],
  [['--read-only'], '(echo x >> /etc/hosts) 2>&1 || true', /Read-only file system/],
  [[], 'echo "1.2.3.4 x" >> /etc/hosts && tail -1 /etc/hosts', '1.2.3.4 x\n'],
  [
    ['--tmpfs', '/t:size=1m,mode=700,uid=5'],
    'grep " /t " /proc/mounts; stat -c "%a %u" /t',
    /nosuid,nodev,noexec.*size=1024k[\s\S]*\n700 5\n/,
  ],
  [['--tmpfs', '/t:exec'], 'cp /bin/busybox /t/true && /t/true && echo ran', 'ran\n'],
  [['--tmpfs', '/t:ro'], 'touch /t/x 2>&1 || true', /Read-only/],
  [
    ['--mount', 'type=tmpfs,dst=/t,tmpfs-size=2m,tmpfs-mode=0711'],
    'stat -c %a /t; df -k /t | tail -1',
    /^711\n.* 2048 /,
  ],
  [['--ulimit', 'nofile=100:200', '--ulimit', 'core=0'], 'ulimit -n; ulimit -Hn; ulimit -c', '100\n200\n0\n'],
  [
    ['--sysctl', 'kernel.msgmax=4096', '--sysctl', 'kernel.shm_rmid_forced=1'],
    'cat /proc/sys/kernel/msgmax /proc/sys/kernel/shm_rmid_forced',
    '4096\n1\n',
  ],
  [['--network', 'none', '--sysctl', 'net.ipv4.ip_forward=1'], 'cat /proc/sys/net/ipv4/ip_forward', '1\n'],
  [
    ['-h', 'web', '--domainname', 'example.org'],
    'hostname; cat /proc/sys/kernel/domainname /etc/hostname',
    'web\nexample.org\nweb\n',
  ],
  [['--uts', 'host'], 'hostname', `${hostname()}\n`],
  [['--group-add', 'extra', '--group-add', '77'], 'id -G', '0 77 3000\n'],
  [['--shm-size', '3m'], 'df -m /dev/shm | tail -1', /\s3\s/],
  [['--oom-score-adj', '500'], 'cat /proc/self/oom_score_adj', '500\n'],
  [
    ['--device', '/dev/zero:/dev/nothing'],
    'stat -c "%t:%T" /dev/nothing; head -c 1 /dev/nothing | wc -c',
    '1:5\n1\n',
  ],
  [['--security-opt', 'no-new-privileges'], 'grep NoNewPrivs /proc/self/status', /1\n/],
  [['--security-opt', 'seccomp=unconfined'], 'grep Seccomp: /proc/self/status', /0\n/],
  [[], 'grep Seccomp: /proc/self/status', /2\n/],
  [['--security-opt', 'systempaths=unconfined'], 'wc -c < /proc/interrupts', /^[1-9]/],
  [[], 'wc -c < /proc/interrupts', '0\n'],
  [['--cap-drop', 'ALL', '--cap-add', 'chown'], 'grep CapEff /proc/self/status', /0000000000000001\n/],
  [
    ['--privileged'],
    'grep " /sys " /proc/mounts; grep Seccomp: /proc/self/status; ls /dev/fuse /dev/kmsg',
    /sysfs rw,[\s\S]*0\n/,
  ],
  [['--cgroupns', 'host'], 'cat /proc/self/cgroup', /:\/tsbuild\/[0-9a-f]{64}\n/],
];

for (const [flags, script, expected] of SEEN)
  test(`${flags.join(' ') || 'without flags'}: ${script}`, () => {
    const seen = run(flags, script);
    if (typeof expected === 'string') assert.equal(seen, expected);
    else assert.match(seen, expected);
  });

for (const kind of ['pid', 'ipc', 'uts'] as const)
  test(`--${kind}=host shares the host's ${kind} namespace, private does not`, () => {
    const own = readlinkSync(`/proc/self/ns/${kind}`);
    assert.equal(run([`--${kind}`, 'host'], `readlink /proc/self/ns/${kind}`).trim(), own);
    assert.notEqual(run([`--${kind}`, 'private'], `readlink /proc/self/ns/${kind}`).trim(), own);
  });

test('--time-offset moves the clocks of a time namespace', () => {
  const [up = 0, before = 0] = [
    run(['--time-offset', 'boottime=864000'], 'cat /proc/uptime'),
    readFileSync('/proc/uptime', 'utf8'),
  ].map(Number.parseFloat);
  assert.ok(Math.abs(up - before - 864000) < 60, `${up} ${before}`);
});

test('--security-opt seccomp=FILE is the filter', () => {
  const path = join(space.directory, 'profile.json');
  const rule = { names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 38 };
  writeFileSync(path, JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [rule] }));
  assert.match(run(['--security-opt', `seccomp=${path}`], 'mkdir /q 2>&1; true'), /Function not implemented/);
});

test("a volume begins with the image's files, and keeps what is written", () => {
  assert.equal(
    run(
      ['-v', 'one:/data'],
      'stat -c "%u:%g %a" /data /data/sub/seed; cat /data/sub/seed; echo 1 > /data/new',
      'vols',
    ),
    '7:8 750\n1000:2000 644\nseed\n',
  );
  assert.equal(run(['-v', 'one:/data'], 'cat /data/new'), '1\n');
  assert.match(run(['-v', 'one:/data:ro'], 'touch /data/x 2>&1; true'), /Read-only/);
  assert.equal(run(['-v', 'empty:/data:nocopy'], 'ls /data', 'vols'), '');
  assert.equal(run(['--mount', 'type=volume,src=one,dst=/v'], 'cat /v/new'), '1\n');
  assert.match(space.ok(['volume', 'ls', '-q']).stdout, /^empty\none\n$/);
  assert.equal(
    space.ok(['volume', 'inspect', '-f', '{{.Mountpoint}}', 'one']).stdout.trim(),
    join(space.root, 'volumes/one/_data'),
  );
});

test('anonymous volumes, also those of VOLUME, go with the container', () => {
  const before = space.ok(['volume', 'ls', '-q']).stdout;
  assert.equal(
    run(['-v', '/anon'], 'mount | grep -c -e " /anon " -e " /data " -e " /plain "', 'vols'),
    '3\n',
  );
  assert.equal(space.ok(['volume', 'ls', '-q']).stdout, before);
});

test('a volume in use is not removed', () => {
  const child = space.start([
    'run',
    '--rm',
    '-v',
    'busy:/v',
    'bb:1',
    'sh',
    '-c',
    'trap exit TERM; echo up; sleep 30 & wait',
  ]);
  return new Promise<void>((resolve, reject) => {
    child.stdout?.once('data', () => {
      try {
        const refused = space.tsbuild(['volume', 'rm', 'busy']);
        assert.equal(refused.code, 1);
        assert.match(refused.stderr, /volume is in use/);
        resolve();
      } catch (error) {
        reject(error instanceof Error ? error : new Error(String(error)));
      } finally {
        child.kill('SIGTERM');
      }
    });
  }).finally(() => new Promise((resolve) => child.once('exit', resolve)));
});

test('-v makes a missing source, --mount does not; read-only binds are so all the way down', () => {
  const made = join(space.directory, 'made');
  run(['-v', `${made}:/m`], 'touch /m/f');
  assert.ok(existsSync(join(made, 'f')));
  assert.equal(
    space.tsbuild(['run', '--mount', `type=bind,src=${made}/no,dst=/m`, 'bb:1', 'true']).code,
    125,
  );
  assert.equal(run(['-v', './made/f:/etc/motd:ro'], 'test -f /etc/motd && echo file'), 'file\n');
  const below = join(made, 'below');
  mkdirSync(below);
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', below]);
  try {
    assert.match(run(['-v', `${made}:/m:ro`], 'touch /m/below/x 2>&1; true'), /Read-only/);
    run(['--mount', `type=bind,src=${made},dst=/m,ro,bind-recursive=writable`], 'touch /m/below/x');
    assert.equal(run(['--mount', `type=bind,src=${made},dst=/m,bind-nonrecursive`], 'ls /m/below'), '');
  } finally {
    execFileSync('umount', [below]);
  }
});

test('rslave receives mounts of the host, the default does not', () => {
  const shared = join(space.directory, 'shared');
  mkdirSync(shared);
  execFileSync('sh', ['-c', `mount -t tmpfs tmpfs ${shared} && mount --make-shared ${shared}`]);
  try {
    assert.match(run(['-v', `${shared}:/s:rslave`], 'grep " /s " /proc/self/mountinfo'), / master:\d+ /);
    assert.match(run(['-v', `${shared}:/s:rshared`], 'grep " /s " /proc/self/mountinfo'), / shared:\d+ /);
    assert.doesNotMatch(run(['-v', `${shared}:/s`], 'grep " /s " /proc/self/mountinfo'), /master|shared/);
  } finally {
    execFileSync('umount', [shared]);
  }
});

test('--userns=auto makes root inside nobody outside, and files keep their owners', () => {
  const seen = run(
    ['--userns', 'auto', '--network', 'none', '-v', 'mapped:/v'],
    'id -u; cat /proc/self/uid_map; stat -c "%u:%g" /data/sub/seed; echo more >> /data/sub/seed; mkdir /new; stat -c %u /new; ' +
      'chown 5:6 /new; touch /v/f; stat -c "%u:%g" /v/f /new; mknod /n c 1 3 2>&1 || true; head -c 1 /dev/zero | wc -c',
    'vols',
  );
  assert.match(seen, /^0\n\s+0 +1342\d+ +65536\n1000:2000\n0\n0:0\n5:6\n.*not permitted\n1\n$/);
  assert.equal(statSync(join(space.root, 'volumes/mapped/_data/f')).uid, 0);
  assert.equal(
    run(['--userns', 'nomap'], 'readlink /proc/self/ns/user') === readlinkSync('/proc/self/ns/user'),
    false,
  );
});

test('two containers with user namespaces have other ids', async () => {
  const first = space.start([
    'run',
    '--rm',
    '--userns',
    'auto',
    'bb:1',
    'sh',
    '-c',
    'trap exit TERM; cat /proc/self/uid_map; sleep 30 & wait',
  ]);
  const map = await new Promise<string>((resolve) =>
    first.stdout?.once('data', (data: Buffer) => resolve(data.toString())),
  );
  try {
    assert.notEqual(run(['--userns', 'auto'], 'cat /proc/self/uid_map'), map);
  } finally {
    first.kill('SIGTERM');
    await new Promise((resolve) => first.once('exit', resolve));
  }
});

for (const [flags, message] of [
  [['--userns', 'keep-id'], /only supported in rootless mode/],
  [['--memory', 'abc'], /invalid argument "abc" for "-m, --memory" flag: invalid size: 'abc'/],
  [['--pid', 'x'], /invalid PID mode/],
  [['-v', 'a:b'], /mount path must be absolute/],
  [['-v', '/a:/x', '--tmpfs', '/x'], /Duplicate mount point: \/x/],
  [['--device', '/dev/nope'], /error gathering device information/],
  [['--security-opt', 'x'], /Invalid --security-opt/],
  [['--volumes-from', 'nobody'], /no such container/],
  [['--group-add', 'nobody7'], /unable to find group/],
] as const)
  test(`run ${flags.join(' ')} ends with 125`, () => {
    const ended = space.tsbuild(['run', '--rm', ...flags, 'bb:1', 'true']);
    assert.equal(ended.code, 125, ended.stderr);
    assert.match(ended.stderr, message);
  });
