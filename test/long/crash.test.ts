import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import {
  importBusybox,
  leftovers,
  openWorkspace,
  startRegistry,
  type RunningRegistry,
  type Workspace,
} from '../e2e/fixture.ts';

/** Each phase is killed this often, at random moments. */
const ROUNDS = 3;

let space: Workspace;
let registry: RunningRegistry;
before(async () => {
  space = openWorkspace();
  importBusybox(space);
  registry = await startRegistry(space.directory);
});
after(async () => {
  await registry[Symbol.asyncDispose]();
  space[Symbol.dispose]();
});

async function killed(args: readonly string[], afterMs: number): Promise<void> {
  const child = space.start(args);
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const timer = setTimeout(() => child.kill('SIGKILL'), afterMs);
  await ended;
  clearTimeout(timer);
}

async function settled(): Promise<readonly string[]> {
  let left = leftovers(space.root);
  for (let tried = 0; tried < 100 && left.length > 0; tried += 1) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    left = leftovers(space.root);
  }
  return left;
}

const PHASES: Readonly<
  Record<string, { readonly dockerfile: string; readonly push: boolean; readonly span: number }>
> = {
  RUN: {
    dockerfile:
      'FROM bb:1\nRUN for i in $(seq 200); do echo $i > /f$i; done; dd if=/dev/zero of=/big bs=1M count=60\n',
    push: false,
    span: 500,
  },
  COPY: { dockerfile: 'FROM bb:1\nCOPY . /all\n', push: false, span: 500 },
  push: {
    dockerfile: 'FROM bb:1\nCOPY . /pushed\nRUN dd if=/dev/urandom of=/random bs=1M count=20\n',
    push: true,
    span: 1500,
  },
};

for (const [phase, { dockerfile, push, span }] of Object.entries(PHASES))
  test(`kill -9 during ${phase} leaves a store that the next build uses, and nothing on the machine`, async () => {
    const files = Object.fromEntries(
      Array.from({ length: 300 }, (_, index) => [`d${index % 10}/f${index}`, `${index}`.repeat(200)]),
    );
    const context = space.context(`crash-${phase}`, { Dockerfile: dockerfile, ...files });
    writeFileSync(join(context, 'big'), Buffer.alloc(50 << 20, 7));
    const name = push ? `${registry.host}/crash/app:1` : 'crash';
    const args = ['--no-cache', '--progress', 'plain', '-t', name, ...(push ? ['--push'] : []), context];
    for (let round = 0; round < ROUNDS; round += 1) {
      await killed(args, 60 + randomInt(span));
      assert.deepEqual(await settled(), []);
      assert.match(space.ok(['system', 'check']).stdout, /no damage/);
    }
    space.ok(args);
    assert.match(space.ok(['system', 'check']).stdout, /no damage/);
    assert.deepEqual(await settled(), []);
  });
