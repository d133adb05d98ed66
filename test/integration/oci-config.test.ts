import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openBundles, type Bundles, type OciConfig } from './oci-fixture.ts';

let bundles: Bundles;
before(() => (bundles = openBundles()));
after(() => bundles.close());

function output(script: string, change?: (config: OciConfig) => void): string {
  const { stdout, stderr, code } = bundles.run(script, change);
  assert.equal(code, 0, stderr);
  return stdout;
}

const userNamespace = (config: OciConfig): void => {
  config.linux.namespaces.push({ type: 'user' });
  const map = [{ containerID: 0, hostID: 100000, size: 65536 }];
  Object.assign(config.linux, { uidMappings: map, gidMappings: map });
  delete config.linux['resources'];
};

test('names, limits, identity and scheduling are as the config says', () => {
  const script =
    'hostname; cat /proc/sys/kernel/domainname; id -u; id -G; umask; ulimit -n; cut -d" " -f19 /proc/self/stat; cat /proc/self/oom_score_adj; uname -m';
  const stdout = output(script, (config) => {
    config.hostname = 'inner';
    Object.assign(config, { domainname: 'example.org' });
    Object.assign(config.process, {
      user: { uid: 7, gid: 8, additionalGids: [9], umask: 0o77 },
      rlimits: [{ type: 'RLIMIT_NOFILE', soft: 100, hard: 200 }],
      scheduler: { policy: 'SCHED_OTHER', nice: 5 },
      ioPriority: { class: 'IOPRIO_CLASS_BE', priority: 6 },
      oomScoreAdj: 123,
    });
    config.linux['personality'] = { domain: 'LINUX32' };
  });
  assert.deepEqual(stdout.trim().split('\n'), [
    'inner',
    'example.org',
    '7',
    '8 9',
    '0077',
    '100',
    '5',
    '123',
    'i686',
  ]);
});

test('HOME comes from /etc/passwd', () => {
  assert.equal(output('echo $HOME'), '/root\n');
});

test('a user namespace has its ids, devices and mounts', () => {
  chmodSync(bundles.directory, 0o711);
  const script =
    'cat /proc/self/uid_map; echo x > /dev/null && ls -ln /dev/zero | cut -c1-10; ls -d /sys/kernel; id -u';
  const lines = output(script, (config) => {
    userNamespace(config);
  });
  assert.match(lines, /^\s+0\s+100000\s+65536\ncrw-rw-rw-\n\/sys\/kernel\n0\n$/);
});

