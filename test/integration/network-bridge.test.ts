/** Bridge networks with real namespaces: who reaches whom, published ports, and what is left afterwards. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { isTsbuildError } from '../../src/base/errors.ts';
import type { Attachment, PortRequest, PublishedPort } from '../../src/runtime/network/contract.ts';
import { parsePortSpec } from '../../src/runtime/network/port-spec.ts';
import {
  ask,
  inNamespaces,
  isSilent,
  leftovers,
  listen,
  openOutside,
  openRoot,
  requestOf,
  sh,
} from './network-fixture.ts';

const ports = (...specs: readonly string[]): readonly PortRequest[] => specs.flatMap(parsePortSpec);
const ipOf = ({ endpoints }: Attachment, index = 0): string => endpoints[index]?.ip ?? '';
const ip6Of = ({ endpoints }: Attachment): string => endpoints[0]?.ip6 ?? '';

inNamespaces(import.meta.url, () => {
  let outside: ReturnType<typeof openOutside>;
  before(() => (outside = openOutside()));
  after(() => outside[Symbol.dispose]());

  test('containers of one network reach each other, the host and the outside, behind the host', async (t) => {
    using place = openRoot();
    const { networks } = place;
    const [a, b] = [
      await networks.attach(requestOf('a', ['bridge'])),
      await networks.attach(requestOf('b', ['bridge'])),
    ];
    await listen(t, b.netns, 'b', 80);
    await listen(t, outside.netns, 'outside', 80);
    await listen(t, 'host', 'host', 81);
    assert.equal(ask(a.netns, 'tcp', ipOf(b), 80), `b ${ipOf(a)}`);
    assert.equal(ask(a.netns, 'udp', ipOf(b), 80), `b ${ipOf(a)}`);
    assert.equal(ask('host', 'tcp', ipOf(b), 80), `b ${b.endpoints[0]?.gateway ?? ''}`);
    assert.equal(ask(a.netns, 'tcp', b.endpoints[0]?.gateway ?? '', 81), `host ${ipOf(a)}`);
    assert.equal(ask(a.netns, 'tcp', '192.0.2.1', 80), 'outside 192.0.2.2');
    assert.match(sh('ip netns list'), /tsb-aaaaaaaaaaaa/);
    // Nothing from outside reaches a container by its own address.
    sh(`ip -n outside route add ${ipOf(b)} via 192.0.2.2`);
    assert.ok(isSilent(outside.netns, 'tcp', ipOf(b), 80));
    for (const { containerId } of [a, b]) await networks.detach(containerId);
  });

  test('networks do not reach each other, and an internal one reaches nothing outside', async (t) => {
    using place = openRoot();
    const { networks } = place;
    await networks.create({ name: 'one' });
    await networks.create({ name: 'two', internal: true });
    const a = await networks.attach(requestOf('a', ['one']));
    const b = await networks.attach(requestOf('b', ['two']));
    const c = await networks.attach(requestOf('c', ['two']));
    await listen(t, a.netns, 'a', 80);
    await listen(t, b.netns, 'b', 80);
    await listen(t, outside.netns, 'outside', 80);
    assert.equal(ask(c.netns, 'tcp', ipOf(b), 80), `b ${ipOf(c)}`);
    assert.ok(isSilent(a.netns, 'tcp', ipOf(b), 80));
    assert.ok(isSilent(b.netns, 'tcp', ipOf(a), 80));
    assert.ok(isSilent(b.netns, 'tcp', '192.0.2.1', 80));
    assert.equal(ask(a.netns, 'tcp', '192.0.2.1', 80), 'outside 192.0.2.2');
    // Not even where the container sets a route of its own.
    sh(
      `ip -n tsb-bbbbbbbbbbbb route add default via ${(await networks.find('two')).subnets[0]?.gateway ?? ''}`,
    );
    assert.ok(isSilent(b.netns, 'tcp', '192.0.2.1', 80));
    for (const { containerId } of [a, b, c]) await networks.detach(containerId);
    for (const name of ['one', 'two']) await networks.remove(name);
  });

  test('a published port is reached by every address of the host, from everywhere', async (t) => {
    using place = openRoot();
    const { networks } = place;
    await networks.create({ name: 'other' });
    const a = await networks.attach(requestOf('a', ['bridge'], { ports: ports('8080:80', '8080:80/udp') }));
    const b = await networks.attach(requestOf('b', ['bridge']));
    const c = await networks.attach(requestOf('c', ['other']));
    await listen(t, a.netns, 'a', 80);
    for (const kind of ['tcp', 'udp'] as const) {
      assert.equal(ask('host', kind, '127.0.0.1', 8080), `a ${a.endpoints[0]?.gateway ?? ''}`);
      assert.match(ask('host', kind, '192.0.2.2', 8080) ?? '', /^a /);
      assert.equal(ask(outside.netns, kind, '192.0.2.2', 8080), 'a 192.0.2.1');
      for (const from of [a, b, c])
        assert.match(ask(from.netns, kind, '192.0.2.2', 8080) ?? '', /^a /, from.netns);
    }
    for (const { containerId } of [a, b, c]) await networks.detach(containerId);
    assert.ok(isSilent('host', 'tcp', '127.0.0.1', 8080));
    await networks.remove('other');
  });

  test("a port published on the host's loopback stays there, and no container reaches that loopback", async (t) => {
    using place = openRoot();
    const { networks } = place;
    const a = await networks.attach(requestOf('a', ['bridge'], { ports: ports('127.0.0.1:8081:80') }));
    const b = await networks.attach(requestOf('b', ['bridge']));
    await listen(t, a.netns, 'a', 80);
    await listen(t, 'host', 'host', 9000);
    assert.match(ask('host', 'tcp', '127.0.0.1', 8081) ?? '', /^a /);
    assert.ok(isSilent(outside.netns, 'tcp', '192.0.2.2', 8081));
    // moby#45610: a neighbour addresses 127.0.0.1 to the host's hardware address.
    sh(`ip netns exec outside sh -c 'sysctl -qw net.ipv4.conf.all.route_localnet=1 net.ipv4.conf.eth0.route_localnet=1
      ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.1 via 192.0.2.2 src 192.0.2.1'`);
    assert.ok(isSilent(outside.netns, 'tcp', '127.0.0.1', 8081));
    // CVE-2020-8558: the same out of a container, since its bridge routes 127.0.0.0/8.
    sh(`ip netns exec tsb-bbbbbbbbbbbb sh -c 'sysctl -qw net.ipv4.conf.all.route_localnet=1 net.ipv4.conf.eth0.route_localnet=1
      ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.1 via ${b.endpoints[0]?.gateway ?? ''} src ${ipOf(b)}'`);
    assert.ok(isSilent(b.netns, 'tcp', '127.0.0.1', 9000));
    for (const { containerId } of [a, b]) await networks.detach(containerId);
  });

  test('ranges, free ports, and who has a port that is taken', async (t) => {
    using place = openRoot();
    using second = openRoot();
    const { networks } = place;
    const a = await networks.attach(
      requestOf('a', ['bridge'], {
        name: 'web',
        ports: ports('7000-7002:80-82', '90', '127.0.0.1:7100-7110:91'),
      }),
    );
    const both = (...ports: readonly number[]): readonly unknown[] => [
      ['0.0.0.0', ...ports],
      ['::', ...ports],
    ];
    const shown = ({ hostIp, hostPort, containerPort }: PublishedPort): readonly unknown[] => [
      ...[hostIp, containerPort === 90 ? 0 : hostPort, containerPort],
    ];
    assert.deepEqual(a.ports.map(shown), [
      ...[...both(7000, 80), ...both(7001, 81), ...both(7002, 82), ...both(0, 90)],
      ['127.0.0.1', 7100, 91],
    ]);
    // The container has no IPv6: its port there is for whoever relays.
    assert.deepEqual(
      a.forwards.map(({ address }) => address),
      Array(9).fill(ipOf(a)),
    );
    await listen(t, a.netns, 'a', 82);
    assert.match(ask('host', 'tcp', '127.0.0.1', 7002) ?? '', /^a /);
    const refused = async (spec: string, of = networks): Promise<string> => {
      try {
        await of.attach(requestOf('b', ['bridge'], { ports: ports(spec) }));
      } catch (error) {
        assert.ok(isTsbuildError(error, 'PORT_IN_USE'), String(error));
        return error.message;
      }
      return assert.fail(`${spec} was published twice`);
    };
    const taken = 'port is already allocated: container web has it';
    assert.equal(await refused('7001:1'), `bind for 0.0.0.0:7001/tcp failed: ${taken}`);
    assert.equal(await refused('127.0.0.1:7001:1'), `bind for 127.0.0.1:7001/tcp failed: ${taken}`);
    assert.equal(await refused('7100:1'), `bind for 0.0.0.0:7100/tcp failed: ${taken}`);
    assert.match(await refused('7001:1', second.networks), /already allocated/);
    await listen(t, 'host', 'host', 7200);
    assert.match(await refused('7200:1'), /7200\/tcp failed: address already in use by python3 \(pid \d+\)$/);
    // Of a range any free one, and another address or protocol is another port.
    const c = await networks.attach(
      requestOf('c', ['bridge'], { ports: ports('7001-7005:1', '127.0.0.2:7100:91', '7001:1/udp') }),
    );
    assert.deepEqual(
      c.ports.map(({ hostPort }) => hostPort),
      [7003, 7003, 7100, 7001, 7001],
    );
    for (const id of ['a', 'c']) await networks.detach(id.repeat(64));
    assert.equal(
      (await networks.attach(requestOf('d', ['bridge'], { ports: ports('7001:1') }))).ports.length,
      2,
    );
    await networks.detach('d'.repeat(64));
  });

  test('IPv6: addresses, the way out, published ports', async (t) => {
    using place = openRoot();
    const { networks } = place;
    const network = await networks.create({ name: 'six', ipv6: true });
    assert.match(network.subnets[1]?.subnet ?? '', /^fd[0-9a-f:]+::\/64$/);
    const a = await networks.attach(
      requestOf('a', ['six'], { ports: ports('8080:80', '[2001:db8::2]:8082:80') }),
    );
    const b = await networks.attach(requestOf('b', ['six']));
    await listen(t, a.netns, 'a', 80);
    await listen(t, outside.netns, 'outside', 80);
    assert.equal(ask(b.netns, 'tcp', ip6Of(a), 80), `a ${ip6Of(b)}`);
    assert.equal(ask(b.netns, 'udp', '2001:db8::1', 80), 'outside 2001:db8::2');
    assert.equal(ask(outside.netns, 'tcp', '2001:db8::2', 8080), 'a 2001:db8::1');
    assert.match(ask('host', 'tcp', '2001:db8::2', 8082) ?? '', /^a /);
    assert.match(ask('host', 'tcp', '127.0.0.1', 8080) ?? '', /^a /);
    for (const { containerId } of [a, b]) await networks.detach(containerId);
    await networks.remove('six');
  });

  test('addresses as asked for, each given once', async () => {
    using place = openRoot();
    const { networks } = place;
    await networks.create({
      name: 'small',
      subnets: [{ subnet: '10.77.0.0/29', ipRange: '10.77.0.4/30' }],
    });
    const code = async (work: Promise<unknown>): Promise<string> => {
      try {
        await work;
      } catch (error) {
        return isTsbuildError(error) ? error.code : String(error);
      }
      return 'done';
    };
    const want = (digit: string, ip: string, mac?: string): Promise<Attachment> =>
      networks.attach(
        requestOf(digit, [], {
          endpoints: [{ network: 'small', aliases: [], ip, ...(mac === undefined ? {} : { mac }) }],
        }),
      );
    const a = await want('a', '10.77.0.2', '02:00:00:00:00:99');
    assert.equal(
      sh('ip netns exec tsb-aaaaaaaaaaaa cat /sys/class/net/eth0/address').trim(),
      '02:00:00:00:00:99',
    );
    assert.equal(a.endpoints[0]?.gateway, '10.77.0.4');
    assert.equal(await code(want('b', '10.77.0.2')), 'ADDRESS_IN_USE');
    assert.equal(await code(want('b', '10.77.0.4')), 'ADDRESS_IN_USE');
    assert.equal(await code(want('b', '10.78.0.2')), 'NETWORK_INVALID');
    assert.equal(ipOf(await networks.attach(requestOf('b', ['small']))), '10.77.0.5');
    assert.equal(ipOf(await networks.attach(requestOf('c', ['small']))), '10.77.0.6');
    assert.equal(await code(networks.attach(requestOf('d', ['small']))), 'NETWORK_FULL');
    await networks.detach('b'.repeat(64));
    assert.equal(ipOf(await networks.attach(requestOf('d', ['small']))), '10.77.0.5');
    assert.equal(await code(networks.remove('small')), 'NETWORK_IN_USE');
    assert.equal(await code(networks.create({ name: 'small' })), 'NETWORK_EXISTS');
    assert.equal(
      await code(networks.create({ name: 'x', subnets: [{ subnet: '10.77.0.0/24' }] })),
      'NETWORK_EXISTS',
    );
    assert.equal(
      await code(networks.create({ name: 'x', subnets: [{ subnet: '192.0.2.0/24' }] })),
      'NETWORK_EXISTS',
    );
    for (const digit of ['a', 'c', 'd']) await networks.detach(digit.repeat(64));
    await networks.remove('small');
  });

  test('a running container is connected and disconnected', async (t) => {
    using place = openRoot();
    const { networks } = place;
    await networks.create({ name: 'late' });
    const a = await networks.attach(requestOf('a', ['bridge'], { name: 'web' }));
    const b = await networks.attach(requestOf('b', ['late']));
    await listen(t, a.netns, 'a', 80);
    const endpoint = await networks.connect(a.containerId, { network: 'late', aliases: ['www'] });
    assert.equal(endpoint.interface, 'eth1');
    assert.equal(ask(b.netns, 'tcp', endpoint.ip ?? '', 80), `a ${ipOf(b)}`);
    await networks.disconnect(a.containerId, 'bridge');
    assert.equal(ask(b.netns, 'tcp', endpoint.ip ?? '', 80), `a ${ipOf(b)}`);
    await listen(t, outside.netns, 'outside', 80);
    assert.equal(ask(a.netns, 'tcp', '192.0.2.1', 80), 'outside 192.0.2.2', 'the way out moved');
    await networks.disconnect(a.containerId, 'late');
    assert.ok(isSilent(b.netns, 'tcp', endpoint.ip ?? '', 80));
    assert.equal(sh('ip -n tsb-aaaaaaaaaaaa -o link').trim().split('\n').length, 1);
    for (const { containerId } of [a, b]) await networks.detach(containerId);
    await networks.remove('late');
  });

  test('rules and bridges that somebody took away come back with the next container', async (t) => {
    using place = openRoot();
    const { networks } = place;
    const a = await networks.attach(requestOf('a', ['bridge']));
    await networks.detach(a.containerId);
    sh('nft flush ruleset');
    const b = await networks.attach(requestOf('b', ['bridge'], { ports: ports('8080:80') }));
    await listen(t, b.netns, 'b', 80);
    assert.match(ask('host', 'tcp', '127.0.0.1', 8080) ?? '', /^b /);
    await networks.detach(b.containerId);
    sh(`ip link del ${(await networks.find('bridge')).interface}`);
    const c = await networks.attach(requestOf('c', ['bridge']));
    await listen(t, outside.netns, 'outside', 80);
    assert.equal(ask(c.netns, 'tcp', '192.0.2.1', 80), 'outside 192.0.2.2');
    await networks.detach(c.containerId);
  });

  test('running containers lost their way out and their ports by "nft flush ruleset"', async (t) => {
    using place = openRoot();
    using other = openRoot();
    const a = await place.networks.attach(requestOf('a', ['bridge'], { ports: ports('8080:80') }));
    const b = await other.networks.attach(requestOf('b', ['bridge'], { ports: ports('8081:80') }));
    await listen(t, a.netns, 'a', 80);
    await listen(t, b.netns, 'b', 80);
    await listen(t, outside.netns, 'outside', 80);
    const c = requestOf('c', ['bridge']);
    const said = /the rules of networks and published ports had been flushed, and are made anew/;
    for (const remake of [
      () => place.networks.restore(),
      () => place.networks.sweep(() => true),
      async () => (await place.networks.attach(c)).notes,
      async () => {
        await place.networks.connect(c.containerId, { network: 'late', aliases: [] });
        return place.networks.restore();
      },
    ]) {
      await place.networks.find('late').catch(() => place.networks.create({ name: 'late' }));
      sh('nft flush ruleset');
      assert.ok(isSilent(a.netns, 'tcp', '192.0.2.1', 80));
      const notes = await remake();
      if (remake.length === 0 && notes.length > 0) assert.match(notes.join('\n'), said);
      assert.equal(ask(a.netns, 'tcp', '192.0.2.1', 80), 'outside 192.0.2.2', String(remake));
      assert.equal(ask(outside.netns, 'tcp', '192.0.2.2', 8080), 'a 192.0.2.1', String(remake));
      assert.equal(ask(outside.netns, 'tcp', '192.0.2.2', 8081), 'b 192.0.2.1', String(remake));
      assert.deepEqual(await place.networks.restore(), [], 'nothing is missing any more');
    }
    for (const digit of ['a', 'c']) await place.networks.detach(digit.repeat(64));
    await place.networks.remove('late');
    await other.networks.detach('b'.repeat(64));
  });

  test("another firewall's FORWARD chain that drops everything is told to let bridges pass", async (t) => {
    using place = openRoot();
    sh('iptables -P FORWARD DROP');
    try {
      const a = await place.networks.attach(requestOf('a', ['bridge'], { ports: ports('8080:80') }));
      assert.match(a.notes.join('\n'), /told iptables to let interfaces named tsb-\* pass its chain FORWARD/);
      await listen(t, a.netns, 'a', 80);
      await listen(t, outside.netns, 'outside', 80);
      assert.equal(ask(a.netns, 'tcp', '192.0.2.1', 80), 'outside 192.0.2.2');
      assert.equal(ask(outside.netns, 'tcp', '192.0.2.2', 8080), 'a 192.0.2.1');
      await place.networks.detach(a.containerId);
    } finally {
      sh('iptables -P FORWARD ACCEPT; iptables -F FORWARD');
    }
  });

  test('what dead holders and removed state roots left is swept, and nothing else', async () => {
    const gone = openRoot();
    const dead = await gone.networks.attach(requestOf('d', ['bridge'], { ports: ports('8090:80') }));
    await gone.networks.attach(requestOf('e', ['bridge'], { holder: { kind: 'process', owner: '1.1.1' } }));
    const alive = await gone.networks.attach(requestOf('f', ['bridge']));
    const removed = await gone.networks.sweep((id) => id === alive.containerId);
    assert.deepEqual(removed.slice(0, 2).toSorted(), [
      'attachment of dddddddddddd',
      'attachment of eeeeeeeeeeee',
    ]);
    assert.deepEqual(readdirSync(`${gone.root}/networks/attached`).length, 2);
    assert.doesNotMatch(sh('nft list table inet tsbuild'), /8090/);
    assert.ok(isSilent('host', 'tcp', ipOf(dead), 80));
    await gone.networks.detach(alive.containerId);
    gone[Symbol.dispose]();
    using place = openRoot();
    await place.networks.sweep(() => true);
    assert.deepEqual(await leftovers(), []);
  });

  test('nothing is left of many containers, made and removed at the same time', async () => {
    using place = openRoot();
    const { networks } = place;
    await networks.create({ name: 'many' });
    const base = await leftovers();
    const ids = Array.from({ length: 24 }, (_, index) =>
      index.toString(16).padStart(12, '0').padEnd(64, '0'),
    );
    const all = await Promise.all(
      ids.map((containerId, index) =>
        networks.attach({ ...requestOf('0', ['many']), containerId, ports: ports(`${9100 + index}:80`) }),
      ),
    );
    assert.equal(new Set(all.map((each) => ipOf(each))).size, ids.length);
    await Promise.all(ids.map((id) => networks.detach(id)));
    assert.deepEqual(await leftovers(), base);
    assert.deepEqual(readdirSync(`${place.root}/networks/attached`), []);
    await networks.remove('many');
    assert.deepEqual(await leftovers(), []);
    assert.equal(readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8').trim(), '1');
  });
});
