/** Cgroups of build steps: one is used again, by a step that has none of what was in it, and none stays. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmdirSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { startTimeOf } from '../../src/base/owner.ts';
import { createStepCgroups, type StepCgroups } from '../../src/engine/step-cgroups.ts';
import { directoryOf, placesOf, type CgroupDescription } from '../../src/runtime/cgroups/cgroup.ts';
import { holderOf } from '../../src/runtime/cgroups/hierarchies.ts';
import type { Resources } from '../../src/runtime/cgroups/resources.ts';
import type { MemoryReport } from '../../src/runtime/runtime.ts';
import { openSandbox, type Sandbox } from './runtime-fixture.ts';

let box: Sandbox;
before(() => {
  box = openSandbox();
});
after(() => box.close());

let serial = 0;
function open(limits: Resources = {}): StepCgroups {
  const owner = `${process.pid}.${startTimeOf(process.pid) ?? ''}`;
  const host = { now: () => Date.now(), unique: () => `${owner}.${(serial += 1)}` };
  return createStepCgroups({ host, limits, driver: 'cgroupfs' });
}

interface Step {
  readonly cgroup: CgroupDescription;
  readonly stdout: string;
  readonly report: MemoryReport | undefined;
}

async function step(cgroups: StepCgroups, script: string, privileged = false): Promise<Step> {
  const cgroup = await cgroups.prepare({ privileged });
  const spec = { ...box.spec(['sh', '-c', script]), cgroup };
  const { stdout } = await box.run(spec);
  return { cgroup, stdout, report: await cgroups.end(spec, true) };
}

const pathsOf = ({ place }: CgroupDescription): readonly string[] => placesOf(place).map(directoryOf);

test('a step takes the cgroup of one that has ended, and they are gone in the end', async () => {
  const cgroups = open();
  const first = await step(
    cgroups,
    'head -c 40000000 /dev/zero > /dev/shm/f; cat /proc/self/cgroup | grep -c step-',
  );
  const second = await step(cgroups, 'cat /proc/self/cgroup | grep -c step-');
  assert.deepEqual(pathsOf(second.cgroup), pathsOf(first.cgroup));
  assert.equal(second.stdout, first.stdout);
  assert.ok(pathsOf(first.cgroup).every((path) => existsSync(path)));
  if (holderOf(first.cgroup.place, 'memory') !== undefined) {
    assert.ok((first.report?.peak ?? 0) > 40_000_000);
    assert.ok(second.report !== undefined && second.report.peak === undefined, "another step's peak is told");
  }
  await cgroups.close();
  assert.ok(pathsOf(first.cgroup).every((path) => !existsSync(path)));
});

test('a device that is forbidden to the first step is so to those after it', async () => {
  const cgroups = open();
  const script = 'mknod /tmp/kmsg c 1 11 && (head -c 1 /tmp/kmsg 2>&1; rm /tmp/kmsg)';
  for (let round = 0; round < 3; round += 1)
    assert.match((await step(cgroups, script)).stdout, /Operation not permitted/);
  await cgroups.close();
});

test('a cgroup whose step did not start is not used again', async () => {
  const cgroups = open();
  const cgroup = await cgroups.prepare({ privileged: false });
  await cgroups.end({ ...box.spec(['true']), cgroup }, false);
  const { cgroup: next } = await step(cgroups, 'true');
  assert.notDeepEqual(pathsOf(next), pathsOf(cgroup));
  await cgroups.close();
});

test('steps at the same time have cgroups of their own, and so has a privileged one', async () => {
  const cgroups = open();
  const [one, two] = await Promise.all([step(cgroups, 'sleep 0.1'), step(cgroups, 'sleep 0.1')]);
  assert.notDeepEqual(pathsOf(one.cgroup), pathsOf(two.cgroup));
  const known = [one, two].map(({ cgroup }) => pathsOf(cgroup).join(' '));
  const privileged = await step(cgroups, 'true', true);
  assert.ok(!known.includes(pathsOf(privileged.cgroup).join(' ')));
  assert.ok(known.includes(pathsOf((await step(cgroups, 'true')).cgroup).join(' ')));
  await cgroups.close();
});

test('a cgroup that somebody removed, or that has limits, is not used again', async () => {
  const cgroups = open();
  const first = await step(cgroups, 'true');
  for (const path of pathsOf(first.cgroup)) rmdirSync(path);
  const second = await step(cgroups, 'grep -c step- /proc/self/cgroup');
  assert.notDeepEqual(pathsOf(second.cgroup), pathsOf(first.cgroup));
  await cgroups.close();
  const limited = open({ memory: { limit: 64 << 20 } });
  const [a, b] = [await step(limited, 'true'), await step(limited, 'true')];
  assert.notDeepEqual(pathsOf(a.cgroup), pathsOf(b.cgroup));
  assert.ok(pathsOf(a.cgroup).every((path) => !existsSync(path)));
  await limited.close();
  assert.doesNotMatch(readFileSync('/proc/self/cgroup', 'utf8'), /step-/);
});
