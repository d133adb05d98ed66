/** Builds side by side on one state root, as processes of their own: the same step runs once, and nobody waits for the dead. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { ProgressEvent } from '../../src/progress/progress.ts';
import { eventually, importBusybox, leftovers, openWorkspace, type Workspace } from './fixture.ts';

let space: Workspace;
before(() => {
  space = openWorkspace();
  importBusybox(space);
});
after(() => space[Symbol.dispose]());

interface Running {
  readonly child: ChildProcess;
  /** Kinds of states that the step has had so far. */
  readonly states: () => readonly string[];
  readonly ended: Promise<number | null>;
  readonly stderr: () => string;
}

/** Each execution of the step leaves a line in its cache mount, and takes until `letGo`. */
function contextOf(name: string): string {
  return space.context(name, {
    Dockerfile: `FROM bb:1\nRUN --mount=type=cache,id=${name},target=/c echo x >> /c/log; until test -e /c/go; do sleep 0.02; done; cp /c/log /log\n`,
  });
}

/** Lets go on what waits in a step of `contextOf`, now and later. */
function letGo(): void {
  const caches = join(space.root, 'run/caches');
  for (const name of readdirSync(caches)) writeFileSync(join(caches, name, 'go'), '');
}

function build(context: string, ...more: readonly string[]): Running {
  const child = space.start(['--progress', 'json', ...more, context]);
  let stderr = '';
  child.stderr?.on('data', (data: Buffer) => (stderr += data.toString()));
  const events = (): readonly ProgressEvent[] =>
    stderr
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'))
      .map((line) => JSON.parse(line) as ProgressEvent);
  return {
    child,
    stderr: () => stderr,
    states() {
      const step = events().find((event) => event.kind === 'vertex' && event.name.includes('RUN'));
      return events().flatMap((event) =>
        event.kind === 'status' && step?.kind === 'vertex' && event.vertex === step.vertex
          ? [
              event.status.kind === 'cached'
                ? `cached from ${event.status.from ?? 'here'}`
                : event.status.kind,
            ]
          : [],
      );
    },
    ended: new Promise((resolve) => child.once('exit', resolve)),
  };
}

/** Lines that executions of the step have left. */
function executions(context: string): number {
  space.ok(['-q', '-t', 'log', context]);
  return space
    .ok(['run', '--rm', 'log', 'cat', '/log'])
    .stdout.split('\n')
    .filter((line) => line !== '').length;
}

function locksLeft(): readonly string[] {
  const directory = join(space.root, 'locks', 'steps');
  return existsSync(directory) ? readdirSync(directory) : [];
}

test('a step that four builds want at once is executed by one of them', async () => {
  const context = contextOf('four');
  const first = build(context);
  await eventually(() => assert.ok(first.states().includes('executing')));
  const others = [build(context), build(context), build(context)];
  await eventually(() => assert.ok(others.every((other) => other.states().includes('waiting'))));
  letGo();
  assert.deepEqual(await Promise.all([first, ...others].map(({ ended }) => ended)), [0, 0, 0, 0]);
  assert.deepEqual(first.states(), ['started', 'executing', 'done']);
  for (const other of others) assert.deepEqual(other.states(), ['started', 'waiting', 'cached from build']);
  assert.equal(executions(context), 1);
  assert.deepEqual(locksLeft(), []);
});

test('a build that waits goes on itself when the one that it waits for is killed', async () => {
  const context = contextOf('killed');
  const first = build(context);
  await eventually(() => assert.ok(first.states().includes('executing')));
  const second = build(context);
  await eventually(() => assert.ok(second.states().includes('waiting')));
  first.child.kill('SIGKILL');
  await eventually(() => assert.ok(second.states().includes('executing')));
  letGo();
  assert.equal(await second.ended, 0);
  assert.deepEqual(second.states(), ['started', 'waiting', 'executing', 'done']);
  await eventually(() => assert.deepEqual(leftovers(space.root), []));
  assert.deepEqual(locksLeft(), []);
});

