/** Networks in namespaces of their own: a host with an outside behind it, and programs that listen and ask. */
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createNetCall } from '../../native/net-call.ts';
import { locateNative } from '../../native/locate.ts';
import type { Host } from '../../src/base/host.ts';
import { startTimeOf } from '../../src/base/owner.ts';
import type { AttachRequest, Networks } from '../../src/runtime/network/contract.ts';
import { openNetworks } from '../../src/runtime/network/open-networks.ts';

const INSIDE = 'TSBUILD_TEST_NETWORKS';

/** Runs the calling file once more where its interfaces, rules and /run are nobody else's; there `define` is called. */
export function inNamespaces(file: string, define: () => void): void {
  if (process.env[INSIDE] === '1') {
    define();
    return;
  }
  test('in namespaces of their own', () => {
    const script = 'mount -t tmpfs tmpfs /run && ip link set lo up && exec "$@"';
    const { status, stdout, stderr } = spawnSync(
      'unshare',
      ['--net', '--mount', 'sh', '-c', script, 'sh', process.execPath, '--test', fileURLToPath(file)],
      { env: { ...process.env, [INSIDE]: '1', NODE_TEST_CONTEXT: undefined }, encoding: 'utf8' },
    );
    assert.equal(status, 0, `${stdout}\n${stderr}`);
  });
}

let count = 0;
export const host: Host = {
  now: () => Date.now(),
  unique: () => `${process.pid}.${startTimeOf(process.pid) ?? '0'}.${((count += 1)).toString(36)}`,
};

export const call = createNetCall(locateNative('tsbuild-launch'));

export function openRoot(
  resolvConf = 'nameserver 192.0.2.53\n',
): { root: string; networks: Networks } & Disposable {
  const root = mkdtempSync(join(tmpdir(), 'tsbuild-net-'));
  const networks = openNetworks({
    root,
    host,
    call,
    resolvConf: () => resolvConf,
    runDirectory: '/run/tsbuild',
    netnsDirectory: '/run/netns',
  });
  return { root, networks, [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true }) };
}

/** A request with defaults; the id is made of one digit. */
export function requestOf(
  digit: string,
  networks: readonly string[],
  more: Partial<AttachRequest> = {},
): AttachRequest {
  return {
    containerId: digit.repeat(64),
    hostname: `host-${digit}`,
    holder: { kind: 'container' },
    endpoints: networks.map((network) => ({ network, aliases: [] })),
    ports: [],
    dns: { servers: [], search: [], options: [] },
    extraHosts: [],
    ...more,
  };
}

export function sh(command: string): string {
  return execFileSync('sh', ['-c', command], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** In a namespace; `host` is the test's own. */
export function enter(netns: string, args: readonly string[]): readonly string[] {
  return netns === 'host' ? args : ['nsenter', `--net=${netns}`, ...args];
}

const SERVER = `
import socket, sys, threading
name, port = sys.argv[1], int(sys.argv[2])
def dual(kind):
    s = socket.socket(socket.AF_INET6, kind)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(('::', port))
    return s
tcp, udp = dual(socket.SOCK_STREAM), dual(socket.SOCK_DGRAM)
tcp.listen(64)
def datagrams():
    while True:
        _, peer = udp.recvfrom(2048)
        udp.sendto((name + ' ' + peer[0].replace('::ffff:', '')).encode(), peer)
threading.Thread(target=datagrams, daemon=True).start()
print('ready', flush=True)
while True:
    c, peer = tcp.accept()
    c.sendall((name + ' ' + peer[0].replace('::ffff:', '')).encode())
    c.close()
`;

const CLIENT = `
import socket, sys
kind, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
s = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET, socket.SOCK_STREAM if kind == 'tcp' else socket.SOCK_DGRAM)
s.settimeout(int(sys.argv[4]))
s.connect((address, port))
if kind == 'udp': s.send(b'?')
print(s.recv(100).decode())
`;

/** Answers `NAME PEER` over TCP and UDP, both families, at a port of a namespace, until the test ends. */
export async function listen(t: TestContext, netns: string, name: string, port: number): Promise<void> {
  const [program = '', ...args] = enter(netns, ['python3', '-IS', '-c', SERVER, name, String(port)]);
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  await ready(child);
}

/** Resolves when a program has said its first word. */
export function ready(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.stdout?.once('data', () => resolve());
    child.once('exit', (code) => reject(new Error(`it ended with ${code ?? 'a signal'}`)));
  });
}

/** What is answered there within `seconds`: many, since a busy machine is slow, and fewer where no answer is expected. */
export function ask(
  netns: string,
  kind: 'tcp' | 'udp',
  address: string,
  port: number,
  seconds = 20,
): string | undefined {
  const client = ['python3', '-IS', '-c', CLIENT, kind, address, String(port), String(seconds)];
  const [program = '', ...args] = enter(netns, client);
  const { status, stdout } = spawnSync(program, args, { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : undefined;
}

/** Whether nothing answers there. */
export function isSilent(netns: string, kind: 'tcp' | 'udp', address: string, port: number): boolean {
  return ask(netns, kind, address, port, 1) === undefined;
}

/** The world outside: a namespace with 192.0.2.1 and 2001:db8::1; the host is .2 and ::2 there. */
export function openOutside(): Disposable & { readonly netns: string } {
  sh(`ip netns add outside
    ip link add out0 type veth peer name eth0 netns outside
    ip addr add 192.0.2.2/24 dev out0 && ip -6 addr add 2001:db8::2/64 dev out0 nodad && ip link set out0 up
    ip -n outside addr add 192.0.2.1/24 dev eth0 && ip -n outside -6 addr add 2001:db8::1/64 dev eth0 nodad
    ip -n outside link set eth0 up && ip -n outside link set lo up
    ip route add default via 192.0.2.1 && ip -6 route add default via 2001:db8::1`);
  return {
    netns: '/run/netns/outside',
    [Symbol.dispose]: () => sh('ip link del out0; ip netns del outside'),
  };
}

const SOON_MS = 30_000;

/** Everything of ours that the host has; the kernel is given its time to remove the interfaces of ended namespaces. */
export async function leftovers(): Promise<readonly string[]> {
  for (const end = Date.now() + SOON_MS; Date.now() < end && /\btsbv/.test(sh('ip -o link')); )
    await setTimeout(20);
  const links = sh('ip -o link')
    .split('\n')
    .flatMap((line) => /^\d+: (tsb[^:@]*)/.exec(line)?.[1] ?? []);
  const spaces = sh('ip netns list')
    .split('\n')
    .filter((line) => line.startsWith('tsb-'));
  const elements = sh('nft list table inet tsbuild 2>/dev/null || true')
    .split('\n')
    .filter((line) => line.includes('elements'));
  const files = sh('find /run/tsbuild -type f ! -name lock')
    .split('\n')
    .filter((line) => line !== '');
  return [...links, ...spaces, ...elements, ...files].map((line) => line.trim());
}
