/** What configs and callers rely on that other runtimes do, each named after what went wrong without it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { locateNative } from '../../native/locate.ts';
import { openBundles, type Bundles, type OciConfig } from './oci-fixture.ts';

let bundles: Bundles;
before(() => (bundles = openBundles()));
after(() => bundles.close());

async function detached(args: readonly string[], bundle: string): Promise<void> {
  const child = bundles.begin(args, bundle);
  assert.equal(await new Promise((resolve) => child.once('exit', resolve)), 0);
}

/** A container that stays, with the config changed. */
async function running(id: string, change?: (config: OciConfig) => void): Promise<void> {
  await detached(['run', '--detach', id], bundles.bundle('sleep 1000', change));
}

function field(status: string, name: string): string | undefined {
  return new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1];
}

test('exec does not lose no_new_privs of its container', async () => {
  await running('nnp');
  const { stdout } = bundles.call(['exec', 'nnp', 'cat', '/proc/self/status']);
  assert.equal(field(stdout, 'NoNewPrivs'), '1');
});

test('exec --cap leaves the inheritable capabilities alone', async () => {
  await running('caps', ({ process }) => {
    process['capabilities'] = {
      bounding: ['CAP_KILL', 'CAP_CHOWN', 'CAP_SYSLOG'],
      effective: ['CAP_KILL'],
      permitted: ['CAP_KILL', 'CAP_CHOWN'],
      inheritable: ['CAP_CHOWN'],
      ambient: ['CAP_CHOWN'],
    };
  });
  const { stdout } = bundles.call(['exec', '--cap', 'CAP_SYSLOG', 'caps', 'cat', '/proc/self/status']);
  assert.equal(field(stdout, 'CapInh'), '0000000000000001');
  assert.equal(field(stdout, 'CapAmb'), '0000000000000001');
  assert.equal(field(stdout, 'CapEff'), '0000000400000021');
});

test('an ambient capability that cannot be raised is a warning', () => {
  const { code, stdout, stderr } = bundles.run('cat /proc/self/status', ({ process }) => {
    const names = ['CAP_KILL', 'CAP_CHOWN'];
    process['capabilities'] = {
      ...{ bounding: names, effective: names, permitted: names },
      ...{ inheritable: ['CAP_KILL'], ambient: names },
    };
  });
  assert.equal(code, 0);
  assert.equal(field(stdout, 'CapAmb'), '0000000000000020');
  assert.match(stderr, /can't raise ambient capability CAP_CHOWN: /);
});

test('members whose names differ in case are read, as by runtimes in Go', () => {
  const { stdout } = bundles.run('hostname', (config) => {
    const { hostname, ...others } = config;
    Object.assign(config, others, { Hostname: `${hostname}-too` });
    Reflect.deleteProperty(config, 'hostname');
  });
  assert.equal(stdout, 'tsbuild-too\n');
});

test('the affinity of whoever starts a container is not its own', async () => {
  const allowed = field(readFileSync('/proc/self/status', 'utf8'), 'Cpus_allowed_list');
  const bundle = bundles.bundle('grep Cpus_allowed_list /proc/self/status; sleep 1000');
  const call = (args: readonly string[]): string =>
    spawnSync(
      'taskset',
      ['-c', '0', locateNative('tsbuild-runtime'), '--root', join(bundles.directory, 'state'), ...args],
      { cwd: bundle, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], timeout: 30_000 },
    ).stdout;
  const short = bundles.bundle('grep Cpus_allowed_list /proc/self/status');
  assert.equal(field(call(['run', '--bundle', short, 'pinned']), 'Cpus_allowed_list'), allowed);
  await detached(['run', '--detach', 'pinned'], bundles.bundle('sleep 1000'));
  assert.equal(field(call(['exec', 'pinned', 'cat', '/proc/self/status']), 'Cpus_allowed_list'), allowed);
});

test('execCPUAffinity is for further processes alone', async (t) => {
  const allowed = field(readFileSync('/proc/self/status', 'utf8'), 'Cpus_allowed_list');
  if (allowed === '0') return t.skip('there is one processor');
  await running('affinity', ({ process }) => (process['execCPUAffinity'] = { initial: '0', final: '1' }));
  const { stdout } = bundles.call(['exec', 'affinity', 'cat', '/proc/self/status', '/proc/1/status']);
  const [own, first] = [...stdout.matchAll(/^Cpus_allowed_list:\s*(.*)$/gm)].map(([, list]) => list);
  assert.deepEqual([own, first], ['1', allowed]);
});

