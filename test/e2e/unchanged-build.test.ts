/**
 * Builds that are answered by a note (src/cli/unchanged-build.ts). A note is told from a build by writing into it: what
 * is printed then comes from there.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { startCommands, type Commands } from './commands.ts';
import { CLI, importBusybox, openWorkspace, type Workspace } from './fixture.ts';

const FILES = {
  Dockerfile: 'FROM bb:1\nCOPY . /c\nRUN cat /c/a /c/d/b > /both\n',
  '.dockerignore': 'ignored\n',
  a: 'first\n',
  'd/b': 'second\n',
  'ignored/x': 'never\n',
};
/** Longer than the kernel's clock for files takes from one time to the next. */
const TICK_MS = 60;

let space: Workspace;
/** For builds that leave no note yet. */
let commands: Commands;
let count = 0;
before(() => {
  space = openWorkspace();
  importBusybox(space);
  commands = startCommands(space.env);
});
after(() => {
  commands[Symbol.dispose]();
  space[Symbol.dispose]();
});

interface Noted {
  readonly context: string;
  readonly args: readonly string[];
  /** Whether the command is answered by its note. */
  isAnswered(options?: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv }): boolean;
  build(): string;
}

const notesIn = (root: string): readonly string[] => {
  const directory = join(root, 'unchanged');
  return existsSync(directory) ? readdirSync(directory).map((name) => join(directory, name)) : [];
};

/** Of the command that ended last, and no other. */
function markNotes(): void {
  for (const path of notesIn(space.root)) {
    const note = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
    writeFileSync(path, JSON.stringify({ ...note, stdout: 'ANSWERED\n' }));
  }
}

/** A project that was built, and built again after a while; its note says ANSWERED. */
async function noted(files: Readonly<Record<string, string>> = FILES): Promise<Noted> {
  const name = `p${(count += 1)}`;
  const context = space.context(name, files);
  const args = ['-q', '-t', `${name}:1`, context];
  rmSync(join(space.root, 'unchanged'), { recursive: true, force: true });
  await commands.ok(args, space.directory);
  await wait(TICK_MS);
  space.ok(args);
  markNotes();
  return {
    context,
    args,
    isAnswered: (options) => space.ok(args, options).stdout === 'ANSWERED\n',
    build: () => space.ok(args).stdout,
  };
}

test('a build that nothing has changed for is answered by its note', async () => {
  const project = await noted();
  assert.equal(notesIn(space.root).length, 1);
  assert.ok(project.isAnswered());
  assert.equal(lstatSync(notesIn(space.root)[0] ?? '').mode & 0o777, 0o600);
});

test('an answer prints what the build printed', async () => {
  const { context } = await noted();
  const args = ['-t', 'plain:1', context];
  space.ok(args);
  await wait(TICK_MS);
  const built = space.ok(args);
  const answered = space.ok(args);
  assert.match(answered.stderr, /CACHED/);
  assert.deepEqual(answered, built);
});

test('flags of steps and of registries, which nothing is done with, do not stand in the way of an answer', async () => {
  const { context } = await noted();
  const flags =
    '--network host --allow network.host --add-host a:10.0.0.1 --memory 1g --cpus 1 --shm-size 64m';
  const args = ['-q', '-t', 'flags:1', ...flags.split(' '), '--insecure-registry', 'r.invalid', context];
  space.ok(args);
  await wait(TICK_MS);
  space.ok(args);
  markNotes();
  assert.equal(space.ok(args).stdout, 'ANSWERED\n');
  // Another command, with another note.
  assert.notEqual(space.ok([...args.slice(0, -1), '--cpus', '2', context]).stdout, 'ANSWERED\n');
});

const keepingTimes = (path: string, change: () => void): void => {
  const { atime, mtime } = lstatSync(path);
  change();
  utimesSync(path, atime, mtime);
};

