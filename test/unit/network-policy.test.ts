/** What is decided about networks without touching any: flags, addresses, files, plans of subnets. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from '../suites/properties.ts';
import { claimFile } from '../../src/base/atomic-file.ts';
import { isTsbuildError } from '../../src/base/errors.ts';
import {
  bytesOf,
  addressFromBytes,
  formatAddress,
  formatCidr,
  parseAddress,
  parseCidr,
} from '../../src/runtime/network/address.ts';
import { createAttachmentStore } from '../../src/runtime/network/attachment-store.ts';
import { parseNetworkChoice } from '../../src/runtime/network/choice.ts';
import { beyondStub, hostsFile, planNames } from '../../src/runtime/network/container-files.ts';
import { checkOptions, overheadOf } from '../../src/runtime/network/driver-options.ts';
import { bridgeName, localPrefix6, macFor } from '../../src/runtime/network/interface-names.ts';
import { createLeases } from '../../src/runtime/network/leases.ts';
import { parsePortSpec, publishAll } from '../../src/runtime/network/port-spec.ts';
import {
  addressRange,
  chooseSubnet4,
  completeSubnet,
  matchSubnets,
} from '../../src/runtime/network/subnets.ts';

const none = { servers: [], search: [], options: [] };
const refuses = (work: () => unknown, code: Parameters<typeof isTsbuildError>[1]): void =>
  assert.throws(work, (error) => isTsbuildError(error, code));

test('port specs are read as docker reads them', () => {
  const ports = (text: string): unknown =>
    parsePortSpec(text).map(({ hostIp, hostPorts, containerPort, protocol }) =>
      [
        hostIp ?? '',
        hostPorts === undefined ? '' : `${hostPorts.first}-${hostPorts.last}`,
        containerPort,
        protocol,
      ].join(' '),
    );
  assert.deepEqual(ports('80'), ['  80 tcp']);
  assert.deepEqual(ports('8080:80/UDP'), [' 8080-8080 80 udp']);
  assert.deepEqual(ports('127.0.0.1::80'), ['127.0.0.1  80 tcp']);
  assert.deepEqual(ports('[::1]:8080:80'), ['::1 8080-8080 80 tcp']);
  assert.deepEqual(ports('::1:8080:80'), ['::1 8080-8080 80 tcp']);
  assert.deepEqual(ports('8000-8001:80-81'), [' 8000-8000 80 tcp', ' 8001-8001 81 tcp']);
  assert.deepEqual(ports('8000-8010:80'), [' 8000-8010 80 tcp']);
  assert.deepEqual(ports('0:80'), ['  80 tcp']);
  for (const text of ['', ':80:', '80:', 'a:80', '70000', '80/icmp', '1-3:1-2', '9-8', '1.2.3:80:80', '0'])
    refuses(() => parsePortSpec(text), 'USAGE');
  assert.equal(publishAll(parsePortSpec('80-81'), parsePortSpec('8080:80')).length, 2);
});

test('--network: special words stand alone, endpoints have options', () => {
  const flags = { aliases: ['a'], ip: '10.0.0.2' };
  assert.deepEqual(parseNetworkChoice([], { aliases: [] }), {
    kind: 'networks',
    endpoints: [{ network: 'bridge', aliases: [] }],
  });
  assert.deepEqual(parseNetworkChoice(['net', 'name=two,alias=x,ip6=fd::2'], flags), {
    kind: 'networks',
    endpoints: [
      { network: 'net', aliases: ['a'], ip: '10.0.0.2' },
      { network: 'two', aliases: ['x'], ip6: 'fd::2' },
    ],
  });
  assert.deepEqual(parseNetworkChoice(['container:c'], { aliases: [] }), {
    kind: 'container',
    container: 'c',
  });
  for (const values of [
    ['host', 'net'],
    ['net', 'none'],
    ['net', 'net'],
    ['container:'],
    ['net,x=y'],
    ['net,ip=a'],
  ])
    refuses(() => parseNetworkChoice(values, { aliases: [] }), 'USAGE');
  refuses(() => parseNetworkChoice(['host'], flags), 'USAGE');
  refuses(() => parseNetworkChoice(['net'], { aliases: [], mac: '01:00:00:00:00:00' }), 'USAGE');
});

test('addresses: text, number and bytes are the same, whatever the address', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 4, maxLength: 4 }),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
    fc
      .array(fc.constantFrom(0, 0, 0, 255), { minLength: 16, maxLength: 16 })
      .map((list) => Uint8Array.from(list)),
  );
  fc.assert(
    fc.property(bytes, (given) => {
      const address = addressFromBytes(given);
      assert.ok(address !== undefined);
      const text = formatAddress(address);
      assert.deepEqual(parseAddress(text), address, text);
      assert.deepEqual([...bytesOf(address)], [...given]);
      assert.equal(isIPv6(text), given.byteLength === 16);
    }),
  );
  assert.equal(formatAddress(parseAddress('2001:0db8:0:0:1:0:0:1')), '2001:db8::1:0:0:1');
  assert.equal(formatAddress(parseAddress('::ffff:1.2.3.4')), '::ffff:102:304');
  refuses(() => parseCidr('10.0.0.1/24'), 'NETWORK_INVALID');
  refuses(() => parseCidr('10.0.0.0/33'), 'NETWORK_INVALID');
});

test('subnets keep off what is taken, and gateways and ranges are in them', () => {
  const taken = [parseCidr('10.210.0.0/17'), parseCidr('10.210.129.0/24')];
  assert.equal(chooseSubnet4(taken, 128).subnet, '10.210.128.0/24');
  assert.equal(chooseSubnet4(taken, 129).subnet, '10.210.130.0/24');
  assert.equal(chooseSubnet4([parseCidr('10.0.0.0/8')], 0).subnet, '172.28.0.0/24');
  refuses(
    () => chooseSubnet4(['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'].map(parseCidr), 0),
    'NETWORK_FULL',
  );
  assert.deepEqual(completeSubnet({ subnet: '10.1.0.0/24', ipRange: '10.1.0.64/26' }), {
    subnet: '10.1.0.0/24',
    gateway: '10.1.0.64',
    ipRange: '10.1.0.64/26',
  });
  refuses(() => completeSubnet({ subnet: '10.1.0.0/24', gateway: '10.2.0.1' }), 'NETWORK_INVALID');
  refuses(() => completeSubnet({ subnet: '10.1.0.0/31' }), 'NETWORK_INVALID');
  const { first, last } = addressRange({ subnet: '10.1.0.0/30' });
  assert.equal(last - first, 1n, 'neither the network nor the broadcast address');
  assert.deepEqual(matchSubnets(['10.1.0.0/24', 'fd::/64'], ['fd::9'], []), [
    { subnet: '10.1.0.0/24' },
    { subnet: 'fd::/64', gateway: 'fd::9' },
  ]);
  const prefix = localPrefix6('/root', 'id');
  assert.equal(formatCidr(parseCidr(prefix)), prefix);
});

test('names of interfaces fit, and tell state roots apart', () => {
  assert.notEqual(bridgeName('/a', 'id'), bridgeName('/b', 'id'));
  assert.ok(bridgeName('/a', 'id').length <= 15);
  assert.equal(macFor(Uint8Array.of(10, 1, 2, 3), ''), '02:42:0a:01:02:03');
});

test('resolv.conf: the host, the flags, or the name service', () => {
  const host = 'nameserver 192.0.2.1\nnameserver fe80::1%eth0\nsearch a b\noptions ndots:3 rotate\n';
  assert.equal(
    planNames(host, none, false).resolvConf,
    'nameserver 192.0.2.1\nsearch a b\noptions ndots:3 rotate\n',
  );
  assert.equal(
    planNames(host, none, true).resolvConf,
    'nameserver 127.0.0.11\nsearch a b\noptions rotate ndots:3\n',
  );
  const stub = planNames('nameserver 127.0.0.53\n', none, false);
  assert.ok(stub.isServed);
  assert.deepEqual(stub.upstream, ['127.0.0.53']);
  const asked = planNames(host, { servers: ['9.9.9.9'], search: ['.'], options: ['ndots:1'] }, false);
  assert.equal(asked.resolvConf, 'nameserver 9.9.9.9\noptions ndots:1\n');
  assert.deepEqual(planNames('', none, true).upstream, ['8.8.8.8', '8.8.4.4']);
  assert.equal(
    beyondStub('nameserver 127.0.0.53\n', () => 'behind'),
    'behind',
  );
  assert.equal(
    beyondStub(host, () => 'behind'),
    host,
  );
});

test('/etc/hosts has the addresses of all networks, and host-gateway means the bridge', () => {
  const endpoint = { networkId: 'n', network: 'n', interface: 'eth0', mac: '', aliases: [] };
  const text = hostsFile({
    hostname: 'box',
    domainname: 'example.org',
    endpoints: [
      { ...endpoint, driver: 'macvlan', ip: '192.0.2.9', gateway: '192.0.2.1' },
      { ...endpoint, driver: 'bridge', ip: '10.1.0.2', ip6: 'fd::2', gateway: '10.1.0.1' },
    ],
    extraHosts: ['up:host-gateway', 'six:[fd::9]', 'old=1.2.3.4'],
  });
  assert.match(text, /^192\.0\.2\.9\tbox\.example\.org box$/m);
  assert.match(text, /^fd::2\tbox\.example\.org box\n10\.1\.0\.1\tup\nfd::9\tsix\n1\.2\.3\.4\told\n$/m);
  refuses(() => hostsFile({ hostname: 'a', endpoints: [], extraHosts: ['x:host-gateway'] }), 'USAGE');
});

test('options of drivers are checked, by their short names and by docker’s', () => {
  assert.deepEqual(checkOptions('bridge', { 'com.docker.network.driver.mtu': '1400' }), { mtu: '1400' });
  assert.equal(overheadOf('vxlan', { vni: '1', remote: '192.0.2.1' }), 50);
  assert.equal(overheadOf('vxlan', { vni: '1', remote: '2001:db8::1' }), 70);
  for (const [driver, options] of [
    ['bridge', { parent: 'eth0' }],
    ['bridge', { mtu: '1' }],
    ['macvlan', {}],
    ['macvlan', { parent: 'a/b' }],
    ['macvlan', { parent: 'eth0', mode: 'l2' }],
    ['vxlan', { vni: '1' }],
    ['vxlan', { vni: '0', remote: '192.0.2.1' }],
    ['vxlan', { vni: '1', remote: '192.0.2.1', local: '2001:db8::1' }],
    ['vxlan', { vni: '1', group: '239.1.1.1' }],
  ] as const)
    refuses(() => checkOptions(driver, options), 'NETWORK_INVALID');
});

test('a lease that a full disk left empty is nobody’s, and claims have all of their text or are not there', () => {
  const root = mkdtempSync(join(tmpdir(), 'tsbuild-leases-'));
  try {
    let count = 0;
    const host = { now: () => 1, unique: () => `1.0.${(count += 1)}` };
    const attached = createAttachmentStore(root, host);
    const leases = createLeases(root, host, (id) => attached.has(id));
    const network = {
      ...{
        id: 'n'.repeat(64),
        name: 'n',
        driver: 'bridge' as const,
        internal: false,
        ipv6: false,
        options: {},
      },
      ...{ labels: {}, created: '', interface: 'n', subnets: [] },
    } as const;
    const directory = leases.directory(network.id);
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, '10.0.0.2'), '');
    assert.deepEqual(
      leases.list(network.id).map(({ containerId }) => attached.has(containerId)),
      [false],
    );
    const taken = leases.take(
      network,
      { subnet: '10.0.0.0/24', gateway: '10.0.0.1' },
      { containerId: 'c', names: ['one'], wanted: '10.0.0.2' },
    );
    assert.equal(taken, '10.0.0.2');
    assert.match(readFileSync(join(directory, taken), 'utf8'), /^c\n1\.0\.\d+\none\n$/);
    assert.ok(!claimFile(host, join(directory, taken), 'other', 0o600));
    assert.throws(() => claimFile(host, join(directory, 'not/there'), 'other', 0o600), { code: 'ENOENT' });
    assert.deepEqual(readdirSync(directory), [taken]);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});