test('a cgroup with processes of others is refused, and they stay', async () => {
  const path = `/tsbuild/oci-occupied-${process.pid}`;
  const share = ({ linux }: OciConfig): string => (linux['cgroupsPath'] = path);
  await running('first', share);
  const { code, stderr } = bundles.call(['run', 'second'], bundles.bundle('true', share));
  assert.equal(code, 1);
  assert.match(stderr, /container's cgroup is not empty: 1 process/);
  assert.match(bundles.call(['state', 'first']).stdout, /"status":"running"/);
});

test('without a mount namespace of its own a container is confined to its root, and leaves no mounts', () => {
  const bundle = bundles.bundle('ls /; cat /proc/mounts', ({ linux }) => {
    linux.namespaces = linux.namespaces.filter(({ type }) => type !== 'mount');
    linux['maskedPaths'] = linux['readonlyPaths'] = [];
  });
  const { code, stdout, stderr } = bundles.call(['run', 'shared'], bundle);
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(stdout, /^bin\n/);
  assert.equal(readFileSync('/proc/self/mountinfo', 'utf8').includes(bundle), false);
});

test('a root is as shared as its config says', () => {
  const propagation = (name: string): string => {
    const { stdout, stderr } = bundles.run(
      'awk \'$5 == "/" { print $7 }\' /proc/self/mountinfo',
      ({ linux }) => (linux['rootfsPropagation'] = name),
    );
    assert.equal(stderr, '');
    return stdout.trim();
  };
  assert.match(propagation('shared'), /^shared:\d+$/);
  assert.equal(propagation('unbindable'), 'unbindable');
  assert.equal(propagation('private'), '-');
});

test('a startContainer hook runs as its program will: user, filter and variables', () => {
  const bundle = bundles.bundle('true', (config) => {
    config.root.readonly = false;
    config.process['user'] = { uid: 1234, gid: 5678 };
    config.process['env'] = ['PATH=/bin', 'SAID=here'];
    config.hooks = {
      startContainer: [
        { path: '/bin/sh', args: ['sh', '-c', 'echo "$SAID $(id -u)" > /tmp/hook; mkdir /tmp/no'] },
      ],
    };
    config.linux['seccomp'] = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 11 }],
    };
  });
  spawnSync('chmod', ['1777', join(bundle, 'rootfs/tmp')]);
  const { stderr, code } = bundles.call(['run', 'as-program'], bundle);
  assert.equal(code, 1);
  assert.match(stderr, /mkdir: .*Resource temporarily unavailable/);
  assert.match(stderr, /error running startContainer hook #0: .*exit status 1/);
  assert.equal(readFileSync(join(bundle, 'rootfs/tmp/hook'), 'utf8'), 'here 1234\n');
});

test('of a variable that is set twice the last counts, and an empty HOME is none', () => {
  const { stdout } = bundles.run('', ({ process }) => {
    process['env'] = ['HOME=', 'ONE=two', 'PATH=/bin', 'ONE=three'];
    process.args = ['env'];
  });
  assert.deepEqual(stdout.trim().split('\n').toSorted(), ['HOME=/root', 'ONE=three', 'PATH=/bin']);
});

test('a terminal whose output is piped adds no carriage returns', () => {
  const { stdout } = bundles.run('tty -s && echo terminal', ({ process }) => (process.terminal = true));
  assert.equal(stdout, 'terminal\n');
});

test('a script whose interpreter is missing is told apart from a missing program', async () => {
  await running('scripts', ({ root }) => (root.readonly = false));
  const script = 'echo "#!/no/such" > /tmp/run.sh; chmod 755 /tmp/run.sh';
  assert.equal(bundles.call(['exec', 'scripts', 'sh', '-c', script]).code, 0);
  assert.match(
    bundles.call(['exec', 'scripts', '/tmp/run.sh']).stderr,
    /exec \/tmp\/run\.sh: no such file or directory/,
  );
});

test('a container kept after a program that ended at once is stopped', () => {
  for (let round = 0; round < 5; round += 1) {
    const id = `kept-${round}`;
    assert.equal(bundles.call(['run', '--keep', id], bundles.bundle('exit 0')).code, 0);
    assert.match(bundles.call(['state', id]).stdout, /"status":"stopped"/);
    assert.equal(bundles.call(['delete', id]).code, 0);
  }
});

