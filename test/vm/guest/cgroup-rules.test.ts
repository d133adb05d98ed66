/** What cgroup v2 alone has: handing down controllers, types of cgroups, device programs, killing at once. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { after, test } from 'node:test';
import fc from '../../suites/properties.ts';
import { filterDevices } from '../../../native/sys.ts';
import { isTsbuildError } from '../../../src/base/errors.ts';
import { directoryOf, type CgroupDescription } from '../../../src/runtime/cgroups/cgroup.ts';
import { describeCgroup } from '../../../src/runtime/cgroups/describe.ts';
import { compileDeviceProgram } from '../../../src/runtime/cgroups/device-program.ts';
import { containerDevices, NO_DEVICES } from '../../../src/runtime/cgroups/device-rules.ts';
import { joinCgroup } from '../../../src/runtime/cgroups/join.ts';
import { killAll, processesOf } from '../../../src/runtime/cgroups/members.ts';
import { placeOfProcess } from '../../../src/runtime/cgroups/place-of.ts';
import { removeCgroup, tryRemoveCgroup } from '../../../src/runtime/cgroups/remove.ts';
import type { Resources } from '../../../src/runtime/cgroups/resources.ts';
import { updateResources } from '../../../src/runtime/cgroups/update.ts';
import { fileOf, openCgroupSandbox, until } from '../../integration/cgroup-fixture.ts';
import { collect } from '../../integration/runtime-fixture.ts';

const ROOT = '/sys/fs/cgroup';
const cgroups = openCgroupSandbox();
after(() => cgroups.close());

function describe(path: string, resources: Resources) {
  return describeCgroup({ hierarchies: cgroups.hierarchies, path, resources, membership: 'all' });
}

/** Starts a container there and gives its error. */
async function refusal(path: string, resources: Resources) {
  const cgroup = describe(path, resources);
  try {
    await collect(cgroups.box.runtime, { ...cgroups.box.spec(['true']), cgroup });
  } catch (error) {
    assert.ok(isTsbuildError(error, 'CONTAINER_START_FAILED'), String(error));
    return error;
  } finally {
    await removeCgroup(cgroup.place);
  }
  return assert.fail('it started');
}

test('this is cgroup v2 alone', () => {
  assert.deepEqual(cgroups.hierarchies.v1, []);
  assert.equal(cgroups.hierarchies.unified?.mountPoint, ROOT);
});

test('every level above hands its controllers down', async () => {
  const cgroup = describe('/levels/a/b', { memory: { limit: 64 << 20 }, cpu: { shares: 2048 } });
  const outcome = await collect(cgroups.box.runtime, { ...cgroups.box.spec(['true']), cgroup });
  assert.deepEqual(outcome.status, { kind: 'exited', code: 0 });
  assert.match(readFileSync(`${ROOT}/levels/cgroup.subtree_control`, 'latin1'), /memory/);
  assert.match(readFileSync(`${ROOT}/levels/a/cgroup.subtree_control`, 'latin1'), /cpu.*memory|memory.*cpu/);
  assert.equal(fileOf(cgroup.place, 'cpu', 'cpu.weight'), '174');
  await removeCgroup(cgroup.place);
  for (const path of ['/levels/a', '/levels']) rmdirSync(`${ROOT}${path}`);
});