const CHANGES: Readonly<Record<string, (context: string) => void>> = {
  'content of a file': (at) => writeFileSync(join(at, 'a'), 'other\n'),
  'content of the same size, with the old time set again': (at) =>
    keepingTimes(join(at, 'a'), () => writeFileSync(join(at, 'a'), 'FIRST\n')),
  'content below a directory': (at) => writeFileSync(join(at, 'd/b'), 'SECOND\n'),
  'a file put in the place of another, with its time': (at) => {
    const { atime, mtime } = lstatSync(join(at, 'a'));
    writeFileSync(join(at, '..', 'new'), 'FIRST\n');
    utimesSync(join(at, '..', 'new'), atime, mtime);
    renameSync(join(at, '..', 'new'), join(at, 'a'));
  },
  'mode of a file': (at) => chmodSync(join(at, 'a'), 0o755),
  'mode of a directory': (at) => chmodSync(join(at, 'd'), 0o700),
  'a new file': (at) => writeFileSync(join(at, 'd/new'), ''),
  'a new directory': (at) => mkdirSync(join(at, 'e')),
  'a removed file': (at) => unlinkSync(join(at, 'd/b')),
  'a renamed file': (at) => renameSync(join(at, 'a'), join(at, 'z')),
  'a file that became a link': (at) => {
    unlinkSync(join(at, 'a'));
    symlinkSync('d/b', join(at, 'a'));
  },
  'the Dockerfile': (at) => writeFileSync(join(at, 'Dockerfile'), `${FILES.Dockerfile}LABEL a=b\n`),
  'the ignore file': (at) => writeFileSync(join(at, '.dockerignore'), 'a\n'),
  'an ignore file of the Dockerfile': (at) => writeFileSync(join(at, 'Dockerfile.dockerignore'), 'a\n'),
  'the name of the result': () => space.ok(['tag', 'bb:1', `p${count}:1`]),
  'the base image': (at) => {
    const other = space.context(`base${count}`, { Dockerfile: `FROM bb:1\nLABEL of=${at}\n` });
    const { stdout } = space.ok(['inspect', '--format', '{{.Id}}', 'bb:1']);
    space.ok(['-q', '-t', 'bb:1', other]);
    space.ok(['tag', stdout.trim(), 'bb:1']);
  },
  'the result is removed': () => space.ok(['rmi', `p${count}:1`]),
  'the cache is removed': () => space.ok(['prune', '--all']),
  'a step is executed again and has another result': (at) => {
    assert.equal(space.tsbuild(['-q', '--no-cache', at]).code, 0);
  },
};

for (const [what, change] of Object.entries(CHANGES))
  test(`a note does not answer after a change: ${what}`, async () => {
    const project = await noted();
    assert.ok(project.isAnswered());
    change(project.context);
    const ended = space.tsbuild(project.args);
    assert.doesNotMatch(ended.stdout, /ANSWERED/);
  });

test('a note does not answer for other variables, another directory, another configuration', async () => {
  const project = await noted();
  const config = join(space.directory, 'config.toml');
  assert.ok(project.isAnswered({ env: { UNRELATED: 'yes' } }));
  assert.ok(!project.isAnswered({ env: { SOURCE_DATE_EPOCH: '1' } }));
  assert.ok(!project.isAnswered({ env: { TSBUILD_STORAGE_MAX: '1g' } }));
  assert.ok(!project.isAnswered({ cwd: project.context }));
  writeFileSync(config, '');
  assert.ok(!project.isAnswered({ env: { TSBUILD_CONFIG: config } }));
});

test('what is ignored changes nothing about an answer', async () => {
  const project = await noted();
  writeFileSync(join(project.context, 'ignored/x'), 'changed\n');
  assert.ok(project.isAnswered());
});

const UNNOTED: Readonly<Record<string, readonly string[]>> = {
  'a variable that the environment gives a value': ['--build-arg', 'SOME'],
  'a secret': ['--secret', 'id=s,env=HOME'],
  'an output': ['-o', 'type=tar,dest=out.tar'],
  'a file for the id': ['--iidfile', 'iid'],
  'no cache': ['--no-cache'],
  'a question to the registry': ['--pull'],
};

for (const [what, flags] of Object.entries(UNNOTED))
  test(`no note is left of a build with ${what}`, async () => {
    const context = space.context('unnoted', FILES);
    rmSync(join(space.root, 'unchanged'), { recursive: true, force: true });
    const args = ['-q', ...flags, '-t', 'unnoted:1', context];
    for (let round = 0; round < 2; round += 1) {
      space.tsbuild(args);
      await wait(TICK_MS);
    }
    assert.deepEqual(notesIn(space.root), []);
  });

