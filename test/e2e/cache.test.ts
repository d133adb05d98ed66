/** What the cache promises to those who build: why a step ran, that none does, that equal outcomes end a chain. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, test } from 'node:test';
import { importBusybox, openWorkspace, type Workspace } from './fixture.ts';

let space: Workspace;
before(() => {
  space = openWorkspace();
  importBusybox(space);
});
after(() => space[Symbol.dispose]());

const STAGES = `FROM bb:1 AS first
COPY in /in
FROM bb:1 AS second
COPY other /other
FROM first
COPY --from=second /other /other
`;

test('--assert-cached fails with 3 and names step, line and reason where something would be executed', () => {
  const context = space.context('assert', { Dockerfile: STAGES, in: '1', other: '1' });
  const fresh = space.tsbuild(['--assert-cached', context]);
  assert.equal(fresh.code, 3);
  assert.match(
    fresh.stderr,
    /COPY in \/in is not cached: there is no earlier execution of it \[NOT_CACHED\]/,
  );
  space.ok(['-q', context]);
  space.ok(['-q', '--assert-cached', context]);
  writeFileSync(join(context, 'other'), '2');
  const changed = space.tsbuild(['--assert-cached', context]);
  assert.equal(changed.code, 3);
  assert.match(
    changed.stderr,
    /\[second 2\/2\] COPY other \/other is not cached: other changed \[NOT_CACHED\]/,
  );
  assert.match(changed.stderr, />\s+4 \| COPY other \/other/);
  // Nothing was executed, so nothing is cached now that was not.
  assert.equal(space.tsbuild(['--assert-cached', context]).code, 3);
});

test('--assert-cached=STAGE lets other stages be executed', () => {
  const context = space.context('assert-stage', { Dockerfile: STAGES, in: 'a', other: 'a' });
  space.ok(['-q', context]);
  writeFileSync(join(context, 'other'), 'b');
  const other = space.tsbuild(['--assert-cached=first,second', context]);
  assert.deepEqual([other.code, /\[second/.test(other.stderr)], [3, true]);
  assert.match(space.ok(['--assert-cached=first', context]).stderr, /2 executed/);
  const unknown = space.tsbuild(['--assert-cached=firts', context]);
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /did you mean "first"/);
  const both = space.tsbuild(['--assert-cached', '--no-cache', context]);
  assert.equal(both.code, 2);
});

const CUT_OFF = `FROM bb:1 AS made
RUN --mount=type=bind,source=in,target=/in echo same > /f
RUN cat /f > /g
FROM bb:1
COPY --from=made /f /f
RUN cat /f
`;

test('a step that is executed again with the same outcome leaves everything after it cached', async () => {
  const context = space.context('cut-off', { Dockerfile: CUT_OFF, in: '1' });
  const build = (...more: readonly string[]): string =>
    space.ok(['--progress', 'plain', ...more, context]).stderr;
  const epoch = ['--build-arg', 'SOURCE_DATE_EPOCH=1000000000'];
  build(...epoch);
  writeFileSync(join(context, 'in'), '2');
  await sleep(1100);
  const log = build(...epoch, '--target', 'made');
  assert.match(
    log,
    /echo same > \/f\n#\d+ executing: the files of the mount bind \/in changed: in changed\n/,
  );
  assert.match(log, /DONE [\d.]+s, with the same files as before/);
  assert.match(log, /RUN cat \/f > \/g\n#\d+ CACHED/);
  // What was mounted, and the step itself.
  assert.match(log, /\(2 executed, 1 cached\)/);
});

test('times count in a file system that steps go on with, and not in files that are copied from it', async () => {
  const context = space.context('times', { Dockerfile: CUT_OFF, in: 'a' });
  space.ok(['-q', '--target', 'made', context]);
  space.ok(['-q', context]);
  writeFileSync(join(context, 'in'), 'b');
  await sleep(1100);
  const log = space.ok(['--progress', 'plain', context]).stderr;
  assert.match(log, /RUN --mount=type=bind,source=in,target=\/in echo same > \/f\n#\d+ executing/);
  // The file has another time now, so whoever goes on with this file system runs again.
  assert.match(log, /COPY --from=made \/f \/f\n#\d+ CACHED/);
  assert.match(log, /RUN cat \/f > \/g\n#\d+ executing: it follows \[made 2\/3\]/);
});

test('why tells of steps by number, line, stage and text, before and after a build', () => {
  const context = space.context('why', { Dockerfile: STAGES, in: '1', other: '1' });
  space.ok(['-q', context]);
  writeFileSync(join(context, 'in'), '2');
  const why = (...words: readonly string[]): string =>
    space.ok(['why', '--progress', 'quiet', ...words]).stdout;
  const all = why(context);
  assert.match(all, /EXECUTE \[first 2\/2\] COPY in \/in\n\s+in changed\n\s+compared with the execution of/);
  assert.match(all, /CACHED {2}\[second 2\/2\] COPY other \/other\n/);
  assert.match(
    all,
    /EXECUTE \[stage-2 2\/2\] .*\n\s+it follows \[first 2\/2\] COPY in \/in, which has other files/,
  );
  for (const step of [':2', 'first', 'first:2', 'copy in', '2']) {
    const shown = why(context, step);
    assert.match(shown, /EXECUTE \[first 2\/2\] COPY in \/in\n/);
    assert.doesNotMatch(shown, /\[second/);
  }
  space.ok(['-q', context]);
  assert.match(why(context, ':2'), /CACHED {2}.*\n\s+executed .* ago in [\d.]+s, because:\n\s+in changed\n/);
  const none = space.tsbuild(['why', '--progress', 'quiet', context, '99']);
  assert.deepEqual([none.code, /there is no step "99"/.test(none.stderr)], [2, true]);
});

test('why executes nothing', () => {
  const context = space.context('why-nothing', { Dockerfile: 'FROM bb:1\nRUN echo never\n' });
  for (let round = 0; round < 2; round += 1)
    assert.match(
      space.ok(['why', '--progress', 'quiet', context]).stdout,
      /EXECUTE \[2\/2\] RUN echo never\n\s+there is no earlier execution of it\n/,
    );
});

test('a build in another directory of the same project is compared with those of the first', () => {
  const files = { Dockerfile: 'FROM bb:1\nCOPY in /in\n', in: 'one' };
  space.ok(['-q', space.context('checkout-1/project', files)]);
  const second = space.context('checkout-2/project', { ...files, in: 'two' });
  assert.match(space.ok(['--progress', 'plain', second]).stderr, /executing: in changed\n/);
});

test('values of variables that look like secrets are not shown', () => {
  const context = space.context('values', { Dockerfile: 'FROM bb:1\nARG NPM_TOKEN\nRUN echo 1\n' });
  space.ok(['-q', '--build-arg', 'NPM_TOKEN=geheim1', context]);
  const { stdout } = space.ok(['why', '--build-arg', 'NPM_TOKEN=geheim2', context]);
  assert.match(stdout, /ARG NPM_TOKEN changed\n/);
  assert.doesNotMatch(stdout, /geheim/);
});
