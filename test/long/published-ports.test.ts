/** Published ports as the host's own programs see them, in a network namespace of the test's own. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { after, afterEach, before, test, type TestContext } from 'node:test';
import { ask, inNamespaces, listen, openOutside, sh } from '../integration/network-fixture.ts';
import { CLI, importBusybox, leftovers, openWorkspace, type Workspace } from '../e2e/fixture.ts';

/** Sends `size` bytes, says that there are no more, and prints how many came back and whether they are the same. */
const ECHO_CLIENT = `
import hashlib, os, socket, sys, threading
address, port, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
s = socket.create_connection((address, port), 5)
s.settimeout(20)
data = os.urandom(size)
def send():
    s.sendall(data)
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=send).start()
got = b''
while True:
    piece = s.recv(65536)
    if not piece: break
    got += piece
print(len(got), got == data)
`;
const ECHO_SERVER = `
import socket, sys, threading
l = socket.create_server(('', int(sys.argv[1])))
def serve(c):
    while True:
        piece = c.recv(65536)
        if not piece: break
        c.sendall(piece)
    c.close()
print('ready', flush=True)
while True:
    threading.Thread(target=serve, args=(l.accept()[0],)).start()
`;
const BIND = `
import socket, sys
for address, port in [('0.0.0.0', int(sys.argv[1])), ('127.0.0.1', int(sys.argv[1])), ('::', int(sys.argv[1]))]:
    s = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET, socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        s.bind((address, port)); s.listen(1); print('bound', address)
    except OSError as error:
        print(error.strerror)
    s.close()
`;

function python(script: string, ...args: readonly string[]): string {
  const { stdout, stderr } = spawnSync('python3', ['-c', script, ...args], { encoding: 'utf8' });
  return `${stdout}${stderr}`.trim();
}