test('SIGKILL is for everybody where the first process is not that of a pid namespace', async () => {
  const shared = ({ linux }: OciConfig): void => {
    linux.namespaces = linux.namespaces.filter(({ type }) => type !== 'pid');
    linux['cgroupsPath'] = `/tsbuild/oci-everybody-${process.pid}`;
  };
  await running('everybody', shared);
  await detached(['exec', '-d', 'everybody', 'sleep', '1000'], bundles.directory);
  const pids = JSON.parse(bundles.call(['ps', '-f', 'json', 'everybody']).stdout) as number[];
  assert.ok(pids.length >= 2);
  assert.equal(bundles.call(['kill', 'everybody', 'KILL']).code, 0);
  assert.deepEqual(bundles.call(['ps', '-f', 'json', 'everybody']).stdout, '[]\n');
  assert.equal(
    bundles.call(['kill', 'everybody', 'KILL']).code,
    0,
    'again: nobody is left, as was asked for',
  );
});

test('a created container ends by SIGTERM', async () => {
  await detached(['create', 'waiting'], bundles.bundle('true'));
  assert.equal(bundles.call(['kill', 'waiting', 'TERM']).code, 0);
  for (let round = 0; round < 1000; round += 1) {
    if (bundles.call(['state', 'waiting']).stdout.includes('"status":"stopped"')) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.fail('it is still there');
});

test('the listener of --pidfd-socket is connected to before the program runs', async () => {
  const path = join(bundles.directory, 'pidfd.sock');
  const server = createServer();
  const connected = new Promise<Socket>((resolve) => server.once('connection', resolve));
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const run = detached(['run', '-d', '--pidfd-socket', path, 'watched'], bundles.bundle('sleep 1000'));
  const socket = await connected;
  const text = await new Promise<Buffer>((resolve) => socket.once('data', resolve));
  assert.equal(text.toString(), 'pidfd');
  await run;
  socket.destroy();
  server.close();
  const { code, stderr } = bundles.call(
    ['run', '-d', '--pidfd-socket', '/no/such.sock', 'unwatched'],
    bundles.bundle('true'),
  );
  assert.equal(code, 1);
  assert.match(stderr, /pidfd socket \(\/no\/such\.sock\): no such file or directory/);
});

test('a further process has the personality of its container', async () => {
  await running('personality', ({ linux }) => (linux['personality'] = { domain: 'LINUX32' }));
  assert.equal(bundles.call(['exec', 'personality', 'uname', '-m']).stdout, 'i686\n');
});

test('time offsets are set in a new user namespace, too', () => {
  const { stdout, stderr } = bundles.run('cat /proc/self/timens_offsets', ({ linux }) => {
    linux.namespaces.push({ type: 'user' }, { type: 'time' });
    const all = [{ containerID: 0, hostID: 0, size: 65536 }];
    Object.assign(linux, { uidMappings: all, gidMappings: all });
    linux['timeOffsets'] = { boottime: { secs: 1337, nanosecs: 3 } };
  });
  assert.equal(stderr, '');
  assert.match(stdout, /^boottime +1337 +3$/m);
});

test('hidden directories are all the same empty file system', () => {
  const { stdout } = bundles.run('stat -c %d /tmp /root; touch /tmp/file || echo refused', (config) => {
    config.linux['maskedPaths'] = ['/tmp', '/root'];
  });
  const [first, second, last] = stdout.trim().split('\n');
  assert.equal(first, second);
  assert.equal(last, 'refused', stdout);
});

test('a bind with attributes of its own does not keep others of its source', () => {
  const directory = join(bundles.directory, 'source');
  mkdirSync(directory);
  spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', directory]);
  spawnSync('mount', ['-o', 'bind,remount,ro,noexec', directory]);
  const optionsOf = (...options: string[]): readonly string[] => {
    const { stdout } = bundles.run('awk \'$2 == "/mnt" { print $4 }\' /proc/mounts', ({ mounts }) =>
      mounts.push({ destination: '/mnt', type: 'bind', source: directory, options: ['bind', ...options] }),
    );
    return stdout.trim().split(',');
  };
  try {
    assert.deepEqual(optionsOf().slice(0, 2), ['ro', 'noexec']);
    assert.deepEqual(optionsOf('nodev').slice(0, 2), ['rw', 'nodev']);
  } finally {
    spawnSync('umount', ['-l', directory]);
  }
});

test('a bind finds its place through symlinks that lead to what is not there yet', () => {
  const bundle = bundles.bundle('cat /tmp/foo/bar/baz/hosts', ({ mounts }) =>
    mounts.push({ destination: '/etc/hosts', source: 'hosts', options: ['bind'] }),
  );
  writeFileSync(join(bundle, 'hosts'), 'content\n');
  rmSync(join(bundle, 'rootfs/etc/hosts'), { force: true });
  symlinkSync('/tmp/foo/bar', join(bundle, 'rootfs/jump'));
  symlinkSync('/jump/baz/hosts', join(bundle, 'rootfs/etc/hosts'));
  assert.deepEqual(bundles.call(['run', 'dangling'], bundle), { stdout: 'content\n', stderr: '', code: 0 });
});

test('a bind may take what earlier mounts brought into the root, by its path on the host', () => {
  const bundle = bundles.bundle('ls -R /final');
  const root = join(bundle, 'rootfs');
  mkdirSync(join(bundle, 'source/below'), { recursive: true });
  const config = JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8')) as OciConfig;
  config.mounts.push(
    { destination: '/mnt', source: 'source', options: ['bind'] },
    { destination: join(root, 'final'), source: join(root, 'mnt'), options: ['rbind'] },
  );
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(config));
  assert.match(bundles.call(['run', 'order'], bundle).stdout, /^\/final:\nbelow\n/);
});

