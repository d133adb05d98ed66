/** Builds side by side on one state root, as processes of their own: the same step runs once, and nobody waits for the dead. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
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

/** Each execution of the step leaves a line in its cache mount, and takes as long as `SECONDS`. */
function contextOf(name: string, seconds: number): string {
  return space.context(name, {
    Dockerfile: `FROM bb:1\nRUN --mount=type=cache,id=${name},target=/c echo x >> /c/log; sleep ${seconds}; cp /c/log /log\n`,
  });
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
  const context = contextOf('four', 2);
  const first = build(context);
  await eventually(() => assert.ok(first.states().includes('executing')));
  const others = [build(context), build(context), build(context)];
  assert.deepEqual(await Promise.all([first, ...others].map(({ ended }) => ended)), [0, 0, 0, 0]);
  assert.deepEqual(first.states(), ['started', 'executing', 'done']);
  for (const other of others) assert.deepEqual(other.states(), ['started', 'waiting', 'cached from build']);
  assert.equal(executions(context), 1);
  assert.deepEqual(locksLeft(), []);
});

test('a build that waits goes on itself when the one that it waits for is killed', async () => {
  const context = contextOf('killed', 3);
  const first = build(context);
  await eventually(() => assert.ok(first.states().includes('executing')));
  const second = build(context);
  await eventually(() => assert.ok(second.states().includes('waiting')));
  first.child.kill('SIGKILL');
  assert.equal(await second.ended, 0);
  assert.deepEqual(second.states(), ['started', 'waiting', 'executing', 'done']);
  await eventually(() => assert.deepEqual(leftovers(space.root), []));
  assert.deepEqual(locksLeft(), []);
});

test('a build that waits goes on itself when the step fails for the other, and may be interrupted', async () => {
  const context = space.context('fails', { Dockerfile: 'FROM bb:1\nRUN sleep 2; false\n' });
  const first = build(context);
  await eventually(() => assert.ok(first.states().includes('executing')));
  const [second, third] = [build(context), build(context)];
  await eventually(() =>
    assert.ok(second.states().includes('waiting') && third.states().includes('waiting')),
  );
  third.child.kill('SIGINT');
  assert.equal(await third.ended, 130);
  assert.deepEqual([await first.ended, await second.ended], [1, 1]);
  assert.deepEqual(second.states(), ['started', 'waiting', 'executing', 'failed']);
});

test('builds with --no-cache wait for nobody', async () => {
  const context = contextOf('forced', 1);
  const both = [build(context, '--no-cache'), build(context, '--no-cache')];
  assert.deepEqual(await Promise.all(both.map(({ ended }) => ended)), [0, 0]);
  for (const each of both) assert.deepEqual(each.states(), ['started', 'executing', 'done']);
});

test('a cache that a build drops stays with the steps that use it, and goes with the last of them', async () => {
  const context = contextOf('dropped', 2);
  const first = build(context);
  await eventually(() => assert.ok(first.states().includes('executing')));
  const second = build(context, '--no-cache');
  assert.deepEqual([await first.ended, await second.ended], [0, 0]);
  const caches = readdirSync(join(space.root, 'run/caches'));
  assert.deepEqual(
    caches.filter((name) => name.includes('.')),
    [],
  );
});

test('sharing=locked is one step at a time, sharing=private a directory for each, between builds too', async () => {
  const step = (sharing: string): string =>
    `FROM bb:1\nARG N\nRUN --mount=type=cache,id=${sharing},target=/c,sharing=${sharing} ` +
    'echo begin >> /c/log; sleep 0.5; echo end >> /c/log; cp /c/log /log\n';
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
  const context = contextOf('left', 2);
  const first = build(context);
  await eventually(() => assert.ok(first.states().includes('executing')));
  first.child.kill('SIGKILL');
  await first.ended;
  assert.equal(locksLeft().length, 1);
  assert.equal(space.tsbuild(['-q', context]).code, 0);
  assert.deepEqual(locksLeft(), []);
});
