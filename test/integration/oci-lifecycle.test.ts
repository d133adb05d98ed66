import assert from 'node:assert/strict';
import { closeSync, existsSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openBundles, type Bundles, type OciConfig } from './oci-fixture.ts';

let bundles: Bundles;
before(() => (bundles = openBundles()));
after(() => bundles.close());

function stateOf(id: string): Record<string, unknown> {
  const { stdout, code } = bundles.call(['state', id]);
  assert.equal(code, 0);
  return JSON.parse(stdout) as Record<string, unknown>;
}

async function until(condition: () => boolean): Promise<void> {
  for (let round = 0; round < 1500 && !condition(); round += 1) await sleep(20);
  assert.ok(condition());
}

/** A detached start, whose output would keep the caller waiting. */
function detached(args: readonly string[], bundle: string): Promise<number | null> {
  const child = bundles.begin(args, bundle);
  return new Promise((resolve) => child.once('exit', resolve));
}

test('create, start, kill, delete: each state in its turn, nothing left', async () => {
  const life = `life-${process.pid}`;
  const bundle = bundles.bundle(
    'trap "exit 0" TERM; touch /tmp/started; while :; do sleep 0.05; done',
    (config) => {
      config.root.readonly = false;
      // Without a path it is in a cgroup that bears its id.
      delete config.linux['cgroupsPath'];
      config.annotations = { 'org.example': 'a "quoted" word' };
    },
  );
  assert.equal(await detached(['create', '--pid-file', 'pid', life], bundle), 0);
  const created = stateOf(life);
  assert.equal(created['status'], 'created');
  assert.equal(created['bundle'], bundle);
  assert.deepEqual(created['annotations'], { 'org.example': 'a "quoted" word' });
  assert.equal(String(created['pid']), readFileSync(join(bundle, 'pid'), 'utf8'));
  const status = JSON.parse(readFileSync(join(bundles.directory, 'state', life, 'status'), 'utf8')) as Record<
    string,
    unknown
  >;
  assert.equal(status['pid'], created['pid']);
  assert.match(String(status['external_descriptors']), /^\["\/dev\/null","/);
  assert.equal(existsSync(join(bundle, 'rootfs/tmp/started')), false);
  assert.notEqual(bundles.call(['create', life], bundle).code, 0);
  assert.equal(bundles.call(['start', life]).code, 0);
  assert.equal(stateOf(life)['status'], 'running');
  assert.match(bundles.call(['start', life]).stderr, /cannot start an already running container/);
  assert.match(bundles.call(['delete', life]).stderr, /not stopped: running/);
  await until(() => existsSync(join(bundle, 'rootfs/tmp/started')));
  assert.equal(bundles.call(['pause', life]).code, 0);
  assert.equal(stateOf(life)['status'], 'paused');
  assert.match(bundles.call(['exec', life, 'true']).stderr, /paused/);
  assert.equal(bundles.call(['resume', life]).code, 0);
  assert.equal(bundles.call(['exec', '--env', 'A=1', life, 'sh', '-c', 'echo $A; exit 4']).code, 4);
  assert.match(bundles.call(['ps', '-f', 'json', life]).stdout, /^\[\d+(,\d+)*\]\n$/);
  assert.match(
    bundles.call(['list']).stdout,
    new RegExp(`^ID +PID +STATUS +BUNDLE +CREATED +OWNER\\n${life} +\\d+ +running`),
  );
  assert.equal(bundles.call(['update', '--memory', '64M', life]).code, 0);
  assert.match(
    bundles.call(['events', '--stats', life]).stdout,
    new RegExp(`^\\{"type":"stats","id":"${life}","data":\\{`),
  );
  assert.equal(bundles.call(['kill', life, 'TERM']).code, 0);
  await until(() => stateOf(life)['status'] === 'stopped');
  assert.notEqual(bundles.call(['kill', life, 'KILL']).code, 0);
  assert.equal(bundles.call(['delete', life]).code, 0);
  assert.deepEqual(bundles.left(), []);
});

test("a foreground run ends with the program's status", () => {
  assert.deepEqual(bundles.run('echo out; exit 5'), { stdout: 'out\n', stderr: '', code: 5 });
  const killed = bundles.run('kill -9 $$', ({ linux }) => {
    // The first process of a pid namespace is deaf to it.
    linux.namespaces = linux.namespaces.filter(({ type }) => type !== 'pid');
  });
  assert.equal(killed.code, 137);
  assert.deepEqual(bundles.left(), []);
});

const note = (name: string): object => ({
  path: '/bin/sh',
  args: ['sh', '-c', `{ printf '${name} '; cat; echo; } >> "$LOG"`],
  env: [`LOG=${join(bundles.directory, 'hooks.log')}`, 'PATH=/bin:/usr/bin'],
});

test('hooks run in their order, each with the state of its moment', () => {
  const bundle = bundles.bundle('true', (config) => {
    config.root.readonly = false;
    config.hooks = Object.fromEntries(
      ['poststop', 'poststart', 'createContainer', 'createRuntime', 'prestart'].map((name) => [
        name,
        [note(name)],
      ]),
    );
    const inside = { path: '/bin/sh', args: ['sh', '-c', 'cat > /tmp/startContainer'] };
    config.hooks['startContainer'] = [inside];
  });
  assert.equal(bundles.call(['run', 'hooked'], bundle).code, 0);
  const lines = readFileSync(join(bundles.directory, 'hooks.log'), 'utf8').trim().split('\n');
  const seen = lines.map((line) => {
    const [name = '', text = ''] = line.split(/ (.*)/s);
    const state = JSON.parse(text) as { id: string; status: string; pid: number };
    assert.equal(state.id, 'hooked');
    assert.ok(name === 'poststop' || state.pid > 1);
    return `${name} ${state.status}`;
  });
  assert.deepEqual(seen, [
    ...['prestart created', 'createRuntime created', 'createContainer created'],
    ...['poststart running', 'poststop stopped'],
  ]);
  assert.match(readFileSync(join(bundle, 'rootfs/tmp/startContainer'), 'utf8'), /"status":"created"/);
});

test('a hook that fails or takes too long ends the creation, and nothing is left', () => {
  const failing = (hook: object) => (config: OciConfig) => (config.hooks = { createRuntime: [hook] });
  const exits = bundles.run('true', failing({ path: '/bin/sh', args: ['sh', '-c', 'exit 3'] }));
  assert.equal(exits.code, 1);
  assert.match(exits.stderr, /error running createRuntime hook #0: .*exit status 3/);
  const sleeps = bundles.run('true', failing({ path: '/bin/sleep', args: ['sleep', '60'], timeout: 1 }));
  assert.match(sleeps.stderr, /longer than its timeout/);
  assert.deepEqual(bundles.left(), []);
});

test('errors go to the log as engines read them', () => {
  const log = join(bundles.directory, 'log.json');
  const { code, stderr } = bundles.call(
    ['--log', log, '--log-format', 'json', 'run', 'broken'],
    bundles.bundle('true', (config) => (config.process['cwd'] = 'relative')),
  );
  assert.equal(code, 1);
  const entry = JSON.parse(readFileSync(log, 'utf8')) as { level: string; msg: string };
  assert.equal(entry.level, 'error');
  assert.match(entry.msg, /absolute path/);
  assert.equal(stderr.trim(), entry.msg);
  assert.match(bundles.call(['state', 'nobody']).stderr, /container does not exist/);
  assert.equal(bundles.call(['delete', '-f', 'nobody']).code, 0);
  assert.match(
    bundles.call(['run', '../up'], bundles.bundle('true')).stderr,
    /invalid container ID format: .*invalid character `\/` in the ID/,
  );
});

test('a program that cannot be executed is told of at create', () => {
  const missing = bundles.bundle('', (config) => (config.process.args = ['nothing-here']));
  assert.match(
    bundles.call(['create', 'missing'], missing).stderr,
    /exec: \\"nothing-here\\": executable file not found in \$PATH/,
  );
  assert.deepEqual(bundles.left(), []);
});

test('what fails after the start of a created container is told of by its name', async () => {
  const failing = async (id: string, hooks: object): Promise<string> => {
    const bundle = bundles.bundle('true', (config) => {
      Object.assign(config, { hooks: { poststart: [{ path: '/bin/true' }], ...hooks } });
    });
    assert.equal(await detached(['create', '--preserve-fds', '1', id], bundle), 0);
    if (!('startContainer' in hooks)) rmSync(join(bundle, 'rootfs/bin'), { recursive: true });
    const { stderr } = bundles.call(['start', id]);
    bundles.call(['delete', '--force', id]);
    return stderr;
  };
  const hook = { path: '/bin/sh', args: ['sh', '-c', 'exit 3'] };
  assert.match(
    await failing('bad-hook', { startContainer: [hook] }),
    /error running startContainer hook #0: \\"\/bin\/sh\\": exit status 3/,
  );
  assert.match(await failing('gone', {}), /exec: \\"sh\\": executable file not found in \$PATH/);
});

test('descriptors are handed on as they were, and no others', () => {
  const bundle = bundles.bundle('cat <&3; ls /proc/self/fd | tr "\\n" " "');
  writeFileSync(join(bundle, 'third'), 'third\n');
  const fd = openSync(join(bundle, 'third'), 'r');
  const { stdout } = bundles.call(['run', '--preserve-fds', '2', 'fds'], bundle, [fd]);
  closeSync(fd);
  assert.equal(stdout, 'third\n0 1 2 3 4 ');
});

test('a frozen cgroup is no place to start in', async () => {
  const path = `/tsbuild/oci-frozen-${process.pid}`;
  const change = (config: OciConfig): unknown => (config.linux['cgroupsPath'] = path);
  assert.equal(await detached(['run', '-d', 'first'], bundles.bundle('sleep 60', change)), 0);
  const broken = bundles.bundle('true', (config) => {
    change(config);
    config.process.args = ['no-such-program'];
  });
  assert.match(bundles.call(['run', 'broken'], broken).stderr, /cgroup is not empty/);
  assert.equal(stateOf('first')['status'], 'running', 'a refused neighbour does not end it');
  assert.equal(bundles.call(['pause', 'first']).code, 0);
  const second = bundles.call(['run', 'second'], bundles.bundle('true', change));
  assert.match(second.stderr, /unexpectedly frozen/);
  assert.equal(bundles.call(['delete', '-f', 'first']).code, 0);
  assert.deepEqual(bundles.left(), []);
});
