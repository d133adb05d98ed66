/** Containers in scopes of a real systemd, over the bus and over its private socket. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, renameSync } from 'node:fs';
import { after, test } from 'node:test';
import { isTsbuildError } from '../../../src/base/errors.ts';
import { directoryOf, type CgroupPlace } from '../../../src/runtime/cgroups/cgroup.ts';
import { containerDevices } from '../../../src/runtime/cgroups/device-rules.ts';
import { endCgroup, prepareCgroup, updateCgroup } from '../../../src/runtime/cgroups/driver.ts';
import { killAll } from '../../../src/runtime/cgroups/members.ts';
import { memoryReport } from '../../../src/runtime/cgroups/oom.ts';
import { readHierarchies } from '../../../src/runtime/cgroups/read-hierarchies.ts';
import type { Resources } from '../../../src/runtime/cgroups/resources.ts';
import { startScope, stopScope } from '../../../src/runtime/cgroups/systemd/scope.ts';
import type { Container } from '../../../src/runtime/runtime.ts';
import { directoriesLeft, fileOf, until } from '../../integration/cgroup-fixture.ts';
import { openSandbox } from '../../integration/runtime-fixture.ts';

const MiB = 1 << 20;
const box = openSandbox();
after(() => box.close());

const show = (unit: string, property: string): string =>
  execFileSync('systemctl', ['show', '--value', '--property', property, unit], { encoding: 'utf8' }).trim();

interface Running {
  readonly container: Container;
  readonly place: CgroupPlace;
}

async function during(
  path: string,
  resources: Resources,
  args: readonly string[],
  use: (running: Running) => Promise<void>,
): Promise<void> {
  const scope = await prepareCgroup('systemd', {
    hierarchies: readHierarchies(),
    path,
    resources,
    membership: 'all',
  });
  const { cgroup } = scope;
  try {
    await using container = await box.runtime.start(
      { ...box.spec(args), cgroup },
      { kind: 'capture', onOutput: () => undefined },
      { signal: new AbortController().signal },
    );
    scope[Symbol.dispose]();
    await use({ container, place: cgroup.place });
  } finally {
    scope[Symbol.dispose]();
    await endCgroup(cgroup.place);
  }
}

test('a container is in its scope, in its slice, with limits that systemd knows of', async () => {
  const resources: Resources = {
    memory: { limit: 64 * MiB, swap: 64 * MiB },
    cpu: { shares: 512, quota: 50_000, period: 100_000 },
    pids: { limit: 50 },
    devices: containerDevices([], { privileged: false }),
  };
  await during('tsbuild-test.slice:box:one', resources, ['sleep', '60'], async ({ container, place }) => {
    const unit = 'box-one.scope';
    assert.equal(place.unit, unit);
    assert.equal(place.unified?.path, '/tsbuild.slice/tsbuild-test.slice/box-one.scope');
    assert.match(
      readFileSync(`/proc/${container.pid}/cgroup`, 'latin1'),
      /tsbuild-test\.slice\/box-one\.scope$/m,
    );
    assert.equal(show(unit, 'ActiveState'), 'active');
    assert.equal(show(unit, 'Slice'), 'tsbuild-test.slice');
    assert.equal(show(unit, 'MemoryMax'), String(64 * MiB));
    assert.equal(show(unit, 'TasksMax'), '50');
    assert.equal(show(unit, 'CPUQuotaPerSecUSec'), '500ms');
    assert.equal(show(unit, 'Delegate'), 'yes');
    // What systemd would set again is what is set.
    execFileSync('systemctl', ['daemon-reload']);
    assert.equal(fileOf(place, 'memory', 'memory.max'), String(64 * MiB));
    assert.equal(fileOf(place, 'memory', 'memory.swap.max'), '0');
    assert.equal(fileOf(place, 'cpu', 'cpu.weight'), '59');
    assert.equal(fileOf(place, 'cpu', 'cpu.max'), '50000 100000');
    assert.equal(fileOf(place, 'pids', 'pids.max'), '50');
    await Promise.resolve();
  });
});

test('limits are changed in the files and in systemd', async () => {
  await during(':box:two', { memory: { limit: 64 * MiB } }, ['sleep', '60'], async ({ place }) => {
    const resources: Resources = { memory: { limit: 96 * MiB }, pids: { limit: 20 } };
    await updateCgroup(place, resources);
    execFileSync('systemctl', ['daemon-reload']);
    assert.equal(fileOf(place, 'memory', 'memory.max'), String(96 * MiB));
    assert.equal(show('box-two.scope', 'MemoryMax'), String(96 * MiB));
    assert.equal(show('box-two.scope', 'TasksMax'), '20');
  });
});

test('a scope goes with its last process', async () => {
  await during(':box:three', {}, ['sleep', '60'], async ({ container, place }) => {
    await killAll(place, 'SIGKILL');
    assert.deepEqual(await container.exited, { kind: 'signaled', signal: 9 });
    await until('an inactive scope', () => show('box-three.scope', 'ActiveState') === 'inactive');
    await until('no cgroup', () => directoriesLeft(place).length === 0);
  });
});

test('stopping the unit ends the container', async () => {
  await during(':box:four', {}, ['sleep', '60'], async ({ container, place }) => {
    await stopScope(place);
    assert.equal((await container.exited).kind, 'signaled');
    await stopScope(place);
  });
});

test('a process that is killed for want of memory is told of, and leaves no failed unit', async () => {
  const hungry = ['sh', '-c', 'dd if=/dev/zero of=/dev/null bs=96M count=1; sleep 60'];
  await during(':box:five', { memory: { limit: 32 * MiB, swap: 32 * MiB } }, hungry, async ({ place }) => {
    await until('a kill', () => (memoryReport(place)?.kills ?? 0) > 0);
    assert.equal(memoryReport(place)?.limit, 32 * MiB);
  });
  assert.equal(show('box-five.scope', 'LoadState'), 'not-found');
});

test('a name that is taken is refused, and the one that has it stays', async () => {
  await during(':box:six', {}, ['sleep', '60'], async ({ place }) => {
    await assert.rejects(
      startScope({ hierarchies: readHierarchies(), path: ':box:six', resources: {} }),
      (error: unknown) => isTsbuildError(error, 'SYSTEMD_FAILED') && /UnitExists/.test(error.message),
    );
    assert.equal(show('box-six.scope', 'ActiveState'), 'active');
    assert.ok(directoryOf(place.unified ?? assert.fail()).endsWith('/system.slice/box-six.scope'));
  });
});

test('without a bus, systemd is asked directly', async () => {
  const socket = '/run/dbus/system_bus_socket';
  renameSync(socket, `${socket}.away`);
  try {
    await during(':box:seven', { pids: { limit: 9 } }, ['sleep', '60'], async ({ place }) => {
      assert.equal(fileOf(place, 'pids', 'pids.max'), '9');
      await Promise.resolve();
    });
  } finally {
    renameSync(`${socket}.away`, socket);
  }
});