test('a tmpfs without a mode shows the mode of what it hides', () => {
  const { stdout } = bundles.run(
    'awk \'$2 == "/root" { print $4 }\' /proc/mounts; stat -c %a /root',
    (config) => {
      config.mounts.push({ destination: '/root', type: 'tmpfs', source: 'tmpfs', options: [] });
    },
  );
  assert.match(stdout, /\bmode=755\b.*\n755\n$/s);
});

test('realtime shrinks in one update', async (t) => {
  const root = '/sys/fs/cgroup/cpu';
  if (!existsSync(`${root}/cpu.rt_period_us`)) return t.skip('no realtime limits');
  const parent = `tsbuild-test-rt-${process.pid}`;
  mkdirSync(`${root}/${parent}`);
  try {
    writeFileSync(`${root}/${parent}/cpu.rt_runtime_us`, '500000');
    await running('realtime', ({ linux }) => {
      linux['cgroupsPath'] = `/${parent}/one`;
      linux['resources'] = { cpu: { realtimeRuntime: 400000, realtimePeriod: 1000000 } };
    });
    const update = ['update', '--cpu-rt-period', '10000', '--cpu-rt-runtime', '3000', 'realtime'];
    assert.deepEqual(bundles.call(update), { stdout: '', stderr: '', code: 0 });
    assert.equal(readFileSync(`${root}/${parent}/one/cpu.rt_runtime_us`, 'utf8'), '3000\n');
  } finally {
    bundles.call(['delete', '-f', 'realtime']);
    for (const hierarchy of readdirSync('/sys/fs/cgroup'))
      if (existsSync(`/sys/fs/cgroup/${hierarchy}/${parent}`))
        rmdirSync(`/sys/fs/cgroup/${hierarchy}/${parent}`);
  }
});

test('whoever asks for realtime has some, in the cgroup that is there for all, too', (t) => {
  const root = '/sys/fs/cgroup/cpu';
  if (!existsSync(`${root}/cpu.rt_period_us`)) return t.skip('no realtime limits');
  const given = 'cat /sys/fs/cgroup/cpu/cpu.rt_runtime_us; grep ^policy /proc/self/sched | tr -dc 0-9';
  const outcome = (change: (config: OciConfig) => void): string => {
    const { stdout, stderr } = bundles.run(given, change);
    return `${stdout}${stderr}`;
  };
  const scheduler = (policy: string, priority: number) => (config: OciConfig) => {
    config.process['scheduler'] = { policy, priority };
  };
  assert.equal(outcome(scheduler('SCHED_FIFO', 10)), '100000\n1');
  assert.equal(outcome(scheduler('SCHED_RR', 5)), '100000\n2');
  const asked = outcome(({ linux }) => {
    linux['resources'] = { cpu: { realtimeRuntime: 1000, realtimePeriod: 100_000 } };
  });
  assert.match(asked, /^1000\n/);
  assert.match(
    outcome(({ linux }) => (linux['resources'] = { cpu: { realtimeRuntime: 990_000 } })),
    /realtimeRuntime .*invalid argument/,
  );
});

