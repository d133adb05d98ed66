/** Networks that are not a bridge of one host: macvlan on an interface, vxlan between two hosts. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { NetworkRequest } from '../../src/runtime/network/contract.ts';
import {
  ask,
  inNamespaces,
  leftovers,
  listen,
  openOutside,
  openRoot,
  requestOf,
  sh,
} from './network-fixture.ts';

interface OtherHost {
  /** The next line that it says. */
  said(): Promise<unknown>;
  tell(line: string): void;
  end(): Promise<void>;
}

/** A tsbuild in another network namespace, with a /run of its own. */
function startHost(netns: string, network: NetworkRequest, digit: string): OtherHost {
  const file = fileURLToPath(new URL('./network-host.js', import.meta.url));
  const script = 'mount -t tmpfs tmpfs /run && exec "$@"';
  const child = spawn(
    'nsenter',
    [
      ...[`--net=${netns}`, 'unshare', '--mount', 'sh', '-c', script, 'sh'],
      ...[process.execPath, file, JSON.stringify(network), digit],
    ],
    { stdio: ['pipe', 'ignore', 'pipe'], env: { ...process.env, NODE_TEST_CONTEXT: undefined } },
  );
  const lines = createInterface({ input: child.stderr })[Symbol.asyncIterator]();
  return {
    async said() {
      const next: IteratorResult<string, unknown> = await lines.next();
      assert.ok(next.done !== true, 'the host ended');
      try {
        return JSON.parse(next.value) as unknown;
      } catch {
        return assert.fail(next.value);
      }
    },
    tell: (line) => void child.stdin.write(`${line}\n`),
    end: () =>
      new Promise((resolve) => {
        child.once('exit', () => resolve());
        child.stdin.end();
      }),
  };
}

inNamespaces(import.meta.url, () => {
  test('macvlan: a container has its own address on the network of an interface', async (t) => {
    using outside = openOutside();
    using place = openRoot();
    const { networks } = place;
    const subnets = [{ subnet: '192.0.2.0/24', gateway: '192.0.2.1', ipRange: '192.0.2.128/25' }];
    await networks.create({ name: 'lan', driver: 'macvlan', subnets, options: { parent: 'out0' } });
    const a = await networks.attach(requestOf('a', ['lan']));
    const b = await networks.attach(requestOf('b', ['lan']));
    await listen(t, a.netns, 'a', 80);
    await listen(t, outside.netns, 'outside', 80);
    assert.equal(a.endpoints[0]?.ip, '192.0.2.128');
    assert.equal(ask(a.netns, 'tcp', '192.0.2.1', 80), 'outside 192.0.2.128', 'nobody hides it');
    assert.equal(ask(outside.netns, 'tcp', '192.0.2.128', 80), 'a 192.0.2.1');
    assert.equal(ask(b.netns, 'tcp', '192.0.2.128', 80), 'a 192.0.2.129');
    await assert.rejects(
      networks
        .create({ name: 'no', driver: 'macvlan', subnets, options: { parent: 'nothere' } })
        .then(() => networks.attach(requestOf('c', ['no']))),
      /the host has no interface "nothere"/,
    );
    for (const { containerId } of [a, b]) await networks.detach(containerId);
    for (const name of ['lan', 'no']) await networks.remove(name);
    assert.deepEqual(await leftovers(), []);
  });

  test('vxlan: containers of two hosts are on one network', async () => {
    sh(`ip netns add one; ip netns add two
      ip link add wire netns one type veth peer name wire netns two
      for n in 1 2; do
        h=one; [ $n = 2 ] && h=two
        ip -n $h link set lo up; ip -n $h addr add 198.51.100.$n/24 dev wire; ip -n $h link set wire up
      done`);
    const network = (self: number, other: number, ipRange: string): NetworkRequest => ({
      name: 'net',
      driver: 'vxlan',
      subnets: [{ subnet: '10.99.0.0/24', ipRange }],
      options: { vni: '42', local: `198.51.100.${self}`, remote: `198.51.100.${other}` },
    });
    const one = startHost('/run/netns/one', network(1, 2, '10.99.0.0/25'), 'a');
    const two = startHost('/run/netns/two', network(2, 1, '10.99.0.128/25'), 'b');
    assert.equal(await one.said(), '10.99.0.2');
    assert.equal(await two.said(), '10.99.0.129');
    one.tell('ask 10.99.0.129 80');
    assert.equal(await one.said(), 'b 10.99.0.2');
    two.tell('ask 10.99.0.2 80');
    assert.equal(await two.said(), 'a 10.99.0.129');
    await Promise.all([one.end(), two.end()]);
    for (const host of ['one', 'two']) {
      // why: the kernel takes a veth away in its own time once the namespace of its other end is gone.
      for (const end = Date.now() + 30_000; Date.now() < end && /tsb/.test(sh(`ip -n ${host} -o link`)); )
        await setTimeout(20);
      assert.doesNotMatch(sh(`ip -n ${host} -o link`), /tsb/);
    }
    sh('ip netns del one; ip netns del two');
  });
});
