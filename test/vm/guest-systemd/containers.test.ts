/** `--cgroup-driver systemd`: run, update, pause, stop, restart by policy, and RUN, in scopes of a real systemd. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { eventually, importBusybox, openWorkspace, type Workspace } from '../../e2e/fixture.ts';

const MiB = 1 << 20;
let space: Workspace;
before(() => {
  space = openWorkspace();
  importBusybox(space);
});
after(() => {
  const left = space.ok(['ps', '-aq']).stdout.trim();
  if (left !== '') space.ok(['rm', '-f', ...left.split('\n')]);
  space[Symbol.dispose]();
});

const show = (unit: string, property: string): string =>
  execFileSync('systemctl', ['show', '--value', '--property', property, unit], { encoding: 'utf8' }).trim();
const cgroupOf = (name: string): string =>
  readFileSync(
    `/proc/${space.ok(['inspect', '-f', '{{.State.Pid}}', name]).stdout.trim()}/cgroup`,
    'latin1',
  ).trim();
const run = (...args: readonly string[]): string =>
  space.ok(['run', '-d', '--network', 'none', '--cgroup-driver', 'systemd', ...args]).stdout.trim();

test('a container lives in a scope, with its limits, from start to end', async () => {
  const id = run('--name', 'web', '-m', '64m', '--pids-limit', '20', 'bb:1', 'sleep', '1000');
  const unit = `tsbuild-${id}.scope`;
  assert.match(cgroupOf('web'), new RegExp(`/system.slice/${unit}$`));
  assert.equal(show(unit, 'ActiveState'), 'active');
  assert.equal(show(unit, 'MemoryMax'), String(64 * MiB));
  assert.equal(show(unit, 'TasksMax'), '20');
  assert.match(space.ok(['exec', 'web', 'cat', '/proc/self/cgroup']).stdout, /^0::\/\n/);
  assert.equal(space.ok(['inspect', '-f', '{{.HostConfig.CgroupDriver}}', 'web']).stdout, 'systemd\n');
  space.ok(['update', '-m', '96m', '--memory-swap', '-1', 'web']);
  assert.equal(show(unit, 'MemoryMax'), String(96 * MiB));
  assert.match(
    space.ok(['stats', '--no-stream', '--format', '{{.MemUsage}} {{.PIDs}}', 'web']).stdout,
    /96MiB 1$/m,
  );
  space.ok(['pause', 'web']);
  space.ok(['unpause', 'web']);
  space.ok(['stop', '-t', '0', 'web']);
  await eventually(() => assert.equal(show(unit, 'LoadState'), 'not-found'));
  space.ok(['start', 'web']);
  assert.equal(show(unit, 'ActiveState'), 'active');
  space.ok(['rm', '-f', 'web']);
  await eventually(() => assert.equal(show(unit, 'LoadState'), 'not-found'));
});

test('a slice is chosen by --cgroup-parent, and what is no slice is refused', () => {
  run('--name', 'sliced', '--cgroup-parent', 'apps.slice', 'bb:1', 'sleep', '1000');
  assert.match(cgroupOf('sliced'), /\/apps\.slice\/tsbuild-[0-9a-f]{64}\.scope$/);
  const refused = space.tsbuild([
    ...['run', '--rm', '--network', 'none', '--cgroup-driver', 'systemd', '--cgroup-parent', '/a/b'],
    ...['bb:1', 'true'],
  ]);
  assert.equal(refused.code, 125);
  assert.match(refused.stderr, /SLICE:PREFIX:NAME/);
});

test('the variable chooses it, a restart by policy works, and cgroupfs goes on beside it', async () => {
  const env = { TSBUILD_CGROUP_DRIVER: 'systemd' };
  const loop = [
    'bb:1',
    'sh',
    '-c',
    'n=$(cat /n 2>/dev/null || echo 0); echo $((n+1)) > /n; [ $n -ge 2 ] && sleep 1000; exit 1',
  ];
  space.ok(
    ['run', '-d', '--name', 'again', '--network', 'none', '--restart', 'always', '-m', '64m', ...loop],
    { env },
  );
  await eventually(() => assert.match(space.ok(['exec', 'again', 'cat', '/n']).stdout, /^3/));
  assert.match(cgroupOf('again'), /system\.slice\/tsbuild-[0-9a-f]{64}\.scope$/);
  const directory = `/sys/fs/cgroup${cgroupOf('again').replace('0::', '')}`;
  assert.equal(readFileSync(`${directory}/memory.max`, 'latin1'), `${64 * MiB}\n`);
  space.ok(['run', '-d', '--name', 'plain', '--network', 'none', 'bb:1', 'sleep', '1000']);
  assert.match(cgroupOf('plain'), /\/tsbuild\/[0-9a-f]{64}$/);
  const ended = space.tsbuild(['run', '--rm', '--cgroup-driver', 'upstart', 'bb:1', 'true']);
  assert.match(ended.stderr, /invalid --cgroup-driver "upstart"/);
});

test('RUN is in a scope, with its limits', () => {
  const context = space.context('steps', {
    Dockerfile:
      'FROM bb:1\nRUN cat /proc/self/cgroup > /own; cat /sys/fs/cgroup/memory.max > /max; cat /sys/fs/cgroup/pids.max >> /max; dd if=/dev/zero of=/dev/null bs=96M count=1\n',
  });
  const build = ['build', '--progress', 'plain', '--network', 'none', '--cgroup-driver', 'systemd'];
  const starved = space.tsbuild([...build, '-m', '64m', '--memory-swap', '64m', context]);
  assert.equal(starved.code, 1);
  assert.match(starved.stderr, /was killed: out of memory \(limit 64 MiB/);
  const done = space.tsbuild([...build, '-m', '640m', '--pids-limit', '30', '-o', 'out', context]);
  assert.equal(done.code, 0, done.stderr);
  assert.equal(readFileSync(`${space.directory}/out/max`, 'utf8'), `${640 * MiB}\n31\n`);
  const scopes = execFileSync(
    'systemctl',
    ['list-units', '--all', '--plain', '--no-legend', 'tsbuild-step*'],
    {
      encoding: 'utf8',
    },
  );
  assert.equal(scopes.trim(), '');
});
