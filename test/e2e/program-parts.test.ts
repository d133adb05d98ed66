import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { after, before, test } from 'node:test';
import { CLI, importBusybox, leftovers, openWorkspace, type Workspace } from './fixture.ts';

let space: Workspace;
before(() => {
  space = openWorkspace();
  importBusybox(space);
});
after(() => {
  assert.deepEqual(leftovers(space.root), []);
  space[Symbol.dispose]();
});

/** Files of the program that a start opens, relative to `program/`, but for compiled code. */
function partsOf(...args: readonly string[]): readonly string[] {
  const log = join(space.directory, 'opened');
  const hook = join(space.directory, 'hook.cjs');
  writeFileSync(log, '');
  writeFileSync(
    hook,
    `const fs = require('node:fs');
    const open = fs.openSync;
    fs.openSync = (path, ...rest) => {
      const fd = open(path, ...rest);
      if (/\\.cjs$/.test(path)) fs.appendFileSync(${JSON.stringify(log)}, path + '\\n');
      return fd;
    };
    const read = fs.readFileSync;
    fs.readFileSync = (path, ...rest) => {
      if (/\\.cjs$/.test(path)) fs.appendFileSync(${JSON.stringify(log)}, path + '\\n');
      return read(path, ...rest);
    };`,
  );
  const env = { ...process.env, TSBUILD_ROOT: space.root };
  const ended = spawnSync(process.execPath, ['--require', hook, CLI, ...args], { env, encoding: 'utf8' });
  assert.equal(ended.status, 0, ended.stderr);
  const opened = readFileSync(log, 'utf8').trim().split('\n');
  return opened.map((path) => relative(join(dirname(CLI), 'program'), path));
}

for (const [command, ...args] of [
  ['run', '--rm', 'bb:1', 'true'],
  ['run', '--rm', '--network', 'none', 'bb:1', 'true'],
  ['build', '-q', '.'],
  ['-q', '.'],
  ['images'],
  ['ps', '-a'],
] as const)
  test(`${[command, ...args].join(' ')} reads one file of the program`, () => {
    if (args.at(-1) === '.') space.context('.', { Dockerfile: 'FROM bb:1\nCOPY Dockerfile /\n' });
    const words = args.map((word) => (word === '.' ? space.directory : word));
    space.ok([command, ...words]);
    const opened = partsOf(command, ...words);
    assert.equal(opened.length, 1, opened.join(' '));
    assert.match(opened[0] ?? '', RegExp(`^packs/cli-${command === '-q' ? 'build' : command}-`));
  });

test('a part outside of the pack is read when it is asked for', () => {
  assert.ok(partsOf('volume', 'ls').some((file) => file.startsWith('volume-')));
});

test('what a build that copies compiled is not all that one keeps which executes', () => {
  // A copy of the program, whose compiled code nobody else writes.
  const place = join(space.directory, 'copy');
  const dist = dirname(CLI);
  mkdirSync(place);
  cpSync(dist, join(place, 'dist'), { recursive: true, filter: (path) => basename(path) !== 'compiled' });
  for (const name of ['native', 'node_modules']) symlinkSync(join(dirname(dist), name), join(place, name));
  const compiled = join(place, 'dist/program/compiled');
  const build = (step: string): Readonly<Record<string, number>> => {
    space.context('kept', { Dockerfile: `FROM bb:1\n${step}\n`, file: 'x' });
    const context = join(space.directory, 'kept');
    const env = { ...process.env, TSBUILD_ROOT: space.root };
    const words = [join(place, 'dist', basename(CLI)), 'build', '-q', '--no-cache', context];
    const ended = spawnSync(process.execPath, words, { env, encoding: 'utf8' });
    assert.equal(ended.status, 0, ended.stderr);
    const names = readdirSync(compiled).filter((name) => !name.endsWith('.parts'));
    return Object.fromEntries(names.map((name) => [name, statSync(join(compiled, name)).ino]));
  };
  const second = (files: Readonly<Record<string, number>>): string =>
    Object.keys(files).find((name) => name.startsWith('cli-build+-')) ?? '';
  const sizeOf = (name: string): number => statSync(join(compiled, name)).size;

  const copied = build('COPY file /');
  const little = sizeOf(second(copied));
  build('RUN true');
  assert.ok(sizeOf(second(copied)) > 2 * little, `${little} bytes, then ${sizeOf(second(copied))}`);
  const settled = build('RUN true');
  assert.deepEqual(build('COPY file /'), settled);
});