test("a user namespace with the host's network has the host's /sys, and none of its cgroups", () => {
  const change =
    (...more: OciConfig['mounts']) =>
    (config: OciConfig): void => {
      const { namespaces } = config.linux;
      config.linux.namespaces = [...namespaces.filter(({ type }) => type !== 'network'), { type: 'user' }];
      config.linux['uidMappings'] = config.linux['gidMappings'] = [
        { containerID: 0, hostID: 0, size: 65536 },
      ];
      config.mounts = [
        { destination: '/proc', type: 'proc', source: 'proc' },
        { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
        ...more,
      ];
    };
  const script =
    'ls /sys/class/net/lo >/dev/null && ls /sys/fs/cgroup | wc -l; touch /sys/fs/cgroup/x 2>&1; ' +
    "grep ' /sys' /proc/self/mountinfo | grep -vc ' ro,'; true";
  const [count, refused, writable] = output(script, change()).split('\n');
  assert.deepEqual([count, writable], ['0', '0']);
  assert.match(refused ?? '', /Read-only file system/);
  const cgroup = { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['ro'] };
  assert.match(output('cat /sys/fs/cgroup/*/cgroup.procs | head -n 1', change(cgroup)), /^\d+\n$/);
});

test('a mount whose ids are mapped shows them mapped', () => {
  const source = join(bundles.directory, 'owned');
  mkdirSync(source);
  writeFileSync(join(source, 'file'), 'x');
  const maps = [{ containerID: 0, hostID: 5000, size: 10 }];
  const stdout = output('stat -c %u /mnt/file', (config) => {
    config.root.readonly = false;
    config.mounts.push({
      destination: '/mnt',
      type: 'bind',
      source,
      options: ['bind', 'idmap'],
      uidMappings: maps,
      gidMappings: maps,
    });
  });
  assert.equal(stdout, '5000\n');
});

test('ids of a mount are mapped as those of a user namespace that is joined', async () => {
  const holder = bundles.bundle('sleep 60', userNamespace);
  const child = bundles.begin(['run', '-d', 'holder'], holder);
  await new Promise((resolve) => child.once('exit', resolve));
  const { pid } = JSON.parse(bundles.call(['state', 'holder']).stdout) as { pid: number };
  const source = join(bundles.directory, 'joined');
  mkdirSync(source);
  writeFileSync(join(source, 'file'), 'x');
  const seen = (options: string[]): string =>
    output('stat -c %u /tmp/file', (config) => {
      config.linux.namespaces.push({ type: 'user', path: `/proc/${pid}/ns/user` });
      config.mounts.push({ destination: '/tmp', type: 'bind', source, options });
    });
  assert.deepEqual([seen(['bind', 'idmap']), seen(['bind'])], ['0\n', '65534\n']);
  assert.equal(bundles.call(['delete', '-f', 'holder']).code, 0);
});

test('a time namespace begins at its offset', () => {
  const stdout = output('cut -d. -f1 /proc/uptime', (config) => {
    config.linux.namespaces.push({ type: 'time' });
    config.linux['timeOffsets'] = { boottime: { secs: 1_000_000_000, nanosecs: 0 } };
  });
  assert.ok(Number(stdout) > 1_000_000_000);
});

test('namespaces of another container are joined by path', async () => {
  const first = bundles.bundle('sleep 60', (config) => (config.hostname = 'first'));
  const child = bundles.begin(['run', '-d', 'first'], first);
  await new Promise((resolve) => child.once('exit', resolve));
  const { pid } = JSON.parse(bundles.call(['state', 'first']).stdout) as { pid: number };
  const stdout = output('hostname; ps | grep -c "sleep 60"; readlink /proc/self/ns/net', (config) => {
    config.hostname = '';
    for (const each of config.linux.namespaces)
      if (['uts', 'pid', 'network', 'ipc'].includes(each.type))
        each.path = `/proc/${pid}/ns/${each.type === 'network' ? 'net' : each.type}`;
  });
  const [name, seen] = stdout.split('\n');
  assert.equal(name, 'first');
  assert.ok(Number(seen) >= 1);
  assert.equal(bundles.call(['delete', '-f', 'first']).code, 0);
});

test('a tmpfs that copies up shows what it hides; a symlink to nowhere is a target', () => {
  const stdout = output(
    'cat /etc/passwd | wc -l; touch /etc/new && echo writable; grep -c nowhere /proc/self/mountinfo',
    (config) => {
      config.mounts.push({ destination: '/etc', type: 'tmpfs', source: 'tmpfs', options: ['tmpcopyup'] });
      config.root.readonly = false;
      config.mounts.push({
        destination: '/tmp/nowhere',
        type: 'tmpfs',
        source: 'tmpfs',
        options: ['nosuid', 'size=64k'],
      });
    },
  );
  assert.deepEqual(stdout.trim().split('\n'), ['1', 'writable', '1']);
});

test('options of mounts: read-only below, propagation, flags', () => {
  const source = join(bundles.directory, 'options');
  mkdirSync(source);
  const stdout = output(
    'grep " /mnt " /proc/self/mountinfo | cut -d" " -f6,7; touch /mnt/x 2>&1 | grep -c Read-only',
    (config) => {
      config.root.readonly = false;
      config.mounts.push({
        destination: '/mnt',
        source,
        options: ['rbind', 'rro', 'nodev', 'noexec', 'noatime', 'shared'],
      });
    },
  );
  assert.match(stdout, /^ro,nodev,noexec,noatime shared:\d+\n1\n$/);
});

test("sysctls are the container's own, others are refused", () => {
  const change = (name: string) => (config: OciConfig) => (config.linux['sysctl'] = { [name]: '1' });
  assert.equal(output('cat /proc/sys/net/ipv4/ip_forward', change('net.ipv4.ip_forward')), '1\n');
  assert.match(bundles.run('true', change('vm.swappiness')).stderr, /is not in a separate kernel namespace/);
});

test('a filter of the config: errno, arguments, what the default says', () => {
  const stdout = output('mkdir /tmp/a 2>&1; chmod 0700 /tmp && chmod 0123 /tmp 2>&1; echo done', (config) => {
    config.root.readonly = false;
    config.linux['seccomp'] = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [
        { names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 28 },
        { names: ['chmod'], action: 'SCMP_ACT_ERRNO', args: [{ index: 1, value: 0o123, op: 'SCMP_CMP_EQ' }] },
      ],
    };
  });
  assert.match(stdout, /No space left on device\n.*Operation not permitted\ndone\n$/s);
});

