/** What a push asks a registry that has the image, or parts of it. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, beforeEach, test } from 'node:test';
import { countsOf, machine, watch, type Machine, type Watched } from './cache-fixture.ts';
import { startCommands, type Commands } from './commands.ts';
import { openWorkspace, startRegistry, type RunningRegistry, type Workspace } from './fixture.ts';

const LAYERS = 4;

let space: Workspace;
let registry: RunningRegistry;
let watched: Watched;
let here: Machine;
let commands: Commands;
before(async () => {
  space = openWorkspace();
  registry = await startRegistry(space.directory);
  watched = await watch(registry.host);
  commands = startCommands(space.env);
  here = { ...machine(space, 'state', commands), root: space.root };
});
after(async () => {
  commands[Symbol.dispose]();
  await watched[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
  space[Symbol.dispose]();
});
beforeEach(() => watched.reset());

function app(name: string, ...more: readonly string[]): string {
  const steps = Array.from({ length: LAYERS }, (_, n) => `COPY f /f${n}\n`);
  return space.context(name, {
    Dockerfile: `FROM scratch\n${steps.join('')}${more.join('\n')}\n`,
    f: `${name}\n`,
  });
}

const nameOf = (name: string, tag = '1'): string => `${watched.host}/team/${name}:${tag}`;
/** Without the question who we are. */
const asked = (): readonly string[] => watched.requests.filter((each) => !each.endsWith(' /v2/'));
const manifestsAsked = (name: string, ...requests: readonly string[]): readonly string[] =>
  requests.map((each) => each.replace(' ', ` /v2/team/${name}/manifests/`));
function digestOf(name: string): string {
  const url = `docker://${nameOf(name).replace(watched.host, registry.host)}`;
  return execFileSync('skopeo', ['inspect', '--tls-verify=false', '--format', '{{.Digest}}', url], {
    encoding: 'utf8',
  }).trim();
}

test('an unchanged build asks for the tag, and nothing else', async () => {
  const context = app('same');
  const first = await here.run('-t', nameOf('same'), '--push', context);
  assert.equal(countsOf(first), `${LAYERS} executed, 0 cached`);
  watched.reset();
  const again = await here.run('-t', nameOf('same'), '--push', context);
  assert.equal(countsOf(again), `0 executed, ${LAYERS} cached`);
  assert.deepEqual(asked(), manifestsAsked('same', 'HEAD 1'));
  watched.reset();
  await here.run('push', '-q', nameOf('same'));
  assert.deepEqual(asked(), manifestsAsked('same', 'HEAD 1'));
});

test('another tag of what is there is set, and no layer is asked for', async () => {
  const context = app('tagged');
  await here.run('-t', nameOf('tagged'), '--push', context);
  const digest = digestOf('tagged');
  watched.reset();
  const both = ['-t', nameOf('tagged'), '-t', nameOf('tagged', '2')];
  await here.run(...both, '--push', context);
  assert.deepEqual(asked(), manifestsAsked('tagged', 'HEAD 1', 'HEAD 2', 'PUT 2'));
  watched.reset();
  await here.run('-t', nameOf('tagged', '3'), '--push', context);
  assert.deepEqual(asked(), manifestsAsked('tagged', 'HEAD 3', `HEAD ${digest}`, 'PUT 3'));
});

test('a tag that others moved is set back', async () => {
  const context = app('moved');
  await here.run('-t', nameOf('moved'), '--push', context);
  const digest = digestOf('moved');
  app('moved', 'LABEL a=b');
  await here.run('-t', nameOf('moved'), '--push', context);
  assert.notEqual(digestOf('moved'), digest);
  app('moved');
  await here.run('-t', nameOf('moved'), '--push', context);
  assert.equal(digestOf('moved'), digest);
});

test('an image that is not there is pushed, although nothing had to be made', async () => {
  const context = app('gone');
  await here.run('-t', 'gone', context);
  await here.run('-t', nameOf('gone'), '--push', context);
  await machine(space, 'gone', commands).run('pull', '-q', nameOf('gone'));
  // The same in another repository: layers are mounted.
  watched.reset();
  await here.run('-t', nameOf('gone-2'), '--push', context);
  assert.equal(
    asked().filter((each) => each.startsWith('PUT') && each.includes('/blobs/')).length,
    1,
    'the config',
  );
  await machine(space, 'gone-2', commands).run('pull', '-q', nameOf('gone-2'));
});

test('where a step is executed, permission comes first and the layers follow', async () => {
  const context = app('refused');
  watched.fault = (method) => (method === 'POST' ? 403 : undefined);
  const { code, stderr } = await new Promise<{ code: number | null; stderr: string }>((resolve) => {
    const child = here.start('-t', nameOf('refused'), '--push', '--progress', 'plain', context);
    let stderr = '';
    child.stderr?.on('data', (data: Buffer) => (stderr += data.toString()));
    child.once('close', (code) => resolve({ code, stderr }));
  });
  watched.fault = undefined;
  assert.equal(code, 10);
  assert.match(stderr, /error: cannot push to .*asking for permission to push/);
  assert.doesNotMatch(stderr, /Dockerfile:\d|executing/, 'no step is to blame, and none was done');
});

test('what may not be looked for is pushed all the same', async () => {
  const context = app('blind');
  await here.run('-t', 'blind', context);
  watched.fault = (method, url) =>
    url.includes('/manifests/') && method !== 'PUT' && watched.requests.length < 4 ? 403 : undefined;
  await here.run('-t', nameOf('blind'), '--push', context);
  watched.fault = undefined;
  await machine(space, 'blind', commands).run('pull', '-q', nameOf('blind'));
});
