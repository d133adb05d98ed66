/**
 * Goldens of errors: `fixtures/errors/<code>/<case>/` is a build that fails, `expected.txt` how it does.
 *
 * A case is a build context. `args.json` holds further arguments (after `--`: what stands instead of the context
 * `.`), `setup.json` commands that are executed in the copy of the folder first (`tsbuild` is the command under
 * test). `<SITE>` in arguments is a web server that has `/file` and a registry with no repository. UPDATE_GOLDENS=1
 * writes expected.txt anew.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { startCommands } from './commands.ts';
import { importBusybox, openWorkspace, packageRoot, type Ended } from './fixture.ts';

const FIXTURES = join(packageRoot(), 'fixtures', 'errors');
const OWN_FILES = ['args.json', 'setup.json', 'expected.txt'];
/** Codes and cases whose error is in the command line, in a file of the context, or in the Dockerfile as a whole. */
const ELSEWHERE = new Set(
  `usage config-invalid dockerfile-not-found context-not-found platform-invalid/bad-flag platform-invalid/empty-flag
reference-invalid/bad-tag reference-invalid/tag-upper-case stage-not-found/target-typo stage-not-found/target-number
stage-not-found/target-unknown dockerfile-syntax/check-option-of-argument`.split(/\s+/),
);
/** Codes of the frontend that no Dockerfile, context or flag can cause. */
const UNREACHABLE = new Set<string>([]);

interface Case {
  readonly code: string;
  readonly name: string;
  readonly directory: string;
}

const cases: readonly Case[] = namesIn(FIXTURES).flatMap((code) =>
  namesIn(join(FIXTURES, code)).map((name) => ({ code, name, directory: join(FIXTURES, code, name) })),
);

function namesIn(directory: string): readonly string[] {
  return readdirSync(directory).sort();
}

function readList(path: string): readonly unknown[] {
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as readonly unknown[]) : [];
}

const workspace = openWorkspace();
let site = '';
const server = createServer((request, response) => {
  if (request.url === '/file') response.end('content\n');
  else {
    response.statusCode = request.url === '/v2/' ? 200 : 404;
    response.end();
  }
});

before(async () => {
  importBusybox(workspace);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  site = `127.0.0.1:${(server.address() as AddressInfo).port}`;
});
after(() => {
  for (const each of processes) each[Symbol.dispose]();
  server.close();
  workspace[Symbol.dispose]();
});

const environment = {
  PATH: process.env['PATH'],
  HOME: workspace.directory,
  TSBUILD_ROOT: workspace.root,
  DOCKER_CONFIG: join(workspace.directory, 'docker'),
  NO_COLOR: '1',
  LC_ALL: 'C.UTF-8',
};

const processes = [startCommands(environment), startCommands(environment)];
const idle = [...processes];

async function run(command: string, args: readonly string[], cwd: string): Promise<Ended> {
  if (command !== 'tsbuild') {
    const { status, stdout, stderr } = spawnSync(command, args, { cwd, env: environment, encoding: 'utf8' });
    return { code: status, stdout, stderr };
  }
  const commands = idle.pop();
  assert.ok(commands !== undefined, 'more cases at a time than processes');
  const ended = await commands.run(args, cwd);
  idle.push(commands);
  return ended;
}

async function render({ code, name, directory }: Case): Promise<string> {
  const copy = join(workspace.directory, 'cases', code, name);
  mkdirSync(copy, { recursive: true });
  cpSync(directory, copy, {
    recursive: true,
    filter: (path) => !OWN_FILES.some((own) => path === join(directory, own)),
  });
  for (const each of readList(join(directory, 'setup.json')) as readonly (readonly string[])[]) {
    const [command = '', ...args] = each;
    const ended = await run(command, args, copy);
    assert.equal(ended.code, 0, `${command} ${args.join(' ')}: ${ended.stderr}`);
  }
  const args = readList(join(directory, 'args.json')).map((arg) => String(arg).replaceAll('<SITE>', site));
  const context = args.includes('--') ? [] : ['.'];
  const ended = await run(
    'tsbuild',
    ['build', '--progress', 'quiet', '-f', 'Dockerfile', ...args, ...context],
    copy,
  );
  const shown = ended.stderr
    .replaceAll(copy, '<DIR>')
    .replaceAll(workspace.root, '<ROOT>')
    .replaceAll(site, '<SITE>');
  return `exit ${ended.code}\n${shown}`;
}

/** Code in brackets; for what stands in a Dockerfile also place, marked line and squiggle. */
function checkForm({ code, name }: Case, golden: string): void {
  const lines = golden.split('\n');
  const wanted = `[${code.toUpperCase().replaceAll('-', '_')}]`;
  assert.ok(
    lines[1]?.startsWith('error: ') === true && lines[1].endsWith(wanted),
    `no ${wanted} in ${golden}`,
  );
  for (const line of lines) assert.ok(line.length < 1200, `a line has ${line.length} characters`);
  if (ELSEWHERE.has(code) || ELSEWHERE.has(`${code}/${name}`)) return;
  assert.match(lines[2] ?? '', /^ {2}\S+:\d+:\d+$/, `no place in ${golden}`);
  assert.ok(
    lines.some((line) => /^ {2}> +\d+ \|/.test(line)),
    `no excerpt in ${golden}`,
  );
  assert.ok(
    lines.some((line) => /^ +\| *~+$/.test(line)),
    `no squiggle in ${golden}`,
  );
}

describe('an error reads as its golden', { concurrency: processes.length }, () => {
  for (const each of cases)
    test(`${each.code}/${each.name}`, async () => {
      const path = join(each.directory, 'expected.txt');
      const rendered = await render(each);
      if (process.env['UPDATE_GOLDENS'] === '1') writeFileSync(path, rendered);
      assert.equal(rendered, readFileSync(path, 'utf8'));
      checkForm(each, rendered);
    });
});

test('every error code of the frontend has a golden', () => {
  const frontend = join(packageRoot(), 'frontend');
  const thrown = new Set<string>();
  for (const file of readdirSync(frontend, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts')) continue;
    const text = readFileSync(join(frontend, file), 'utf8');
    for (const [, code = ''] of text.matchAll(/(?:syntaxError|TsbuildError)\(\s*'([A-Z_]+)'/g))
      thrown.add(code);
  }
  const covered = new Set(cases.map(({ code }) => code.toUpperCase().replaceAll('-', '_')));
  assert.deepEqual(
    [...thrown].filter((code) => !covered.has(code) && !UNREACHABLE.has(code)),
    [],
  );
});
