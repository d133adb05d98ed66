/** What a build says of steps that were executed for a Dockerfile in another directory: of this project, or of another one. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startCommands, type Commands } from './commands.ts';
import { importBusybox, openWorkspace, type Workspace } from './fixture.ts';

let space: Workspace;
let commands: Commands;
before(() => {
  space = openWorkspace();
  importBusybox(space);
  commands = startCommands(space.env);
});
after(() => {
  commands[Symbol.dispose]();
  space[Symbol.dispose]();
});

const NEW = 'there is no earlier execution of it';

/** Why its steps were executed, in their order. */
async function reasons(
  name: string,
  Dockerfile: string,
  files: Readonly<Record<string, string>>,
): Promise<readonly string[]> {
  const directory = space.context(name, { ...files, Dockerfile, '.dockerignore': '.dockerignore\n' });
  const { stderr } = await commands.ok(['--progress', 'plain', directory], space.directory);
  return [...stderr.matchAll(/^#\d+ executing: (.*)$/gm)].map(([, why = '']) => why);
}

function named(prefix: string, count: number): Record<string, string> {
  return Object.fromEntries(
    Array.from({ length: count }, (_, n) => [`${prefix}/${n}`, `${prefix} ${n}\n`] as const),
  );
}

test('another project with the same only step is no earlier state of this one', async () => {
  const text = 'FROM bb:1\nCOPY . /one\n';
  assert.deepEqual(await reasons('one-a', text, named('a', 70)), [NEW]);
  assert.deepEqual(await reasons('one-b', text, named('b', 2)), [NEW]);
  // What they share is the Dockerfile.
  assert.deepEqual(await reasons('one-c', text, { 'main.py': '1\n' }), [NEW]);
  assert.deepEqual(await reasons('one-d', text, { 'app.js': '2\n' }), [NEW]);
});

test('another checkout of a project of one step is compared with, also behind other projects', async () => {
  const text = 'FROM bb:1\nCOPY . /two\n';
  const files = named('a', 5);
  assert.deepEqual(await reasons('two-a', text, files), [NEW]);
  for (let n = 0; n < 7; n += 1)
    assert.deepEqual(await reasons(`two-other${n}`, text, named(`o${n}`, 3)), [NEW]);
  const edited = { ...files, 'a/3': 'new\n' };
  assert.deepEqual(await reasons('two-b', text, edited), ['a/3 changed']);
  const { 'a/4': moved = '', ...rest } = edited as Record<string, string>;
  assert.deepEqual(await reasons('two-c', text, { ...rest, 'a/z': moved }), ['a/4 was renamed to a/z']);
});

test('the steps after those of another project are not compared with it either', async () => {
  const text = 'FROM bb:1\nCOPY . /three\nRUN ls /three\n';
  assert.deepEqual(await reasons('three-a', text, named('a', 9)), [NEW, NEW]);
  assert.deepEqual(await reasons('three-b', text, named('b', 9)), [NEW, NEW]);
  assert.deepEqual(await reasons('three-c', text, { ...named('b', 9), 'b/1': 'new\n' }), [
    'b/1 changed',
    'it follows [2/3] COPY . /three, which has other files',
  ]);
});

test('a step alone that copies nothing of the context tells no project from another', async () => {
  await commands.ok(
    ['-q', '-t', 'five:1', space.context('base', { Dockerfile: 'FROM bb:1\nCMD five\nWORKDIR /w\n' })],
    space.directory,
  );
  const text = (base: string): string => `FROM ${base}\nRUN echo four\n`;
  assert.deepEqual(await reasons('four-a', text('bb:1'), {}), [NEW]);
  assert.deepEqual(await reasons('four-b', text('five:1'), {}), [NEW]);
});

test('edits of the smallest project are the causes that they are', async () => {
  const text = 'FROM bb:1\nCOPY . /five\n';
  const ignored = { '.dockerignore': 'Dockerfile\n.dockerignore\n' };
  const build = async (Dockerfile: string, files: Readonly<Record<string, string>>): Promise<string> => {
    const directory = space.context('five', { ...files, ...ignored, Dockerfile });
    const { stderr } = await commands.ok(['--progress', 'plain', directory], space.directory);
    return /^#\d+ executing: (.*)$/m.exec(stderr)?.[1] ?? '';
  };
  assert.equal(await build(text, { f: '1\n' }), NEW);
  assert.equal(await build(text, { f: '2\n' }), 'f changed');
  assert.equal(await build(text, { f: '2\n', g: '2\n' }), 'g is new');
  assert.equal(
    await build(text.replace('five', 'six'), { f: '2\n', g: '2\n' }),
    'the instruction changed from "COPY . /five" to "COPY . /six"',
  );
});
