/** Limits bite, as seen from inside and from outside, on whatever hierarchies this machine has. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { isTsbuildError } from '../../src/base/errors.ts';
import { configDevices, containerDevices, NO_DEVICES } from '../../src/runtime/cgroups/device-rules.ts';
import { describeCgroup } from '../../src/runtime/cgroups/describe.ts';
import { freeze, isFrozen, thaw } from '../../src/runtime/cgroups/freeze.ts';
import { holderOf } from '../../src/runtime/cgroups/hierarchies.ts';
import { hasProcesses, killAll, processesOf } from '../../src/runtime/cgroups/members.ts';
import { memoryReport } from '../../src/runtime/cgroups/oom.ts';
import { removeCgroup } from '../../src/runtime/cgroups/remove.ts';
import { statsOf } from '../../src/runtime/cgroups/stats.ts';
import { updateResources } from '../../src/runtime/cgroups/update.ts';
import { collect } from './runtime-fixture.ts';
import { directoriesLeft, fileOf, openCgroupSandbox, until, type CgroupSandbox } from './cgroup-fixture.ts';

const MiB = 1 << 20;
const cgroups: CgroupSandbox = openCgroupSandbox();
after(() => cgroups.close());

const has = (controller: string) => ({
  skip:
    holderOf(cgroups.hierarchies, controller) === undefined ? `no hierarchy has ${controller} here` : false,
});

/** Takes and touches so many MiB in the shell's child. */
const take = (mebibytes: number): string => `dd if=/dev/zero of=/dev/null bs=${mebibytes}M count=1`;

test(
  'a process beyond its memory is killed, and the report says so with limit and peak',
  has('memory'),
  async () => {
    const outcome = await cgroups.sh(
      { memory: { limit: 32 * MiB, swap: 32 * MiB } },
      `${take(64)}; echo "status $?"`,
    );
    assert.equal(outcome.memory?.kills, 1);
    assert.equal(outcome.memory.limit, 32 * MiB);
    assert.ok((outcome.memory.peak ?? 32 * MiB) > 30 * MiB && (outcome.memory.peak ?? 0) <= 32 * MiB);
    assert.equal(outcome.stdout, 'status 137\n');
    const within = await cgroups.sh({ memory: { limit: 64 * MiB } }, take(16));
    assert.deepEqual(within.status, { kind: 'exited', code: 0 });
    assert.equal(within.memory?.kills, 0);
  },
);

test('a processor quota takes effect', has('cpu'), async () => {
  const script = `i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; cat /proc/self/stat >/dev/null; times`;
  const outcome = await cgroups.sh({ cpu: { quota: 10_000, period: 100_000 } }, script);
  const { cpu } = outcome.stats;
  assert.ok(cpu !== undefined && cpu.throttledPeriods > 0, JSON.stringify(cpu));
  assert.ok(cpu.throttled > 0 && cpu.periods >= cpu.throttledPeriods);
  // It ran for at most 10 ms of each period, some slack for the last slice of each.
  assert.ok(cpu.usage / cpu.periods < 25e6, `${cpu.usage / cpu.periods} ns in each period`);
});

