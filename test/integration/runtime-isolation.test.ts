/** What a container sees and may do, on real namespaces. Attacks are in security-*.test.ts. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { isTsbuildError } from '../../src/base/errors.ts';
import { openSandbox, type Sandbox } from './runtime-fixture.ts';

let box: Sandbox;
before(() => {
  box = openSandbox();
});
after(() => box.close());

const lines = (text: string): string[] => text.trim().split('\n');

test('identity, groups and capabilities are those of the spec', async () => {
  const { stdout } = await box.sh('id -u; id -g; id -G; grep -E "^Cap(Inh|Eff|Bnd|Amb)" /proc/self/status', {
    user: { uid: 7, gid: 8, additionalGids: [9, 10] },
  });
  assert.deepEqual(lines(stdout), [
    '7',
    '8',
    '8 9 10',
    'CapInh:\t0000000000000000',
    'CapEff:\t0000000000000000',
    'CapBnd:\t00000000a80425fb',
    'CapAmb:\t0000000000000000',
  ]);
});

test('the filter refuses namespaces, mounts and keys', async () => {
  const { stdout } = await box.sh(
    'unshare -U true 2>&1; mount -t tmpfs x /tmp 2>&1; grep ^Seccomp: /proc/self/status',
  );
  assert.match(stdout, /unshare.*not permitted[\s\S]*(denied|not permitted)[\s\S]*Seccomp:\t2/);
});

test('kernel files are hidden or read-only', async () => {
  const { stdout } = await box.sh(
    'cat /proc/timer_list /proc/keys 2>/dev/null | wc -c; ls /sys/firmware | wc -l; echo x > /proc/sys/kernel/hostname || echo ro; mkdir /sys/x || echo ro',
  );
  assert.deepEqual(
    lines(stdout).map((line) => line.trim()),
    ['0', '0', 'ro', 'ro'],
  );
});

test('host name, pid namespace and generated files are its own', async () => {
  const { stdout } = await box.sh('hostname; echo $$; cat /etc/hostname; grep box /etc/hosts', {
    hostname: 'box',
  });
  assert.deepEqual(lines(stdout), ['box', '1', 'box', '127.0.0.1\tlocalhost box']);
});

test('without a network there is the loopback, up, and nothing else', async () => {
  const { stdout } = await box.sh(
    'ip -o link | cut -d" " -f2,3; ping -c 1 -w 2 127.0.0.1 > /dev/null && echo reached',
    { network: 'none' },
  );
  assert.match(stdout, /^lo: <LOOPBACK,UP,LOWER_UP>\nreached\n$/);
});

test('containers one after the other have networks of their own, whether they follow at once or later', async () => {
  const host = readlinkSync('/proc/self/ns/net');
  const script =
    'readlink /proc/self/ns/net; cat /proc/sys/net/ipv4/ip_default_ttl; ip -o addr show dev lo | grep -c inet; ip addr add 10.9.8.7/32 dev lo; echo 7 > /proc/sys/net/ipv4/ip_default_ttl';
  for (const pause of [0, 30, 30, 0, 30]) {
    await setTimeout(pause);
    const spec = box.spec(['sh', '-c', script], { network: 'none', privileged: true });
    const [own = '', ...rest] = lines((await box.run(spec)).stdout);
    assert.match(own, /^net:\[\d+\]$/);
    assert.notEqual(own, host);
    assert.deepEqual(rest, ['64', '2'], 'it has what another one left');
  }
  const { stdout } = await box.sh('readlink /proc/self/ns/net');
  assert.equal(stdout.trim(), host);
});

test('devices are the ones that programs expect', async () => {
  const { stdout } = await box.sh(
    'for d in null zero full random urandom tty; do test -c /dev/$d || echo no $d; done; echo x > /dev/null; head -c 2 /dev/zero | wc -c; echo shm > /dev/shm/f; readlink /dev/stdin; ls -d /dev/sda /dev/kvm 2>/dev/null; true',
  );
  assert.deepEqual(lines(stdout), ['2', '/proc/self/fd/0']);
});

test('an overlay of 400 layers shows the topmost of each', async () => {
  const directory = join(box.directory, 'deep');
  const lower = [...Array.from({ length: 400 }, (_, index) => join(directory, `l${index}`)), box.root];
  for (const [index, path] of lower.slice(0, -1).entries()) {
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, 'top'), `${index}`);
    writeFileSync(join(path, `own-${index}`), '');
  }
  const [upper, work] = [join(directory, 'upper'), join(directory, 'work')];
  for (const path of [upper, work]) mkdirSync(path);
  const { stdout } = await box.sh('cat /top; echo; ls / | grep -c own-; echo new > /new', {
    mounts: [{ kind: 'overlay', lower, upper, work, volatile: true }],
  });
  assert.deepEqual(lines(stdout), ['0', '400']);
  assert.equal(readFileSync(join(upper, 'new'), 'utf8'), 'new\n');
});

test('a target that is a symlink stays inside the root (CVE-2021-30465)', async () => {
  const outside = join(box.directory, 'outside');
  mkdirSync(outside);
  symlinkSync(outside, join(box.root, 'link'));
  symlinkSync('/../../tmp', join(box.root, 'inner'));
  const volume = (target: string) => ({ kind: 'tmpfs', target, mode: 0o755 }) as const;
  const followed = await box.sh(`echo in > /link/f; cat ${outside}/f`, { volumes: [volume('/link')] });
  assert.equal(followed.stdout, 'in\n');
  assert.deepEqual(readdirSync(outside), []);
  const { stdout } = await box.sh('echo in > /inner/f; cat /tmp/f', { volumes: [volume('/inner')] });
  assert.equal(stdout, 'in\n');
});

test('a hard limit that cannot be raised is a warning, not an error', async () => {
  const spec = box.spec(['sh', '-c', 'ulimit -n']);
  const { status, warnings, stdout } = await box.run({
    ...spec,
    rlimits: [{ type: 'RLIMIT_NOFILE', soft: 100, hard: 2 ** 30 }],
  });
  assert.deepEqual(status, { kind: 'exited', code: 0 });
  assert.equal(stdout, '100\n');
  const mayRaise =
    (BigInt(`0x${/CapEff:\s*(\w+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`) >> 24n) &
    1n;
  assert.deepEqual(
    warnings,
    mayRaise === 1n ? [] : ['rlimit RLIMIT_NOFILE: the hard limit cannot be raised here'],
  );
});

test('part of another root is mounted, and symlinks in it cannot leave it', async () => {
  const other = join(box.directory, 'other');
  mkdirSync(join(other, 'real'), { recursive: true });
  writeFileSync(join(other, 'real/f'), 'other\n');
  symlinkSync('/real', join(other, 'abs'));
  symlinkSync('/etc', join(other, 'etc'));
  const at = (source: string) =>
    ({
      kind: 'assembled',
      mounts: [{ kind: 'bind', source: other, readonly: true }],
      source,
      target: '/mnt',
      readonly: true,
    }) as const;
  assert.equal(
    (await box.sh('cat /mnt/f; touch /mnt/g 2>/dev/null || echo ro', { volumes: [at('/abs')] })).stdout,
    'other\nro\n',
  );
  await assert.rejects(box.sh('true', { volumes: [at('/etc')] }), (error) =>
    isTsbuildError(error, 'CONTAINER_START_FAILED'),
  );
});

test('no_new_privs is set where it is asked for', async () => {
  const spec = box.spec(['grep', '^NoNewPrivs', '/proc/self/status']);
  assert.match((await box.run({ ...spec, noNewPrivileges: true })).stdout, /1\n$/);
  assert.match((await box.run(spec)).stdout, /0\n$/);
});
