/** What --debug tells, and the words of errors, which people and programs know from runc. */
import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openBundles, type Bundles, type OciConfig } from './oci-fixture.ts';

let bundles: Bundles;
before(() => (bundles = openBundles()));
after(() => bundles.close());

/** A container that stays. */
async function running(id: string, change?: (config: OciConfig) => void): Promise<void> {
  const child = bundles.begin(['run', '--detach', id], bundles.bundle('sleep 1000', change));
  assert.equal(await new Promise((resolve) => child.once('exit', resolve)), 0);
}

/** Messages of level debug in a log of text lines, process ids left out. */
function told(log: string): readonly string[] {
  return [...log.matchAll(/ level=debug msg=(".*")$/gm)].map(([, text = '""']) =>
    (JSON.parse(text) as string).replace(/\[\d+\]/, ''),
  );
}

test('--debug tells the stages of a start in the order in which they happen', () => {
  const { code, stdout, stderr } = bundles.call(['--debug', 'run', 'told'], bundles.bundle('echo hello'));
  assert.deepEqual([code, stdout], [0, 'hello\n']);
  assert.deepEqual(
    told(stderr).filter((text) => !text.includes('affinity')),
    [
      'run told',
      'nsexec: => nsexec container setup',
      'nsexec: <= nsexec container setup',
      'child process in init()',
      'init: closing the pipe to signal completion',
    ],
  );
});

test('a created container tells until it waits for its start', async () => {
  const bundle = bundles.bundle('true');
  const child = bundles.begin(['--debug', '--log', join(bundle, 'log'), 'create', 'waits'], bundle);
  assert.equal(await new Promise((resolve) => child.once('exit', resolve)), 0);
  const log = readFileSync(join(bundle, 'log'), 'utf8');
  assert.equal(told(log).at(-1), 'init: closing the pipe to signal completion');
  assert.equal(bundles.call(['start', 'waits']).code, 0);
});

test('the log of JSON lines has the stages of exec, and standard error nothing of them', async () => {
  await running('stages');
  const log = join(bundles.directory, 'log.json');
  const call = ['--debug', '--log', log, '--log-format', 'json', 'exec', 'stages', 'true'];
  assert.deepEqual(bundles.call(call), { stdout: '', stderr: '', code: 0 });
  const messages = readFileSync(log, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { level: string; msg: string });
  assert.deepEqual(new Set(messages.map(({ level }) => level)), new Set(['debug']));
  assert.equal(messages.at(-1)?.msg, 'setns_init: about to exec');
});

test('descriptors that are handed on stay whole beside what is told', () => {
  const config = (change: OciConfig): void => {
    change.linux['seccomp'] = { defaultAction: 'SCMP_ACT_ALLOW', flags: ['SECCOMP_FILTER_FLAG_LOG'] };
  };
  const bundle = bundles.bundle('ls /proc/self/fd | wc -l; cat <&4', config);
  const call = ['--debug', 'run', '--preserve-fds', '2', 'handed'];
  const passed = join(bundle, 'passed');
  writeFileSync(passed, 'passed\n');
  const [first, second] = [openSync(passed, 'r'), openSync(passed, 'r')];
  const { stdout, stderr } = bundles.call(call, bundle, [first, second]);
  for (const fd of [first, second]) closeSync(fd);
  // Standard streams, both that were handed on, and that of the directory.
  assert.equal(stdout, '6\npassed\n');
  assert.equal(told(stderr).at(-1), 'seccomp filter flags: 2');
});

test('--debug exec tells the initial affinity, and the final one', async (t) => {
  if (!/^Cpus_allowed_list:\s*0-/m.test(readFileSync('/proc/self/status', 'utf8')))
    return t.skip('there is one processor');
  await running('affinity', ({ process }) => (process['execCPUAffinity'] = { initial: '0', final: '1' }));
  const { stderr } = bundles.call(['--debug', 'exec', 'affinity', 'true']);
  assert.deepEqual(
    told(stderr).filter((text) => text.includes('affinity:')),
    ['nsexec: affinity: 0x1', 'nsexec: affinity: 0x2'],
  );
});

test('a start that fails says so in the words of runc, with the name of the program', () => {
  const { stderr } = bundles.run('true', (config) => {
    config.mounts.push({
      destination: '/etc/passwd',
      type: 'bind',
      source: bundles.directory,
      options: ['bind'],
    });
  });
  assert.match(
    stderr,
    /level=error msg="tsbuild-runtime run failed: unable to start container process: error during container init: error mounting \\"[^"]+\\" to rootfs at \\"\/etc\/passwd\\": .*invalid argument"/,
  );
});
