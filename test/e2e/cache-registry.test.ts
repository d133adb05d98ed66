/** Caches in a registry: what is moved, what is executed, and what a cache that fails costs. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { WhyStep } from '../../src/engine/why.ts';
import {
  countsOf,
  ended,
  inspectRaw,
  machine,
  openCacheStand,
  type CacheStand,
  type Machine,
  type Watched,
} from './cache-fixture.ts';
import { startCommands, type Commands } from './commands.ts';
import { eventually, type RunningRegistry, type Workspace } from './fixture.ts';

let stand: CacheStand;
let space: Workspace;
let registry: RunningRegistry;
let watched: Watched;
let base: string;
let commands: Commands;
before(async () => {
  stand = await openCacheStand();
  ({ space, registry, watched, base } = stand);
  commands = startCommands(space.env);
});
after(() => {
  commands[Symbol.dispose]();
  return stand[Symbol.asyncDispose]();
});

const at = (name: string): Machine => machine(space, name, commands);

const cache = (name: string): string => `${watched.host}/cache/${name}`;

function app(name: string, last = 'echo last > /last'): string {
  const dockerfile = [
    `FROM ${base} AS build`,
    'COPY source.txt /source.txt',
    'RUN cp /source.txt /built.txt; date >> /built.txt',
    `FROM ${base}`,
    'WORKDIR /app',
    'COPY --from=build /built.txt /app/',
    'RUN echo one > /one',
    `RUN ${last}`,
    'CMD ["cat", "/last"]',
  ].join('\n');
  return space.context(name, { Dockerfile: dockerfile, 'source.txt': 'source\n' });
}

const layersAsked = (): readonly string[] =>
  watched.requests.filter((each) => each.startsWith('GET') && each.includes('/blobs/'));

test('an unchanged build on a fresh machine asks four times and moves no layer', async () => {
  const context = app('unchanged');
  const one = at('unchanged-1');
  const made = await one.run(
    '-t',
    'app',
    '--cache-to',
    `type=registry,ref=${cache('unchanged')},mode=max`,
    context,
  );
  assert.equal(countsOf(made), '6 executed, 0 cached');
  const two = at('unchanged-2');
  watched.reset();
  const found = await two.run('-t', 'app', '--cache-from', cache('unchanged'), context);
  assert.equal(countsOf(found), '0 executed, 6 cached');
  assert.equal(/built (\S+)/.exec(found.stderr)?.[1], /built (\S+)/.exec(made.stderr)?.[1]);
  assert.ok(watched.requests.length <= 4, watched.requests.join('\n'));
  assert.equal(layersAsked().length, 1, 'the plan is the only blob');
  assert.ok(watched.bytes() < 20_000, `${watched.bytes()} bytes`);
  // What was not needed is fetched when somebody looks into it.
  assert.equal((await two.run('run', '--rm', 'app')).stdout, 'last\n');
});

test('mode=min: an unchanged build needs no stage, a changed one executes it', async () => {
  const context = app('min');
  await at('min-1').run('--cache-to', cache('min'), context);
  const two = at('min-2');
  const unchanged = await two.run('--cache-from', cache('min'), '--progress', 'plain', context);
  assert.equal(countsOf(unchanged), '0 executed, 4 cached, 2 skipped');
  assert.match(unchanged.stderr, /#\d+ \[build 3\/3\] RUN cp .*\n#\d+ SKIPPED: no step needs its files\n/);
  space.context('min', { 'source.txt': 'other\n' });
  const changed = await at('min-3').run('--cache-from', cache('min'), context);
  // WORKDIR alone stays: what was built is another file.
  assert.equal(countsOf(changed), '5 executed, 1 cached');
});

test('a changed last step fetches what it stands upon, and its record is found without a plan', async () => {
  const context = app('changed');
  const to = `type=registry,ref=${cache('changed')},mode=max`;
  await at('changed-1').run('--cache-to', to, context);
  app('changed', 'echo other > /last');
  const two = await at('changed-2').run('--cache-from', cache('changed'), '--cache-to', to, context);
  assert.equal(countsOf(two), '1 executed, 5 cached');
  watched.fault = (method, url) => (method === 'GET' && url.endsWith('/manifests/latest') ? 404 : undefined);
  const three = await at('changed-3').run('--cache-from', cache('changed'), context);
  watched.fault = undefined;
  assert.equal(countsOf(three), '0 executed, 6 cached');
});

test('what a killed build had finished is found by the next one', async () => {
  const context = space.context('killed', {
    Dockerfile: `FROM ${base}\nRUN echo one > /one\nRUN echo two > /two\nRUN sleep 60\n`,
  });
  const child = machine(space, 'killed-1').start('--cache-to', cache('killed'), context);
  const gone = ended(child);
  const steps = (): number =>
    watched.answered.filter((each) => /PUT \/v2\/cache\/killed\/manifests\/tsb-/.test(each)).length;
  await eventually(() => assert.equal(steps(), 2), 60_000);
  child.kill('SIGKILL');
  await gone;
  space.context('killed', { Dockerfile: `FROM ${base}\nRUN echo one > /one\nRUN echo two > /two\n` });
  const found = await at('killed-2').run('--cache-from', cache('killed'), context);
  assert.equal(countsOf(found), '0 executed, 2 cached');
});

test('a full hit is pushed without touching a layer: mounted from the cache, tagged, and unchanged the next time', async () => {
  const context = app('push');
  await at('push-1').run('--cache-to', cache('push'), context);
  const name = `${watched.host}/team/push:1`;
  watched.reset();
  const two = at('push-2');
  await two.run('-t', name, '--push', '--cache-from', cache('push'), context);
  assert.equal(layersAsked().length, 1, layersAsked().join('\n'));
  const uploaded = watched.requests.filter((each) => each.startsWith('PUT') && each.includes('/blobs/'));
  assert.equal(uploaded.length, 1, 'the config alone is uploaded');
  assert.equal((await at('push-3').run('run', '--rm', name)).stdout, 'last\n');
  const layers = inspectRaw(registry.host, 'team/push:1').layers.map(({ digest }) => digest);
  const kept = inspectRaw(registry.host, 'cache/push:latest').layers.map(({ digest }) => digest);
  assert.ok(
    layers.slice(1).every((digest) => kept.includes(digest)),
    'the same blobs in both',
  );
});

test('two builds that write one cache at a time lose nothing of each other', async () => {
  const contexts = [0, 1, 2].map((n) =>
    space.context(`both-${n}`, { Dockerfile: `FROM ${base}\nRUN echo ${n} > /n\nRUN echo more ${n} > /m\n` }),
  );
  await Promise.all(
    contexts.map((context, n) => machine(space, `both-w${n}`).run('--cache-to', cache('both'), context)),
  );
  for (const [n, context] of contexts.entries()) {
    const found = await at(`both-r${n}`).run('--cache-from', cache('both'), context);
    assert.equal(countsOf(found), '0 executed, 2 cached');
  }
});

test('why asks the cache, compares with what was executed elsewhere, and moves no layer', async () => {
  const context = app('why');
  await at('why-1').run('--cache-to', cache('why'), context);
  const two = at('why-2');
  const why = async (...args: readonly string[]): Promise<readonly WhyStep[]> => {
    const { stdout } = await two.run('why', '--format', 'json', ...args, context);
    return (JSON.parse(stdout) as { readonly steps: readonly WhyStep[] }).steps;
  };
  const outcomes = (steps: readonly WhyStep[]): readonly string[] =>
    steps.filter(({ state }) => state !== 'given').map(({ state, from = 'here' }) => `${state} ${from}`);
  assert.deepEqual(new Set(outcomes(await why())), new Set(['executed here']));
  watched.reset();
  const found = await why('--cache-from', cache('why'));
  assert.deepEqual(
    outcomes(found),
    Array.from({ length: 6 }, () => 'cached remote'),
  );
  assert.ok((found.at(-1)?.last?.finished ?? 0) > 0);
  assert.ok(layersAsked().length <= 1, layersAsked().join('\n'));
  const text = await two.run('why', '--cache-from', cache('why'), context);
  assert.match(
    text.stdout,
    /^\d+ {2}CACHED \(remote\) \[stage-1 5\/5\] RUN echo last > \/last\n +executed .* ago/m,
  );
  assert.ok(!existsSync(join(two.root, 'records/steps')), 'nothing is recorded');
  app('why', 'echo other > /last');
  const [last] = (await why('--cache-from', cache('why'))).slice(-1);
  assert.equal(last?.state, 'executed');
  assert.deepEqual(last.causes, [
    { kind: 'instruction', before: 'RUN echo last > /last', after: 'RUN echo other > /last' },
  ]);
  // And so does the build.
  const built = await two.run('--cache-from', cache('why'), '--progress', 'plain', context);
  assert.match(built.stderr, /executing: the instruction changed from "RUN echo last > \/last" to/);
  space.context('why', { 'source.txt': 'other\n' });
  const three = at('why-3');
  const { stdout } = await three.run('why', '--cache-from', cache('why'), context, 'COPY source.txt');
  assert.match(
    stdout,
    /EXECUTE \[build 2\/3\][^]*files of the build context changed\n +compared with the execution of/,
  );
});

test('several caches are asked; the first that has a step gives it', async () => {
  const context = app('several');
  await at('several-1').run('--cache-to', cache('several-a'), '--cache-to', cache('several-b'), context);
  const two = await at('several-2').run(
    '--cache-from',
    cache('several-none'),
    '--cache-from',
    cache('several-b'),
    context,
  );
  assert.equal(countsOf(two), '0 executed, 4 cached, 2 skipped');
  assert.doesNotMatch(two.stderr, /WARN/);
});

test('a cache that is refused, absent or garbage costs a warning that names it, and never the build', async () => {
  const context = app('failing');
  const both = [
    '--cache-from',
    cache('failing'),
    '--cache-to',
    cache('failing'),
    '--progress',
    'plain',
    context,
  ];
  await at('failing-0').run(...both);
  for (const [name, fault] of [
    ['401', 401],
    ['403', 403],
    ['garbage', 'garbage'],
  ] as const) {
    watched.fault = (_method, url) => (url.includes('/cache/failing/') ? fault : undefined);
    const done = await at(`failing-${name}`).run(...both);
    watched.fault = undefined;
    assert.equal(countsOf(done), '6 executed, 0 cached', name);
    const warnings = done.stderr.split('\n').filter((line) => line.startsWith('WARN: cannot read the cache'));
    assert.equal(warnings.length, 1, done.stderr);
    assert.match(warnings[0] ?? '', new RegExp(`${watched.host}/cache/failing:latest: `));
  }
  watched.fault = (method, url) =>
    (method === 'POST' || method === 'PUT') && url.includes('/cache/failing/') ? 403 : undefined;
  space.context('failing', { 'source.txt': 'written\n' });
  const written = await at('failing-write').run(...both);
  watched.fault = undefined;
  assert.equal(written.stderr.match(/WARN: cannot write the cache/g)?.length, 1, written.stderr);
});

test('a registry that is not there, or never answers, is given up', async () => {
  const context = app('silent');
  const dead = await at('silent-1').run('--cache-from', '127.0.0.1:1/x/y', '--progress', 'plain', context);
  assert.match(dead.stderr, /WARN: cannot read the cache 127\.0\.0\.1:1\/x\/y:latest: /);
  watched.fault = (_method, url) => (url.includes('/cache/silent/') ? 'hang' : undefined);
  const silent = await at('silent-2').run('--cache-from', cache('silent'), '--progress', 'plain', context);
  watched.fault = undefined;
  assert.match(silent.stderr, /WARN: cannot read the cache \S+\/cache\/silent:latest: no answer within 10 s/);
  assert.equal(countsOf(silent), '6 executed, 0 cached');
});

test('a registry that never answers is waited for once, however many cache mounts there are', async () => {
  const mounts = ['a', 'b', 'c'].map((id) => `--mount=type=cache,id=${id},target=/${id}`).join(' ');
  const context = space.context('silent-mounts', {
    Dockerfile: `FROM ${base}\nRUN ${mounts} echo > /a/1\nRUN ${mounts} echo > /b/1\n`,
  });
  const spec = `type=registry,ref=${cache('silent-mounts')},mounts=true`;
  watched.fault = (_method, url) => (url.includes('/cache/silent-mounts/') ? 'hang' : undefined);
  const start = Date.now();
  const args = ['--cache-from', spec, '--cache-to', spec, '--progress', 'plain', context];
  const silent = await at('silent-mounts').run(...args);
  watched.fault = undefined;
  assert.equal(countsOf(silent), '2 executed, 0 cached');
  // Ten for reading, ten for writing.
  assert.ok(Date.now() - start < 28_000, `it took ${Date.now() - start} ms`);
  assert.deepEqual(silent.stderr.match(/^WARN: cannot \w+ (?:cache mounts to )?the cache/gm)?.toSorted(), [
    'WARN: cannot read the cache',
    'WARN: cannot write cache mounts to the cache',
    'WARN: cannot write the cache',
  ]);
});

test('layers that the registry has lost are made again, by build and by push', async () => {
  const context = app('lost');
  await at('lost-1').run('--cache-to', `type=registry,ref=${cache('lost')},mode=max`, context);
  const lose = (): void => {
    watched.fault = (method, url) =>
      method !== 'PUT' && /\/cache\/lost\/blobs\/sha256/.test(url) && !isPlan(url) ? 404 : undefined;
  };
  const plan = inspectRaw(registry.host, 'cache/lost:latest').layers[0]?.digest ?? '';
  const isPlan = (url: string): boolean => url.includes(plan);
  app('lost', 'cat /one > /last; cat /app/built.txt >> /last');
  lose();
  const built = await at('lost-2').run(
    '--cache-from',
    cache('lost'),
    '--progress',
    'plain',
    '-t',
    'l',
    context,
  );
  assert.match(
    built.stderr,
    /WARN: layer sha256:\w+ of an earlier build cannot be had, what makes it is executed/,
  );
  app('lost');
  const name = `${watched.host}/team/lost:1`;
  await at('lost-3').run(
    '--cache-from',
    cache('lost'),
    '-t',
    name.replace(watched.host, registry.host),
    '--push',
    context,
  );
  watched.fault = undefined;
  assert.equal((await at('lost-4').run('run', '--rm', name)).stdout, 'last\n');
});

test('an image is never overwritten by a cache that is sent to its name', async () => {
  const name = `${watched.host}/team/kept:1`;
  const context = space.context('kept', {
    Dockerfile: `FROM ${base}\nRUN echo kept > /k\nCMD ["cat", "/k"]\n`,
  });
  const done = await at('kept-1').run(
    '-t',
    name,
    '--push',
    '--cache-to',
    name,
    '--progress',
    'plain',
    context,
  );
  assert.match(done.stderr, /WARN: the cache \S+\/team\/kept:1 names something else/);
  assert.equal((await at('kept-2').run('run', '--rm', name)).stdout, 'kept\n');
});

test('no state but the cache is needed: records of a machine whose root is gone', async () => {
  const context = app('gone');
  const one = at('gone-1');
  await one.run('--cache-to', cache('gone'), context);
  rmSync(one.root, { recursive: true });
  const again = await one.run('--cache-from', cache('gone'), context);
  assert.equal(countsOf(again), '0 executed, 4 cached, 2 skipped');
  assert.ok(readdirSync(join(one.root, 'records/steps')).length > 0);
  assert.equal(
    countsOf(await one.run(context)),
    '0 executed, 4 cached, 2 skipped',
    'without the cache from then on',
  );
});