test('paths are masked and read-only, a mount inside /proc is refused (CVE-2019-16884)', () => {
  assert.equal(
    output('cat /proc/kcore | wc -c; echo 1 > /proc/sysrq-trigger 2>&1; true').split('\n')[0],
    '0',
  );
  const refused = bundles.run('true', (config) =>
    config.mounts.push({ destination: '/proc/self/attr', type: 'tmpfs', source: 'tmpfs' }),
  );
  assert.match(refused.stderr, /inside \/proc/);
});

test('a deadline that makes no sense is told apart from others', () => {
  const problem = (numbers: object): string =>
    bundles.run('true', ({ process }) => {
      process['scheduler'] = { policy: 'SCHED_DEADLINE', ...numbers };
    }).stderr;
  const [ms10, ms20, ms30] = [10e6, 20e6, 30e6];
  assert.match(problem({ deadline: ms20 }), /`SCHED_DEADLINE` requires `runtime`/);
  assert.match(problem({ runtime: ms10 }), /`SCHED_DEADLINE` requires `deadline`/);
  assert.match(problem({ runtime: 0, deadline: ms20 }), /runtime must be greater than 0/);
  assert.match(problem({ runtime: 1023, deadline: ms20 }), /runtime 1023 must be between 1024 and /);
  assert.match(problem({ runtime: 2 ** 63, deadline: 2 ** 63 }), /runtime \d+ must be between 1024 and /);
  assert.match(problem({ runtime: ms30, deadline: ms20 }), /runtime 30000000 must be <= deadline 20000000/);
  assert.match(
    problem({ runtime: ms10, deadline: ms30, period: ms20 }),
    /deadline 30000000 must be <= period 20000000/,
  );
});

test('two domain names are one too many', () => {
  const withSysctl = (domainname: string): string =>
    bundles.run('cat /proc/sys/kernel/domainname', (config) => {
      Object.assign(config, { domainname: 'one' });
      config.linux['sysctl'] = { 'kernel.domainname': domainname };
    }).stderr;
  assert.equal(withSysctl('one'), '');
  assert.match(withSysctl('two'), /kernel\.domainname\\?" conflicts with the OCI \\?"domainname\\?" field/);
});

test('configs that make no sense are refused, naming the member', () => {
  const wrong: readonly (readonly [(config: OciConfig) => void, RegExp])[] = [
    [(config) => config.linux.namespaces.push({ type: 'pid' }), /duplicated ns \\"pid\\"/],
    [(config) => (config.process.args = []), /process\.args/],
    [(config) => Object.assign(config.process, { env: 'A=1' }), /process\.env must be a list of strings/],
    [
      (config) => (config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'uts')),
      /UTS/,
    ],
    [(config) => (config.root.path = 'nowhere'), /does not exist/],
  ];
  for (const [change, message] of wrong) assert.match(bundles.run('true', change).stderr, message);
  assert.deepEqual(bundles.left(), []);
});

test('without pivot_root the old root is out of reach', () => {
  const bundle = bundles.bundle(
    'ls / | head -1; ls /proc/1/root/ | head -1',
    (config) => (config.root.readonly = false),
  );
  assert.equal(bundles.call(['run', '--no-pivot', 'flat'], bundle).stdout, 'bin\nbin\n');
  assert.match(readFileSync(join(bundle, 'config.json'), 'utf8'), /rootfs/);
});
