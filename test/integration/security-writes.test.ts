/** Attacks on what the launcher writes into the kernel's files for a container: sysctls, labels, oom scores. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import type { PlanOp } from '../../native/plan-ops.ts';
import type { ContainerMount, ContainerSpec } from '../../src/runtime/runtime.ts';
import { openSandbox, type Sandbox } from './runtime-fixture.ts';
import { launchDirectly } from './security-launch.ts';

let box: Sandbox;
before(() => {
  box = openSandbox();
});
after(() => box.close());

/** A file of the image, where a container without a /proc of its own would have one of the kernel's. */
function trap(path: string): string {
  const place = join(box.root, path);
  mkdirSync(dirname(place), { recursive: true });
  writeFileSync(place, 'untouched', { mode: 0o666 });
  return place;
}

const REAL_PROC: ContainerMount = {
  ...{ kind: 'attach', type: 'proc', source: 'proc', target: '/real', bind: false, recursive: false },
  ...{ copyUp: false, remount: false, set: 0, clear: 0, setBelow: 0, clearBelow: 0 },
  ...{ propagation: 0, options: [] },
};

/** With nothing of the kernel's but what is at /real. */
function bare(args: readonly string[], more: Partial<ContainerSpec>): ContainerSpec {
  const spec = box.spec(args, { network: 'none' });
  return { ...spec, kernelMounts: false, mounts: [REAL_PROC], maskedPaths: [], readonlyPaths: [], ...more };
}

test('CVE-2019-16884, CVE-2025-52881: a sysctl goes to the kernel, whatever the image has at /proc', async () => {
  const place = trap('proc/sys/net/ipv4/ip_forward');
  try {
    const { stdout } = await box.run(
      bare(['cat', '/real/sys/net/ipv4/ip_forward'], { sysctls: { 'net.ipv4.ip_forward': '1' } }),
    );
    assert.equal(stdout, '1\n');
    assert.equal(readFileSync(place, 'utf8'), 'untouched');
  } finally {
    rmSync(join(box.root, 'proc/sys'), { recursive: true });
  }
});

test('CVE-2025-52881: an oom score and a label go to the kernel as well, or the program is not started', async () => {
  const score = trap('proc/self/oom_score_adj');
  const labels = ['exec', 'apparmor/exec'].map((name) => trap(`proc/thread-self/attr/${name}`));
  try {
    const { stdout } = await box.run(bare(['cat', '/real/self/oom_score_adj'], { oomScoreAdj: 321 }));
    assert.equal(stdout, '321\n');
    await box.run(bare(['true'], { selinuxLabel: 'no:such:label:s0' })).catch(() => undefined);
    await box.run(bare(['true'], { apparmorProfile: 'no-such-profile' })).catch(() => undefined);
    for (const place of [score, ...labels]) assert.equal(readFileSync(place, 'utf8'), 'untouched', place);
  } finally {
    for (const name of ['self', 'thread-self']) rmSync(join(box.root, 'proc', name), { recursive: true });
  }
});

test('the name of a sysctl or of a label does not climb to another file of procfs', async () => {
  const score = readFileSync('/proc/self/oom_score_adj', 'utf8');
  const climbing: readonly PlanOp[] = [
    { op: 'sysctl', subject: 'attack', name: '../self/oom_score_adj', value: '400' },
    { op: 'sysctl', subject: 'attack', name: 'net/../../self/oom_score_adj', value: '400' },
    { op: 'label', subject: 'attack', file: '../oom_score_adj', value: '400' },
  ];
  for (const attack of climbing) {
    const { started, stdout } = await launchDirectly(box, box.spec(['cat', '/proc/self/oom_score_adj']), {
      change: (ops) => ops.flatMap((each) => (each.op === 'cwd' ? [attack, each] : [each])),
    });
    assert.deepEqual([started, stdout], [false, ''], JSON.stringify(attack));
  }
  assert.equal(readFileSync('/proc/self/oom_score_adj', 'utf8'), score);
});

test('a plan that closes no descriptors is no plan', async () => {
  for (const readonlyRoot of [false, true]) {
    const spec = box.spec(['true'], { readonlyRoot });
    const { started } = await launchDirectly(box, spec, {
      change: (ops) => ops.filter(({ op }) => op !== 'ready'),
    });
    assert.equal(started, false);
  }
});
