/** Limits of build steps: they bite, are told of, count for no key, and leave nothing. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { holderOf } from '../../src/runtime/cgroups/hierarchies.ts';
import { readHierarchies } from '../../src/runtime/cgroups/read-hierarchies.ts';
import { importBusybox, openWorkspace, type Ended, type Workspace } from './fixture.ts';

const hierarchies = readHierarchies();
const has = (controller: string) => ({
  skip: holderOf(hierarchies, controller) === undefined ? `no hierarchy has ${controller} here` : false,
});

let space: Workspace;
let serial = 0;
before(() => {
  space = openWorkspace();
  importBusybox(space);
});
after(() => space[Symbol.dispose]());

function contextOf(step: string): string {
  serial += 1;
  return space.context(`l${serial}`, { Dockerfile: `FROM bb:1\nRUN ${step}\n` });
}

function build(step: string, ...args: string[]): Ended {
  return space.tsbuild(['build', '--progress', 'plain', ...args, contextOf(step)]);
}

/** Steps' cgroups below any hierarchy's /tsbuild; others' builds may be among them. */
function stepCgroups(): readonly string[] {
  const { v1, unified } = hierarchies;
  return [...v1, ...(unified === undefined ? [] : [unified])].flatMap(({ mountPoint }) => {
    const parent = `${mountPoint}/tsbuild`;
    return existsSync(parent)
      ? readdirSync(parent)
          .filter((name) => name.startsWith('step-'))
          .map((name) => `${parent}/${name}`)
      : [];
  });
}

const EAT = 'dd if=/dev/zero of=/dev/null bs=96M count=1';

test('a step beyond its memory fails with limit, peak and a hint', has('memory'), () => {
  const { code, stderr } = build(EAT, '--memory', '64m', '--memory-swap', '64m');
  assert.equal(code, 1);
  assert.match(
    stderr,
    /error: RUN was killed: out of memory \(limit 64 MiB, peak 6[34](?:\.\d)? MiB\) \[RUN_FAILED\]/,
  );
  assert.match(stderr, /hint: give the step more with --memory/);
  assert.match(stderr, /> {2}2 \| RUN dd/);
});

test('a step that goes on after a kill says so, whether it fails or not', has('memory'), () => {
  const failed = build(`${EAT} || exit 3`, '-m', '64m', '--memory-swap', '64m');
  assert.match(failed.stderr, /RUN exited with code 3 after a process of it was killed: out of memory/);
  const survived = build(`${EAT} || true`, '-m', '64m', '--memory-swap', '64m');
  assert.equal(survived.code, 0, survived.stderr);
  assert.match(survived.stderr, /a process of this step was killed: out of memory \(limit 64 MiB/);
});

test('limits count for no key', has('pids'), () => {
  const context = contextOf('echo once');
  space.ok(['build', '--progress', 'plain', context]);
  const again = space.ok(['build', '--progress', 'plain', '--pids-limit', '99', '--cpus', '0.5', context]);
  assert.match(again.stderr, /0 executed/);
});

test('processes are limited', has('pids'), () => {
  const { stderr, code } = build('for i in $(seq 30); do sleep 30 & done', '--pids-limit', '10');
  assert.notEqual(code, 0);
  assert.match(stderr, /can't fork/);
});

test('processors are limited', has('cpu'), () => {
  const spin = 'i=0; while [ $i -lt 40000 ]; do i=$((i+1)); done; awk \'{print "waited", $1}\' /proc/uptime';
  const timed = (...args: string[]): number => {
    const begin = process.hrtime.bigint();
    const { code, stderr } = build(spin, '--no-cache', ...args);
    assert.equal(code, 0, stderr);
    return Number(process.hrtime.bigint() - begin) / 1e6;
  };
  const bound = timed('--cpu-quota', '5000', '--cpu-period', '100000');
  // A machine that is busy with something else is asked again.
  let free = timed();
  for (let attempt = 0; attempt < 3 && free >= bound; attempt += 1) free = Math.min(free, timed());
  assert.ok(bound > free, `${bound} ms with a twentieth of a processor, ${free} ms without`);
});

test('a step cannot open a disk of the host, whatever node it makes', has('devices'), () => {
  const step = 'mknod /tmp/disk b 254 0 && (head -c1 /tmp/disk; head -c1 /dev/zero | wc -c; rm /tmp/disk)';
  const { stderr, code } = build(step);
  assert.equal(code, 0, stderr);
  assert.match(stderr, /\/tmp\/disk: Operation not permitted/);
});

test('a parent can be chosen; what makes no sense is refused', has('memory'), () => {
  const refused = build('true', '--cgroup-parent', '../x');
  assert.notEqual(refused.code, 0);
  assert.match(refused.stderr, /invalid path of a cgroup/);
  const little = build('true', '--memory', '1m');
  assert.equal(little.code, 2);
  const much = build('true', '--cpu-quota', '5');
  assert.match(much.stderr, /cannot start the container: cpu\.quota .*: EINVAL/);
  assert.match(much.stderr, /hint: check the value/);
});

test('a killed build leaves no cgroup that the next one does not remove', has('memory'), async () => {
  const child = space.start(['build', '--progress', 'plain', contextOf('echo running; sleep 60')]);
  let text = '';
  child.stderr?.on('data', (data: Buffer) => {
    text += data.toString();
  });
  while (!/\d running$/m.test(text)) await new Promise((resolve) => setTimeout(resolve, 20));
  const own = (): readonly string[] =>
    stepCgroups().filter((path) => path.includes(`/step-${String(child.pid)}.`));
  assert.ok(own().length > 0);
  child.kill('SIGKILL');
  await once(child, 'exit');
  // Its processes go by themselves; then the next build finds nobody there.
  for (let round = 0; round < 100 && own().length > 0; round += 1) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    build(`echo round ${round}`);
  }
  assert.deepEqual(own(), []);
});