test('a burst is taken back by an update to 0', async (t) => {
  if (!existsSync('/sys/fs/cgroup/cpu/cpu.cfs_burst_us')) return t.skip('no bursts');
  const path = `/tsbuild/oci-burst-${process.pid}`;
  await running('burst', ({ linux }) => {
    linux['cgroupsPath'] = path;
    linux['resources'] = { cpu: { quota: 100000, period: 200000, burst: 50000 } };
  });
  assert.equal(bundles.call(['update', '--cpu-burst', '0', 'burst']).code, 0);
  assert.equal(readFileSync(`/sys/fs/cgroup/cpu${path}/cpu.cfs_burst_us`, 'utf8'), '0\n');
});

test('mounts are added to a container that runs, and removed', async () => {
  await running('late', ({ root }) => (root.readonly = false));
  const source = join(bundles.directory, 'late-source');
  mkdirSync(source);
  writeFileSync(join(source, 'file'), 'late\n');
  const file = join(bundles.directory, 'mounts.json');
  const mounts = [
    { destination: '/tmp/bound', type: 'bind', source, options: ['bind', 'ro'] },
    { destination: '/tmp/memory', type: 'tmpfs', source: 'tmpfs' },
  ];
  writeFileSync(file, JSON.stringify(mounts));
  const seen = (): string => bundles.call(['exec', 'late', 'cat', '/tmp/bound/file', '/proc/mounts']).stdout;
  assert.deepEqual(bundles.call(['mounts', 'add', 'late', file]), { stdout: '', stderr: '', code: 0 });
  assert.match(seen(), /^late\n[^]* \/tmp\/bound \S+ ro\b[^]*tmpfs \/tmp\/memory tmpfs rw/);
  assert.deepEqual(bundles.call(['mounts', 'remove', 'late', file]), { stdout: '', stderr: '', code: 0 });
  assert.doesNotMatch(seen(), /\/tmp\/(bound|memory)|^late/m);
  assert.match(
    bundles.call(['mounts', 'remove', 'late', file]).stderr,
    /mount at .*\/tmp\/bound.*invalid argument/,
  );
  writeFileSync(file, '[{"destination": "/proc/self/attr", "type": "tmpfs"}]');
  assert.match(bundles.call(['mounts', 'add', 'late', file]).stderr, /inside \/proc/);
});

test('the usage of a command is in a line, with the name that it was called by', () => {
  const link = join(bundles.directory, 'crun');
  symlinkSync(locateNative('tsbuild-runtime'), link);
  const usage = (command: string): string | undefined =>
    /^Usage: .*$/m.exec(spawnSync(link, [command, '--help'], { encoding: 'utf8' }).stdout)?.[0];
  assert.equal(usage('start'), 'Usage: crun [OPTION...] start CONTAINER');
  assert.equal(usage('update'), 'Usage: crun [OPTION...] update [OPTION]... CONTAINER');
  assert.equal(usage('mounts'), 'Usage: crun [OPTION...] mounts [add|remove] CONTAINER FILE');
});

test('an id that would be a hidden directory is refused', () => {
  const { code, stderr } = bundles.call(['run', '.hidden'], bundles.bundle('true'));
  assert.equal(code, 1);
  assert.match(stderr, /invalid container ID format: \.hidden: invalid character `\.` in the ID/);
});

test('it is called what the symlink that it was started by is called', () => {
  const link = join(bundles.directory, 'runc');
  symlinkSync(locateNative('tsbuild-runtime'), link);
  const said = (...args: readonly string[]): string => spawnSync(link, args, { encoding: 'utf8' }).stdout;
  assert.match(said('--version'), /^runc version \d/);
  assert.match(said('--help'), /^NAME:\n {3}runc - /);
  assert.match(said('delete', '--help'), /^NAME:\n {3}runc delete - /);
});

test('a script whose interpreter is missing says so in a line of its own, which is none of the log', () => {
  const bundle = bundles.bundle('');
  writeFileSync(join(bundle, 'rootfs/run.sh'), '#!/not/there\n', { mode: 0o755 });
  const config = JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8')) as OciConfig;
  config.process.args = ['/run.sh'];
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(config));
  const { code, stderr } = bundles.call(['run', 'script'], bundle);
  assert.deepEqual([code, stderr], [127, 'exec /run.sh: no such file or directory\n']);
  const logged = bundles.call(['--log', join(bundle, 'log'), 'run', 'script'], bundle);
  assert.equal(logged.stderr, stderr);
  assert.match(readFileSync(join(bundle, 'log'), 'utf8'), /level=error msg="exec \/run.sh: no such/);
});
