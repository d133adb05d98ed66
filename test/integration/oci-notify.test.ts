/** sd_notify(3) of a container: what it says reaches whoever started the runtime as a service. */
import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { locateNative } from '../../native/locate.ts';
import { openBundles, type Bundles, type OciConfig } from './oci-fixture.ts';

let bundles: Bundles;
before(() => (bundles = openBundles()));
after(() => bundles.close());

const PERL = '/usr/bin/perl';

/** Prints the first datagram that comes to a socket. */
const LISTEN = `use Socket; socket(my $s, PF_UNIX, SOCK_DGRAM, 0); bind($s, sockaddr_un($ARGV[0])) or die;
  recv($s, my $text, 4096, 0); print $text`;
const SAY = `use Socket; socket(my $s, PF_UNIX, SOCK_DGRAM, 0);
  send($s, "MAINPID=1\\nREADY=1\\nSTATUS=up", 0, sockaddr_un($ENV{NOTIFY_SOCKET})) or die $!`;

function hasPerl(): boolean {
  return spawnSync(PERL, ['-MSocket', '-e', '1']).status === 0;
}

async function listening(path: string): Promise<ChildProcess> {
  const child = spawn(PERL, ['-e', LISTEN, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  for (let round = 0; round < 200 && !existsSync(path); round += 1) await sleep(10);
  return child;
}

function runBy(manager: string, script: string, change?: (config: OciConfig) => void): string {
  const { stdout, stderr } = spawnSync(
    locateNative('tsbuild-runtime'),
    ['--root', join(bundles.directory, 'state'), 'run', 'notifying'],
    {
      ...{ cwd: bundles.bundle(script, change), encoding: 'utf8', timeout: 30_000 },
      env: { PATH: process.env['PATH'], NOTIFY_SOCKET: manager },
    },
  );
  return `${stdout}${stderr}`;
}

test('the program has a socket at the place of the service manager, whoever listens there', () => {
  const script = 'echo $NOTIFY_SOCKET; test -S $NOTIFY_SOCKET && echo socket; ls -l /run/the/socket | wc -l';
  const withTmpfs = ({ mounts }: OciConfig): number =>
    mounts.push({ destination: '/run', type: 'tmpfs', source: 'tmpfs' });
  assert.equal(runBy('/run/the/socket', script, withTmpfs), '/run/the/socket/notify\nsocket\n2\n');
  assert.deepEqual(bundles.left(), []);
});

test('a config that names a socket of its own keeps it', () => {
  const own = ({ process: { env } }: OciConfig): number => (env as string[]).push('NOTIFY_SOCKET=/own');
  assert.equal(runBy('/run/the/socket', 'echo $NOTIFY_SOCKET', own), '/own\n');
});

test('what a program in a user namespace says is handed on, but for process ids', async (t) => {
  if (!hasPerl()) return t.skip('no perl');
  const manager = join(bundles.directory, 'manager');
  const listener = await listening(manager);
  const heard = new Promise<string>((resolve) =>
    listener.stdout?.once('data', (data: Buffer) => resolve(data.toString())),
  );
  const outcome = runBy(manager, `${PERL} -e '${SAY.replaceAll('\n', ' ')}'`, (config) => {
    for (const destination of ['/usr', '/lib', '/lib64', '/etc'])
      config.mounts.push({ destination, type: 'bind', source: destination, options: ['rbind', 'ro'] });
    config.process['user'] = { uid: 1000, gid: 1000 };
    config.linux.namespaces.push({ type: 'user' });
    config.linux['uidMappings'] = config.linux['gidMappings'] = [
      { containerID: 0, hostID: 0, size: 1 },
      { containerID: 1, hostID: 70_001, size: 2000 },
    ];
  });
  assert.equal(outcome, '');
  assert.equal(await heard, 'READY=1\nSTATUS=up');
});

test('whoever listens ends with the container', async () => {
  const bundle = bundles.bundle('sleep 1000');
  const listeners = (): readonly string[] =>
    readdirSync('/proc').filter((pid) => {
      try {
        return (
          readlinkSync(`/proc/${pid}/cwd`) === bundle &&
          readFileSync(`/proc/${pid}/comm`, 'utf8') !== 'sleep\n'
        );
      } catch {
        return false;
      }
    });
  const child = spawn(
    locateNative('tsbuild-runtime'),
    ['--root', join(bundles.directory, 'state'), 'run', '--detach', 'heard'],
    { cwd: bundle, stdio: 'ignore', env: { PATH: process.env['PATH'], NOTIFY_SOCKET: '/run/manager' } },
  );
  assert.equal(await new Promise((resolve) => child.once('exit', resolve)), 0);
  assert.equal(listeners().length, 1);
  assert.equal(bundles.call(['kill', 'heard', 'KILL']).code, 0);
  for (let round = 0; round < 200 && listeners().length > 0; round += 1) await sleep(20);
  assert.deepEqual(listeners(), []);
  assert.equal(bundles.call(['delete', 'heard']).code, 0);
  assert.deepEqual(bundles.left(), []);
});