test('a parent with processes of its own can hand nothing down, and the error says so', async () => {
  const parent = `${ROOT}/busy`;
  mkdirSync(parent);
  const sleeper = spawn('sleep', ['60'], { stdio: 'ignore' });
  try {
    writeFileSync(`${parent}/cgroup.procs`, String(sleeper.pid));
    const error = await refusal('/busy/inner', { memory: { limit: 64 << 20 } });
    assert.match(error.message, /busy".*: (EBUSY|EOPNOTSUPP)/);
    assert.match(error.hint ?? '', /processes of its own/);
    // Without a limit there is nothing to hand down.
    const cgroup = describe('/busy/inner', {});
    const outcome = await collect(cgroups.box.runtime, { ...cgroups.box.spec(['true']), cgroup });
    assert.deepEqual(outcome.status, { kind: 'exited', code: 0 });
    await removeCgroup(cgroup.place);
  } finally {
    sleeper.kill('SIGKILL');
    await until('an empty parent', () => tryRemoveCgroup(describe('/busy', {}).place) === undefined);
  }
});

test('a threaded parent holds no container, and the error says so', async () => {
  mkdirSync(`${ROOT}/threads/domain`, { recursive: true });
  try {
    writeFileSync(`${ROOT}/threads/domain/cgroup.type`, 'threaded');
    const error = await refusal('/threads/inner', {});
    assert.match(error.message, /EOPNOTSUPP|ENOTSUP/);
    assert.match(error.hint ?? '', /threaded/);
  } finally {
    rmdirSync(`${ROOT}/threads/domain`);
    rmdirSync(`${ROOT}/threads`);
  }
});

test('the verifier takes every device program', () => {
  mkdirSync(`${ROOT}/devices`);
  const small = fc.integer({ min: -1, max: 300 });
  const rule = fc.record(
    {
      allow: fc.boolean(),
      type: fc.constantFrom('a', 'b', 'c', 'u', 'p'),
      major: small,
      minor: small,
      access: fc.constantFrom('r', 'w', 'm', 'rw', 'rwm', ''),
    },
    { requiredKeys: ['allow'] },
  );
  try {
    fc.assert(
      fc.property(fc.array(rule, { maxLength: 40 }), (rules) => {
        filterDevices(`${ROOT}/devices`, compileDeviceProgram(rules));
      }),
      { numRuns: 300 },
    );
  } finally {
    rmdirSync(`${ROOT}/devices`);
  }
});

test('new device rules take the place of the old ones', async () => {
  const script =
    'until [ -e /tmp/go ]; do usleep 5000; done; (exec 3</dev/zero) && echo opened || echo refused';
  const usual = containerDevices([], { privileged: false });
  await cgroups.during({ devices: usual }, script, async ({ place, exited, output }) => {
    updateResources(place, {
      devices: [...usual, { allow: false, type: 'c', major: 1, minor: 5, access: 'r' }],
    });
    updateResources(place, { devices: [NO_DEVICES] });
    updateResources(place, { devices: usual });
    writeFileSync(`${cgroups.box.root}/tmp/go`, '');
    await exited;
    assert.equal(output(), 'opened\n');
  });
});

test('a fork bomb is killed at once', async () => {
  const bomb = 'b() { (b &) ; (b &) ; sleep 1; }; b; sleep 60';
  await cgroups.during({ pids: { limit: 100 } }, bomb, async ({ place }) => {
    await until('many processes', () => processesOf(place).length > 50);
    assert.equal(await killAll(place, 'SIGKILL'), true);
    assert.deepEqual(processesOf(place), []);
  });
});

test('files of v2 are set as they are', async () => {
  const unified = { 'memory.high': '33554432', 'pids.max': '77', 'cgroup.max.depth': '3' };
  await cgroups.during({ unified }, 'sleep 60', async ({ place }) => {
    assert.equal(fileOf(place, 'memory', 'memory.high'), '33554432');
    assert.equal(fileOf(place, 'pids', 'pids.max'), '77');
    assert.equal(fileOf(place, 'freezer', 'cgroup.max.depth'), '3');
    await Promise.resolve();
  });
});

test('cgroups that a container made in its own go with it', async () => {
  const cgroup = describe(cgroups.path(), {});
  const outcome = await collect(cgroups.box.runtime, { ...cgroups.box.spec(['true']), cgroup });
  assert.deepEqual(outcome.status, { kind: 'exited', code: 0 });
  const { unified } = cgroup.place;
  assert.ok(unified !== undefined);
  mkdirSync(`${directoryOf(unified)}/inner/most`, { recursive: true });
  await removeCgroup(cgroup.place);
  assert.throws(() => readFileSync(`${directoryOf(unified)}/cgroup.procs`), /ENOENT/);
});

test('a further process joins the first one where that is now', async () => {
  const sleeper = ['sleep', '60'];
  await cgroups.during({}, 'exec sleep 60', async ({ container, place }) => {
    const own = directoryOf(place.unified ?? assert.fail());
    // What an init that makes cgroups of its own does.
    mkdirSync(`${own}/init`);
    writeFileSync(`${own}/init/cgroup.procs`, String(container.pid));
    writeFileSync(`${own}/cgroup.subtree_control`, '+memory');
    const start = (cgroup: CgroupDescription) =>
      cgroups.box.runtime.start(
        { ...cgroups.box.spec(sleeper), cgroup },
        { kind: 'capture', onOutput: () => undefined },
        { signal: new AbortController().signal },
      );
    await assert.rejects(start(joinCgroup(place)), /EBUSY/);
    const where = placeOfProcess(container.pid) ?? assert.fail();
    await using second = await start(joinCgroup(where));
    assert.match(readFileSync(`${own}/init/cgroup.procs`, 'latin1'), new RegExp(`^${second.pid}$`, 'm'));
    second.kill('SIGKILL');
    await second.exited;
  });
});
