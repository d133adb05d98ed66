/** Logging in as people do it: at a terminal. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startTestRegistry, type TestRegistry } from '../registry/test-registry.ts';
import { CLI, openWorkspace, type Workspace } from './fixture.ts';

const GOOD = `Basic ${Buffer.from('ann:typed-in').toString('base64')}`;

let space: Workspace;
let registry: TestRegistry;
before(async () => {
  space = openWorkspace();
  registry = await startTestRegistry({
    authorize: ({ headers }) =>
      headers.authorization === GOOD ? undefined : { status: 401, challenge: 'Basic realm="test"' },
  });
});
after(async () => {
  await registry[Symbol.asyncDispose]();
  space[Symbol.dispose]();
});

/** Types an answer once its question is there; gives all that the terminal showed. */
async function atTerminal(
  config: string,
  answers: readonly (readonly [question: string, answer: string])[],
  ...flags: readonly string[]
): Promise<{ readonly code: unknown; readonly shown: string }> {
  const command = [process.execPath, CLI, 'login', ...flags, registry.host].join(' ');
  const child = spawn('script', ['-qec', command, '/dev/null'], {
    env: { ...process.env, TSBUILD_ROOT: space.root, DOCKER_CONFIG: config, NO_COLOR: '1' },
  });
  const left = [...answers];
  let shown = '';
  child.stdout.on('data', (data: Buffer) => {
    shown += data.toString();
    const [next] = left;
    if (next === undefined || !shown.includes(next[0])) return;
    left.shift();
    child.stdin.write(next[1]);
  });
  const code = await new Promise((resolve) => child.once('close', resolve));
  assert.deepEqual(left, [], shown);
  return { code, shown };
}

test('C22: login asks at a terminal, shows the name and not the password', async () => {
  const config = join(space.directory, 'asked');
  const { code, shown } = await atTerminal(config, [
    ['Username: ', 'ann\r'],
    ['Password: ', 'typed-in\r'],
  ]);
  assert.equal(code, 0, shown);
  assert.match(shown, /Username: .*ann[\s\S]*Password: [\s\S]*Login Succeeded/);
  assert.doesNotMatch(shown, /typed/);
  assert.ok(readFileSync(join(config, 'config.json'), 'utf8').includes(registry.host));
});

test('login at a terminal: a name by flag is not asked for, Ctrl-C gives up', async () => {
  const config = join(space.directory, 'given-up');
  const { code, shown } = await atTerminal(config, [['Password: ', 'typed\x03']], '-u', 'ann');
  assert.equal(code, 130, shown);
  assert.doesNotMatch(shown, /Username|typed/);
  assert.ok(!existsSync(join(config, 'config.json')));
});