test('a limit of processes stops a fork bomb', has('pids'), async () => {
  const script = 'trap "echo stopped" EXIT; for i in $(seq 40); do sleep 60 & done; echo none';
  const outcome = await cgroups.sh({ pids: { limit: 12 } }, script);
  assert.equal(outcome.stats.pids?.limit, 12);
  assert.match(outcome.stderr, /can't fork/);
  assert.doesNotMatch(outcome.stdout, /none/);
});

test('what is inside counts and sees its own limits', has('pids'), async () => {
  await cgroups.during(
    { pids: { limit: 30 }, memory: { limit: 64 * MiB } },
    'sleep 60 & sleep 60; :',
    async (running) => {
      await until('two sleeps', () => processesOf(running.place).length === 3);
      assert.ok(processesOf(running.place).includes(running.container.pid));
      assert.ok(hasProcesses(running.place));
      const stats = statsOf(running.place);
      assert.equal(stats.pids?.current, 3);
      assert.equal(stats.memory?.limit, 64 * MiB);
      assert.ok(stats.memory.usage > 0 && stats.cpu !== undefined && stats.cpu.usage > 0);
    },
  );
});

test('the container sees itself at the root of its cgroups', async () => {
  const outcome = await cgroups.sh({}, 'cat /proc/self/cgroup');
  const lines = outcome.stdout.trim().split('\n');
  assert.ok(lines.length > 0);
  for (const line of lines) assert.match(line, /:\/$/);
});

test('writing is throttled', has('blkio'), async (context) => {
  const directory = mkdtempSync(join(cgroups.box.directory, 'io-'));
  const { dev } = statSync(dirname(directory));
  const device = { major: (dev >> 8) & 0xfff, minor: (dev & 0xff) | ((dev >> 12) & 0xfff00) };
  if (device.major === 0) {
    context.skip('the temporary directory is on no block device');
    return;
  }
  const timed = async (rate: number): Promise<number> => {
    const begin = process.hrtime.bigint();
    const outcome = await cgroups.sh(
      { blockIO: { throttleWriteBpsDevice: [{ ...device, rate }] } },
      'dd if=/dev/zero of=/tmp/io bs=1M count=4 oflag=direct 2>&1 || dd if=/dev/zero of=/tmp/io bs=1M count=4 conv=fsync 2>&1',
    );
    assert.deepEqual(outcome.status, { kind: 'exited', code: 0 }, outcome.stdout);
    const written = (outcome.stats.blockIO ?? [])
      .filter(({ operation }) => operation === 'Write')
      .reduce((sum, { bytes }) => sum + bytes, 0);
    assert.ok(written >= 4 * MiB, `${written} bytes were counted`);
    return Number(process.hrtime.bigint() - begin) / 1e9;
  };
  const slow = await timed(2 * MiB);
  assert.ok(slow > 1.4, `4 MiB at 2 MiB/s took ${slow} s`);
  rmSync(directory, { recursive: true });
});

test('processors can be chosen', has('cpuset'), async () => {
  const outcome = await cgroups.sh({ cpu: { cpus: '0' } }, 'grep Cpus_allowed_list /proc/self/status');
  assert.match(outcome.stdout, /:\s+0$/m);
});

test('only the usual devices can be opened', has('devices'), async () => {
  const script =
    'mknod /tmp/d b 254 0; mknod /tmp/k c 1 11; cat /dev/null; head -c1 /dev/zero | wc -c; (cat /tmp/d) 2>&1 | head -c 99; (cat /tmp/k) 2>&1';
  const outcome = await cgroups.sh({ devices: containerDevices([], { privileged: false }) }, script);
  assert.match(outcome.stdout, /^1\n/);
  assert.match(outcome.stdout, /\/tmp\/d.*Operation not permitted/);
  assert.match(outcome.stdout, /\/tmp\/k.*Operation not permitted/);
  const readable = await cgroups.sh(
    { devices: configDevices([NO_DEVICES], [{ allow: false, type: 'c', major: 1, minor: 5, access: 'w' }]) },
    '(exec 3</dev/zero) && echo opened; (exec 3>/dev/zero) || echo refused',
  );
  assert.equal(readable.stdout, 'opened\nrefused\n');
});

test('limits can be changed while it runs', has('memory'), async () => {
  await cgroups.during(
    { memory: { limit: 32 * MiB, swap: 32 * MiB }, pids: { limit: 10 } },
    'sleep 60',
    async ({ place }) => {
      updateResources(place, { memory: { limit: 96 * MiB, swap: 96 * MiB }, pids: { limit: -1 } });
      assert.equal(memoryReport(place)?.limit, 96 * MiB);
      assert.equal(statsOf(place).pids?.limit, undefined);
      updateResources(place, {
        memory: { limit: 48 * MiB, swap: 64 * MiB },
        cpu: { quota: 50_000, period: 200_000, shares: 512 },
      });
      assert.equal(memoryReport(place)?.limit, 48 * MiB);
      updateResources(place, { cpu: { period: 50_000 } });
      const [file, expected] =
        holderOf(place, 'cpu')?.version === 2 ? ['cpu.max', '50000 50000'] : ['cpu.cfs_period_us', '50000'];
      assert.equal(fileOf(place, 'cpu', file), expected);
      assert.throws(
        () => updateResources(place, { memory: { limit: 4096, checkBeforeUpdate: true } }),
        (error: unknown) => isTsbuildError(error, 'CGROUP_FAILED'),
      );
    },
  );
});

test('a paused container does nothing until it is resumed', has('freezer'), async () => {
  const script = 'i=0; while :; do i=$((i+1)); echo $i; usleep 5000; done';
  await cgroups.during({}, script, async ({ place, output }) => {
    await until('output', () => output().length > 0);
    await freeze(place);
    assert.ok(isFrozen(place));
    await new Promise((resolve) => setTimeout(resolve, 100));
    const before = output();
    await new Promise((resolve) => setTimeout(resolve, 200));
    assert.equal(output(), before);
    await thaw(place);
    assert.ok(!isFrozen(place));
    await until('more output', () => output().length > before.length);
  });
});

test('a paused container can be killed', has('freezer'), async () => {
  await cgroups.during({}, 'sleep 60', async ({ place, exited }) => {
    await freeze(place);
    assert.equal(await killAll(place, 'SIGKILL'), true);
    assert.deepEqual(await exited, { kind: 'signaled', signal: 9 });
    assert.deepEqual(processesOf(place), []);
  });
});

test('killing reaches everything, and nothing of the cgroup is left', async () => {
  await cgroups.during(
    {},
    'for i in 1 2 3 4 5 6 7 8; do (setsid sleep 60 &) ; done; sleep 60',
    async ({ place }) => {
      await until('nine processes', () => processesOf(place).length >= 9);
      await removeCgroup(place, { kill: true });
      assert.deepEqual(directoriesLeft(place), []);
      await removeCgroup(place);
    },
  );
});

test('a refused value names the part of the config and the file', has('cpu'), async () => {
  const cgroup = describeCgroup({
    hierarchies: cgroups.hierarchies,
    path: cgroups.path(),
    resources: { cpu: { quota: 1 } },
    membership: 'all',
    subject: 'linux.resources.',
  });
  try {
    await collect(cgroups.box.runtime, { ...cgroups.box.spec(['true']), cgroup });
    assert.fail('it started');
  } catch (error) {
    assert.ok(isTsbuildError(error, 'CONTAINER_START_FAILED'), String(error));
    assert.match(
      error.message,
      /linux\.resources\.cpu\.quota .*"\/sys\/.*cpu\.(max|cfs_quota_us)".*: EINVAL/,
    );
  } finally {
    await removeCgroup(cgroup.place);
  }
  assert.deepEqual(directoriesLeft(cgroup.place), []);
});

test('a cgroup that others are in is refused, and left alone', has('memory'), async () => {
  await cgroups.during({}, 'sleep 60', async ({ place }) => {
    const path = [...place.v1, ...(place.unified === undefined ? [] : [place.unified])][0]?.path ?? '/';
    const second = describeCgroup({
      hierarchies: cgroups.hierarchies,
      path,
      resources: {},
      membership: 'all',
    });
    await assert.rejects(
      collect(cgroups.box.runtime, { ...cgroups.box.spec(['true']), cgroup: second }),
      /EBUSY/,
    );
    assert.ok(hasProcesses(place));
  });
});