inNamespaces(import.meta.url, () => {
  let space: Workspace;
  before(() => {
    space = openWorkspace();
    importBusybox(space);
  });
  afterEach(() => {
    const left = space.ok(['ps', '-aq']).stdout.trim();
    if (left !== '') space.ok(['rm', '-f', ...left.split('\n')]);
  });
  after(() => {
    assert.deepEqual(leftovers(space.root), []);
    space[Symbol.dispose]();
  });

  /** A container in whose network something answers `NAME PEER` at port 80. */
  async function web(t: TestContext, name: string, ...args: readonly string[]): Promise<string> {
    space.ok(['run', '-d', '--name', name, ...args, 'bb:1', 'sleep', '1000']);
    const netns = space.ok(['inspect', '-f', '{{.NetworkSettings.SandboxKey}}', name]).stdout.trim();
    await listen(t, netns, name, 80);
    return netns;
  }

  test("the host's ::1 did not reach published ports", async (t) => {
    await web(t, 'web', '-p', '8080:80', '-p', '8080:80/udp', '-p', '127.0.0.1:8081:80');
    for (const address of ['127.0.0.1', '::1'])
      for (const kind of ['tcp', 'udp'] as const)
        assert.match(ask('host', kind, address, 8080) ?? '', /^web /, `${kind} ${address}`);
    assert.match(ask('host', 'tcp', '127.0.0.1', 8081) ?? '', /^web /);
    assert.equal(ask('host', 'tcp', '::1', 8081), undefined, 'what is published on 127.0.0.1 is there alone');
    assert.match(
      space.ok(['port', 'web', '80/tcp']).stdout,
      /^0\.0\.0\.0:8080\n\[::\]:8080\n127\.0\.0\.1:8081\n$/,
    );
    space.ok(['network', 'create', '--ipv6', 'six']);
    await web(t, 'six', '--network', 'six', '-p', '8082:80', '-p', '[::1]:8083:80', '-p', '8082:80/udp');
    for (const [kind, port] of [
      ['tcp', 8082],
      ['tcp', 8083],
      ['udp', 8082],
    ] as const)
      assert.match(ask('host', kind, '::1', port) ?? '', /^six /, `${kind} ${port}`);
    space.ok(['rm', '-f', 'web', 'six']);
    assert.equal(ask('host', 'tcp', '::1', 8080), undefined);
    space.ok(['network', 'rm', 'six']);
  });

  test('what is relayed comes whole, in both directions, many at a time', async (t) => {
    const netns = await web(t, 'relay', '-p', '8080:81');
    const server = spawn('nsenter', [`--net=${netns}`, 'python3', '-c', ECHO_SERVER, '81'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.after(() => server.kill('SIGKILL'));
    await new Promise((resolve) => server.stdout.once('data', resolve));
    assert.equal(python(ECHO_CLIENT, '::1', '8080', '5000000'), '5000000 True');
    assert.equal(python(ECHO_CLIENT, '::1', '8080', '0'), '0 True');
    const many = `
import socket
all = [socket.create_connection(('::1', 8080), 5) for _ in range(200)]
for n, s in enumerate(all): s.sendall(b'%d' % n)
print(all[199].recv(9), all[0].recv(9))
more = [socket.create_connection(('::1', 8080), 5) for _ in range(100)]
print(sum(s.recv(9) == b'' for s in more[70:]))
`;
    // Beyond what it takes at a time it turns away, and goes on.
    assert.equal(python(many), "b'199' b'0'\n30");
    assert.equal(python(ECHO_CLIENT, '::1', '8080', '100'), '100 True');
    server.kill('SIGKILL');
    await new Promise((resolve) => server.once('exit', resolve));
    assert.match(python(ECHO_CLIENT, '::1', '8080', '10'), /^0 False/);
  });

  test('another program could bind a published port unnoticed', async (t) => {
    await web(t, 'web', '-p', '8080:80', '-p', '8080:80/udp');
    assert.equal(python(BIND, '8080'), Array(3).fill('Address already in use').join('\n'));
    space.ok(['stop', '-t', '0', 'web']);
    assert.match(python(BIND, '8080'), /^bound 0\.0\.0\.0\nbound 127\.0\.0\.1\nbound ::$/);
    space.ok(['start', 'web']);
    assert.match(python(BIND, '8080'), /^Address/);
    space.ok(['restart', '-t', '0', 'web']);
    assert.match(python(BIND, '8080'), /^Address/);
    assert.match(ask('host', 'udp', '127.0.0.1', 8080) ?? '', /^$/);
    const taken = space.tsbuild(['run', '--rm', '-p', '8080:80', 'bb:1', 'true']);
    assert.equal(taken.code, 125);
    assert.match(
      taken.stderr,
      /bind for 0\.0\.0\.0:8080\/tcp failed: port is already allocated: container web has it/,
    );
  });

  test('a network that is disconnected takes its published ports along', async (t) => {
    space.ok(['network', 'create', 'one']);
    space.ok(['network', 'create', 'two']);
    await web(t, 'web', '--network', 'one', '-p', '8080:80');
    space.ok(['network', 'connect', 'two', 'web']);
    space.ok(['network', 'disconnect', 'one', 'web']);
    assert.match(python(BIND, '8080'), /^bound 0\.0\.0\.0/);
    space.ok(['rm', '-f', 'web']);
    space.ok(['network', 'rm', 'one', 'two']);
  });

  test('after "nft flush ruleset" published ports are reached all the same', async (t) => {
    using outside = openOutside();
    await web(t, 'web', '-p', '8080:80', '-p', '8080:80/udp');
    sh('nft flush ruleset');
    for (const kind of ['tcp', 'udp'] as const) {
      for (const address of ['127.0.0.1', '192.0.2.2', '::1'])
        assert.match(ask('host', kind, address, 8080) ?? '', /^web /, `${kind} ${address}`);
      for (const address of ['192.0.2.2', '2001:db8::2'])
        assert.match(
          ask(outside.netns, kind, address, 8080) ?? '',
          /^web /,
          `${kind} ${address} from outside`,
        );
    }
  });

  test('a thousand ports are held, and more than descriptors can be open are refused', () => {
    const run = (files: string): ReturnType<typeof spawnSync> =>
      spawnSync(
        'prlimit',
        [
          ...[`--nofile=${files}`, process.execPath, CLI, 'run', '-d', '--name', 'wide'],
          ...['-p', '9000-9999:9000-9999', 'bb:1', 'sleep', '1000'],
        ],
        { env: { ...process.env, TSBUILD_ROOT: space.root }, encoding: 'utf8' },
      );
    const few = run('500:500');
    assert.equal(few.status, 125);
    assert.match(
      String(few.stderr),
      /bind for \S+ failed: too many open files .*\nhint: publish fewer ports/,
    );
    space.ok(['rm', 'wide']);
    const many = run('1024:4096');
    assert.equal(many.status, 0, String(many.stderr));
    assert.match(python(BIND, '9999'), /^Address already in use/);
  });
});
