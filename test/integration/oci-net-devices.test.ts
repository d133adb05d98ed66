/** Network devices that a container gets (`linux.netDevices`), in a network namespace of the test's own. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { locateNative } from '../../native/locate.ts';
import { openBundles, type Bundles, type OciConfig, type Outcome } from './oci-fixture.ts';

let bundles: Bundles;
before(() => (bundles = openBundles()));
after(() => bundles.close());

/** Runs a container where there is one end of a veth pair, `moved`, with these addresses. */
function runBeside(
  addresses: readonly string[],
  script: string,
  change: (config: OciConfig) => void,
): Outcome {
  const commands = [
    'ip link add moved mtu 1400 type veth peer name stays',
    'ip link set stays up',
    'ip link set moved up',
    ...addresses.map((address) => `ip address add ${address} dev moved`),
    `${locateNative('tsbuild-runtime')} --root ${join(bundles.directory, 'state')} run moving`,
  ];
  const { stdout, stderr, status } = spawnSync('unshare', ['--net', 'sh', '-ec', commands.join('\n')], {
    cwd: bundles.bundle(script, change),
    encoding: 'utf8',
  });
  return { stdout, stderr, code: status };
}

const devices =
  (netDevices: object) =>
  ({ linux }: OciConfig): void => {
    linux['netDevices'] = netDevices;
  };

test('a device comes with its addresses and is up, by the name that the config gives it', () => {
  const addresses = ['10.1.2.3/24 broadcast 10.1.2.254', '10.9.9.9/32', 'fd00::7/64 nodad'];
  const { stdout, stderr, code } = runBeside(
    addresses,
    'ip address show inner; ip route',
    devices({ moved: { name: 'inner' } }),
  );
  assert.deepEqual([stderr, code], ['', 0]);
  assert.match(stdout, /inner.*<.*\bUP\b.*> mtu 1400/);
  assert.match(stdout, /inet 10\.1\.2\.3\/24 brd 10\.1\.2\.254 scope global inner/);
  assert.match(stdout, /inet 10\.9\.9\.9\/32 scope global inner/);
  assert.match(stdout, /inet6 fd00::7\/64 scope global/);
  assert.match(stdout, /10\.1\.2\.0\/24 dev inner/);
});

test('without another name it keeps its own, and no broadcast address is made up', () => {
  const { stdout, code } = runBeside(
    ['10.1.2.3/24'],
    'ip -4 address show moved',
    (config: OciConfig): void => {
      devices({ moved: {} })(config);
      config.linux.namespaces.push({ type: 'user' });
      config.linux['uidMappings'] = config.linux['gidMappings'] = [
        { containerID: 0, hostID: 0, size: 65536 },
      ];
    },
  );
  assert.equal(code, 0);
  assert.match(stdout, /inet 10\.1\.2\.3\/24 scope global moved/);
});

test('devices that cannot be moved are told of by name', () => {
  const stderrOf = (change: (config: OciConfig) => void): string => runBeside([], 'true', change).stderr;
  assert.match(stderrOf(devices({ nowhere: {} })), /netDevices nowhere.*: no such device/);
  assert.match(stderrOf(devices({ moved: { name: 'lo' } })), /netDevices moved.*: file exists/);
  assert.match(stderrOf(devices({ moved: { name: 'a/b' } })), /invalid network device name/);
  assert.match(
    stderrOf((config) => {
      devices({ moved: {} })(config);
      config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'network');
    }),
    /without a private NET namespace/,
  );
  assert.deepEqual(bundles.left(), []);
});