test('a build that waits goes on itself when the step fails for the other, and may be interrupted', async () => {
  const wait = 'until test -e /c/go; do sleep 0.02; done';
  const context = space.context('fails', {
    Dockerfile: `FROM bb:1\nRUN --mount=type=cache,id=fails,target=/c ${wait}; rm /c/go; false\n`,
  });
  const first = build(context);
  await eventually(() => assert.ok(first.states().includes('executing')));
  const [second, third] = [build(context), build(context)];
  await eventually(() =>
    assert.ok(second.states().includes('waiting') && third.states().includes('waiting')),
  );
  third.child.kill('SIGINT');
  assert.equal(await third.ended, 130);
  letGo();
  assert.equal(await first.ended, 1);
  await eventually(() => assert.ok(second.states().includes('executing')));
  letGo();
  assert.equal(await second.ended, 1);
  assert.deepEqual(second.states(), ['started', 'waiting', 'executing', 'failed']);
});

test('builds with --no-cache wait for nobody', async () => {
  const context = contextOf('forced');
  const both = [build(context, '--no-cache'), build(context, '--no-cache')];
  await eventually(() => assert.ok(both.every((each) => each.states().includes('executing'))));
  letGo();
  assert.deepEqual(await Promise.all(both.map(({ ended }) => ended)), [0, 0]);
  for (const each of both) assert.deepEqual(each.states(), ['started', 'executing', 'done']);
});

test('a cache that a build drops stays with the steps that use it, and goes with the last of them', async () => {
  const context = contextOf('dropped');
  const first = build(context);
  await eventually(() => assert.ok(first.states().includes('executing')));
  const second = build(context, '--no-cache');
  await eventually(() => assert.ok(second.states().includes('executing')));
  letGo();
  assert.deepEqual([await first.ended, await second.ended], [0, 0]);
  const caches = readdirSync(join(space.root, 'run/caches'));
  assert.deepEqual(
    caches.filter((name) => name.includes('.')),
    [],
  );
});

test('sharing=locked is one step at a time, sharing=private a directory for each, between builds too', async () => {
  // Those that may run at the same time wait until they do; the others are given the time to do what they must not.
  const meet = 'touch /m/$N; until test -e /m/1 -a -e /m/2; do sleep 0.02; done';
  const step = (sharing: string): string =>
    `FROM bb:1\nARG N\nRUN --mount=type=cache,id=meet,target=/m --mount=type=cache,id=${sharing},target=/c,sharing=${sharing} ` +
    `echo begin >> /c/log; ${sharing === 'private' ? meet : 'sleep 0.5'}; echo end >> /c/log; cp /c/log /log\n`;
  for (const [sharing, lines] of [
    ['locked', 'begin end begin end'],
    ['private', 'begin end'],
  ] as const) {
    const context = space.context(sharing, { Dockerfile: step(sharing) });
    const both = ['1', '2'].map((n) => build(context, '--build-arg', `N=${n}`, '-t', `${sharing}:${n}`));
    assert.deepEqual(await Promise.all(both.map(({ ended }) => ended)), [0, 0]);
    const logs = ['1', '2'].map((n) =>
      space
        .ok(['run', '--rm', `${sharing}:${n}`, 'cat', '/log'])
        .stdout.trim()
        .split('\n')
        .join(' '),
    );
    assert.ok(logs.includes(lines), logs.join(' | '));
    if (sharing === 'private') assert.deepEqual(new Set(logs), new Set([lines]));
    else assert.ok(logs.includes('begin end'), logs.join(' | '));
  }
  assert.deepEqual(readdirSync(join(space.root, 'locks', 'caches')), []);
});

test('lock files that killed builds left are in nobody’s way', async () => {
  const context = contextOf('left');
  const first = build(context);
  await eventually(() => assert.ok(first.states().includes('executing')));
  first.child.kill('SIGKILL');
  await first.ended;
  assert.equal(locksLeft().length, 1);
  letGo();
  assert.equal(space.tsbuild(['-q', context]).code, 0);
  assert.deepEqual(locksLeft(), []);
});
