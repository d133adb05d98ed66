/** Annotations that change what a container's start does, and whose its streams are. */
import assert from 'node:assert/strict';
import { mkdirSync, openSync, closeSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openBundles, type Bundles, type OciConfig } from './oci-fixture.ts';

let bundles: Bundles;
before(() => (bundles = openBundles()));
after(() => bundles.close());

const say = (word: string): object => ({
  path: '/bin/sh',
  args: ['sh', '-c', `echo ${word}; echo not ${word} >&2`],
});

test('what hooks of all phases write is in the files that annotations name', () => {
  const [stdout, stderr] = [join(bundles.directory, 'hooks.out'), join(bundles.directory, 'hooks.err')];
  writeFileSync(stdout, 'before\n');
  const phases = ['prestart', 'createRuntime', 'createContainer', 'startContainer', 'poststart', 'poststop'];
  const outcome = bundles.run('echo program', (config) => {
    config.hooks = Object.fromEntries(phases.map((phase) => [phase, [say(phase)]]));
    config.annotations = { 'run.oci.hooks.stdout': stdout, 'run.oci.hooks.stderr': stderr };
  });
  assert.deepEqual(outcome, { stdout: 'program\n', stderr: '', code: 0 });
  assert.equal(readFileSync(stdout, 'utf8'), `before\n${phases.join('\n')}\n`);
  assert.equal(readFileSync(stderr, 'utf8'), phases.map((phase) => `not ${phase}\n`).join(''));
});

test('a file for what hooks write that cannot be opened is an error', () => {
  const { code, stderr } = bundles.run('true', (config) => {
    config.hooks = { prestart: [say('nothing')] };
    config.annotations = { 'run.oci.hooks.stdout': '/no/such/file' };
  });
  assert.equal(code, 1);
  assert.match(stderr, /output of hooks \(\/no\/such\/file\): no such file or directory/);
  assert.deepEqual(bundles.left(), []);
});

test('the program does not have the files that hooks write to', () => {
  const { stdout } = bundles.run('ls /proc/self/fd', (config) => {
    config.hooks = { startContainer: [say('it')] };
    config.annotations = { 'run.oci.hooks.stdout': join(bundles.directory, 'hooks.fd') };
  });
  assert.equal(stdout, '0\n1\n2\n3\n');
});

test('a hook that ends without having read its state has not failed', () => {
  const { code, stderr } = bundles.run('true', (config) => {
    config.hooks = { poststart: [{ path: '/bin/true' }], poststop: [{ path: '/bin/true' }] };
    // more than a pipe holds
    config.annotations = { long: 'x'.repeat(200_000) };
  });
  assert.deepEqual([code, stderr], [0, '']);
});

test('the socket of an annotation gets a pidfd', async () => {
  const path = join(bundles.directory, 'receiver.sock');
  const server = createServer();
  const said = new Promise<string>((resolve) =>
    server.once('connection', (socket) => socket.once('data', (data) => resolve(data.toString()))),
  );
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const bundle = bundles.bundle('true', (config) => {
    config.annotations = { 'run.oci.pidfd_receiver': path };
  });
  const child = bundles.begin(['run', 'received'], bundle);
  assert.equal(await new Promise((resolve) => child.once('exit', resolve)), 0);
  assert.equal(await said, 'pidfd');
  server.close();
});

const OWNERS = 'for fd in 0 1 2; do stat -L -c %u:%g /proc/self/fd/$fd; done';
const asUser = ({ process }: OciConfig): void => {
  process['user'] = { uid: 1000, gid: 1001 };
};

test("the standard streams are those of the program's user, but for the null device", () => {
  const { stdout } = bundles.run(OWNERS, asUser);
  assert.equal(stdout, '0:0\n1000:1001\n1000:1001\n');
});

test('so they are in a user namespace, and for a further process', async () => {
  const mapped = (config: OciConfig): void => {
    asUser(config);
    config.linux.namespaces.push({ type: 'user' });
    const maps = [
      { containerID: 0, hostID: 0, size: 1 },
      { containerID: 1, hostID: 70_001, size: 2000 },
    ];
    config.linux['uidMappings'] = config.linux['gidMappings'] = maps;
  };
  const { stdout } = bundles.run(OWNERS, mapped);
  assert.deepEqual(stdout.split('\n').slice(1), ['1000:1001', '1000:1001', '']);
  const child = bundles.begin(['run', '-d', 'mapped'], bundles.bundle('sleep 1000', mapped));
  assert.equal(await new Promise((resolve) => child.once('exit', resolve)), 0);
  const further = bundles.call(['exec', 'mapped', 'sh', '-c', OWNERS]);
  assert.equal(further.stdout.split('\n')[1], '1000:1001');
});

test('a program of another user can open its output again, and what it reads stays whose it is', async () => {
  const directory = join(bundles.directory, 'streams');
  mkdirSync(directory);
  const [input, output] = [join(directory, 'in'), join(directory, 'out')];
  writeFileSync(input, 'text\n');
  const streams = [openSync(input, 'r'), openSync(output, 'w')] as const;
  const bundle = bundles.bundle('cat; echo again >> /dev/stdout', asUser);
  const child = bundles.begin(['run', 'streams'], bundle, streams);
  assert.equal(await new Promise((resolve) => child.once('exit', resolve)), 0);
  for (const fd of streams) closeSync(fd);
  assert.equal(readFileSync(output, 'utf8'), 'text\nagain\n');
  assert.deepEqual([statSync(input).uid, statSync(output).uid, statSync(output).gid], [0, 1000, 1001]);
});