test('no note is left of a build that reads a URL', async () => {
  const server = createServer((_request, response) => response.end('remote\n'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const context = space.context('url', {
    Dockerfile: `FROM scratch\nADD http://127.0.0.1:${port}/x /x\n`,
  });
  rmSync(join(space.root, 'unchanged'), { recursive: true, force: true });
  for (let round = 0; round < 2; round += 1) {
    // why: whoever waits for a process synchronously serves nobody.
    const child = space.start(['-q', context]);
    assert.equal(await new Promise((resolve) => child.once('exit', resolve)), 0);
    await wait(TICK_MS);
  }
  server.close();
  assert.deepEqual(notesIn(space.root), []);
});

test('a note that is damaged, old, or of another boot is none', async () => {
  const project = await noted();
  const [path = ''] = notesIn(space.root);
  const text = readFileSync(path, 'utf8');
  const note = JSON.parse(text) as { readonly at: number; readonly identity: string };
  writeFileSync(path, text.slice(0, 100));
  assert.match(project.build(), /^sha256:/);
  for (const other of [
    { ...note, at: note.at - 7_200_000 },
    { ...note, at: note.at + 7_200_000 },
    { ...note, identity: `${note.identity} ` },
  ]) {
    writeFileSync(path, JSON.stringify(other));
    assert.match(project.build(), /^sha256:/);
  }
});

const LINKED: Readonly<Record<string, string>> = {
  'the target of a link that is copied': 'COPY link /l',
  'a file below a link to a directory': 'COPY dlink/y /l',
  'a directory behind a link': 'COPY dlink/ /l/',
  'a directory behind a link that is mounted': 'RUN --mount=type=bind,source=dlink,target=/m cat /m/y > /l',
};

for (const [what, instruction] of Object.entries(LINKED))
  test(`what is ignored is not, where a link of the context leads there: ${what}`, async () => {
    const name = `links${(count += 1)}`;
    const context = space.context(name, {
      Dockerfile: `FROM bb:1\n${instruction}\n`,
      '.dockerignore': 'ignored\n',
      'ignored/x': 'one\n',
      'ignored/sub/y': 'one\n',
    });
    symlinkSync('ignored/x', join(context, 'link'));
    symlinkSync('ignored/sub', join(context, 'dlink'));
    const args = ['-q', context];
    const first = space.tsbuild(args);
    await wait(TICK_MS);
    space.tsbuild(args);
    for (const file of ['ignored/x', 'ignored/sub/y']) writeFileSync(join(context, file), 'two\n');
    const [answer, looked] = [
      space.tsbuild(args),
      space.tsbuild([...args, '--iidfile', join(space.directory, 'iid')]),
    ];
    assert.equal(answer.stdout, looked.stdout);
    assert.equal(first.code, looked.code);
  });

test('no note is left where a name is no UTF-8, which paths cannot tell', async () => {
  const context = space.context(`latin${(count += 1)}`, { Dockerfile: 'FROM scratch\nCOPY . /c\n' });
  const file = Buffer.concat([Buffer.from(`${context}/caf`), Buffer.of(0xe9)]);
  writeFileSync(file, 'one\n');
  const args = ['-q', context];
  for (let round = 0; round < 2; round += 1) {
    space.ok(args);
    await wait(TICK_MS);
  }
  const before = space.ok(args).stdout;
  writeFileSync(file, 'two\n');
  assert.notEqual(space.ok(args).stdout, before);
});

test('an edit within the same second is seen where a file system keeps whole seconds', async () => {
  const disk = join(space.directory, 'seconds.img');
  const mounted = join(space.directory, 'seconds');
  mkdirSync(mounted);
  execFileSync('truncate', ['-s', '16M', disk]);
  execFileSync('mkfs.ext4', ['-q', '-F', '-I', '128', disk], { stdio: 'ignore' });
  execFileSync('mount', ['-o', 'loop', disk, mounted]);
  try {
    writeFileSync(join(mounted, 'Dockerfile'), 'FROM scratch\nCOPY a /a\n');
    const ids = new Set<string>();
    for (let round = 0; round < 6; round += 1) {
      writeFileSync(join(mounted, 'a'), `${round}\n`);
      for (let again = 0; again < 3; again += 1) {
        ids.add(`${round} ${space.ok(['-q', mounted]).stdout}`);
        await wait(TICK_MS);
      }
    }
    assert.equal(ids.size, 6);
    assert.equal(new Set([...ids].map((each) => each.slice(2))).size, 6);
  } finally {
    execFileSync('umount', [mounted]);
  }
});

test('an answer that cannot be written is an error, as what a build prints is', async () => {
  const { args } = await noted();
  const shell = (more: readonly string[]): number | null =>
    spawnSync('sh', ['-c', 'exec "$@" > /dev/full', 'sh', process.execPath, CLI, ...args, ...more], {
      env: { ...process.env, TSBUILD_ROOT: space.root },
    }).status;
  assert.notEqual(shell([]), 0);
  assert.equal(shell([]), shell(['--iidfile', join(space.directory, 'iid')]));
});

test('in a directory that is gone the build says what is wrong', async () => {
  const gone = join(space.directory, 'gone');
  mkdirSync(gone);
  const { status, stderr } = spawnSync(
    'sh',
    ['-c', 'cd "$1" && rmdir "$1" && exec "$2" "$3" -q .', 'sh', gone, process.execPath, CLI],
    { encoding: 'utf8', env: { ...process.env, TSBUILD_ROOT: space.root } },
  );
  assert.notEqual(status, 0);
  assert.doesNotMatch(stderr, /\bat .*start\.ts|node:internal/);
});

test('edits between builds that follow each other at once are never missed', () => {
  const context = space.context('edits', { Dockerfile: 'FROM scratch\nCOPY a /a\n', a: '00\n' });
  const ids = new Map<string, string>();
  for (let round = 0; round < 24; round += 1) {
    // The size stays, and every third state comes again.
    const text = `${String(10 + (round % 3 === 0 ? 0 : round)).padStart(2, '0')}\n`;
    writeFileSync(join(context, 'a'), text);
    if (round % 4 === 0) execFileSync('touch', ['-d', '2020-01-01', join(context, 'a')]);
    for (let again = 0; again < 3; again += 1) {
      const id = space.ok(['-q', context]).stdout;
      assert.equal(id, ids.get(text) ?? id, `round ${round}`);
      ids.set(text, id);
    }
  }
  assert.equal(new Set(ids.values()).size, ids.size);
});
