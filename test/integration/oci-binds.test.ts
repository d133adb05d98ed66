/** Binds: of what earlier mounts brought, of what the host's mounts forbid, and how access times are kept. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { locateNative } from '../../native/locate.ts';
import { openBundles, type Bundles, type OciConfig } from './oci-fixture.ts';

let bundles: Bundles;
/** A tmpfs of the host's, mounted without anything that forbids. */
let source: string;
before(() => {
  bundles = openBundles();
  chmodSync(bundles.directory, 0o711);
  source = join(bundles.directory, 'source');
  mkdirSync(source);
  mount('-t', 'tmpfs', 'tmpfs', source);
});
after(() => {
  spawnSync('umount', [source]);
  bundles.close();
});

function mount(...args: readonly string[]): void {
  const { status, stderr } = spawnSync('mount', args, { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
}

/** The host's own options of it. */
function hostHas(options: string): void {
  mount('-o', 'remount,bind,diratime,strictatime', source);
  mount('-o', `remount,bind,${options}`, source);
}

function userNamespace(config: OciConfig): void {
  config.linux.namespaces.push({ type: 'user' });
  const map = [{ containerID: 0, hostID: 100000, size: 65536 }];
  Object.assign(config.linux, { uidMappings: map, gidMappings: map });
  delete config.linux['resources'];
}

const asIs = (): void => undefined;

/** What binds of it with these options have in a container, a line each; or the error. */
function seen(binds: readonly string[], change: (config: OciConfig) => void = asIs): string {
  const script = binds.map((_, index) => `grep " /mnt${index} " /proc/self/mounts | cut -d" " -f4`);
  const { stdout, stderr } = bundles.run(script.join('; '), (config, rootfs) => {
    config.root.readonly = false;
    for (const [index, options] of binds.entries()) {
      mkdirSync(join(rootfs, `mnt${index}`));
      config.mounts.push({
        ...{ destination: `/mnt${index}`, type: 'bind', source },
        options: ['bind', ...options.split(',')],
      });
    }
    change(config);
  });
  return stdout === '' ? stderr : stdout;
}

test('a word that only takes an access time back changes nothing of the source', () => {
  hostHas('noatime');
  assert.match(seen(['atime', 'norelatime', 'diratime', 'nostrictatime']), /^(rw,noatime\b.*\n){4}$/);
});

test('an access time that is asked for replaces all that the source has', () => {
  hostHas('noatime,nodiratime');
  const [directories, strict] = seen(['nodiratime', 'strictatime']).split('\n');
  assert.match(directories ?? '', /^rw,nodiratime,relatime\b/);
  assert.doesNotMatch(strict ?? 'noatime', /atime/);
});

test('in a user namespace a bind cannot take away what the host forbids', () => {
  const refused = /error mounting \\".*\\" to rootfs at \\"\/mnt0\\": .*operation not permitted/;
  hostHas('ro,nodev');
  assert.match(seen(['rw'], userNamespace), refused);
  // The host's own mount, which no kernel has copied.
  assert.match(seen(['rw,shared'], userNamespace), refused);
  hostHas('rw,nodev,noatime');
  assert.match(seen(['relatime'], userNamespace), refused);
  assert.match(
    seen(['noatime,ro', 'nosuid'], userNamespace),
    /^ro,nodev,noatime\b.*\nrw,nosuid,nodev,noatime\b/,
  );
  // Nobody's but the host's root: there everything may be changed.
  assert.match(seen(['relatime,dev']), /^rw,relatime\b/);
});

test('what the host forbids stays locked in a user namespace', () => {
  const administrator = (config: OciConfig): void => {
    userNamespace(config);
    const names = ['CAP_SYS_ADMIN', 'CAP_DAC_OVERRIDE'];
    config.process['capabilities'] = { bounding: names, effective: names, permitted: names };
    delete config.linux['seccomp'];
  };
  const remounted = (...kinds: readonly string[]): string => {
    const remount =
      'for kind in bind rbind; do mount -o remount,bind,rw /$kind; touch /$kind/x && echo $kind; done';
    return bundles.run(remount, (config, rootfs) => {
      config.root.readonly = false;
      for (const kind of kinds) {
        mkdirSync(join(rootfs, kind));
        config.mounts.push({ destination: `/${kind}`, type: 'bind', source, options: [kind] });
      }
      administrator(config);
    }).stdout;
  };
  hostHas('rw');
  chmodSync(source, 0o777);
  hostHas('ro,nodev');
  assert.equal(remounted('bind', 'rbind'), '');
  hostHas('rw,dev');
  const below = join(source, 'below');
  mkdirSync(below);
  mount('-t', 'tmpfs', 'tmpfs', below);
  const written = remounted('bind');
  spawnSync('umount', [below]);
  // One mount without those below it, which the kernel would not show to a user namespace.
  assert.equal(written, 'bind\n');
});

test('ids are mapped of what an earlier mount brought into the root', () => {
  hostHas('rw');
  const script = (change: (config: OciConfig) => void): string =>
    bundles.run('stat -c %u /final/file', (config, rootfs) => {
      const maps = [{ containerID: 0, hostID: 100000, size: 65536 }];
      for (const name of ['mnt', 'final']) mkdirSync(join(rootfs, name));
      config.root.readonly = false;
      config.mounts.push(
        { destination: '/mnt', type: 'bind', source, options: ['bind'] },
        {
          ...{
            destination: '/final',
            type: 'bind',
            source: join(rootfs, 'mnt'),
            options: ['rbind', 'idmap'],
          },
          ...{ uidMappings: maps, gidMappings: maps },
        },
      );
      change(config);
    }).stdout;
  writeFileSync(join(source, 'file'), 'x');
  chownSync(join(source, 'file'), 0, 0);
  assert.equal(
    script(() => undefined),
    '100000\n',
  );
  assert.equal(script(userNamespace), '0\n');
});

test('a source in the root is what it is there, wherever a symlink of the image points to', () => {
  const secret = join(bundles.directory, 'secret');
  mkdirSync(secret, { recursive: true });
  writeFileSync(join(secret, 'key'), 'of the host\n');
  for (const mapped of [[], [{ containerID: 0, hostID: 0, size: 65536 }]]) {
    const { stdout, stderr } = bundles.run('cat /mnt/key', (config, rootfs) => {
      symlinkSync(secret, join(rootfs, 'way'));
      config.root.readonly = false;
      config.mounts.push({
        ...{ destination: '/mnt', type: 'bind', source: join(rootfs, 'way'), options: ['bind'] },
        ...(mapped.length === 0 ? {} : { uidMappings: mapped, gidMappings: mapped }),
      });
    });
    assert.equal(stdout, '');
    assert.match(stderr, /error mounting .*no such file or directory/);
  }
});

/** In a mount namespace of its own: what the runtime takes away is gone there alone. */
const BESIDE = [
  'mount -t tmpfs tmpfs "$1" && mount --make-shared "$1" && mkdir "$1/tmp" "$1/proc"',
  'mount -t tmpfs tmpfs "$1/tmp" && echo here > "$1/tmp/file" && mount -t proc proc "$1/proc"',
  'shift; point=$1; shift; "$@" >&2 || exit 9',
  'cat "$point/tmp/file" && test -e "$point/proc/uptime" && echo proc',
].join('; ');

for (const propagation of ['private', 'slave', 'rslave', 'shared', 'rshared', 'rprivate', 'unbindable'])
  for (const flags of [[], ['--no-pivot']])
    test(`rootfsPropagation ${propagation} ${flags.join('')} takes no mount away from the host`, () => {
      const point = join(bundles.directory, `beside-${propagation}${flags.length}`);
      mkdirSync(point);
      const bundle = bundles.bundle('echo ran', (config) => {
        config.linux['rootfsPropagation'] = propagation;
      });
      const id = `beside-${propagation}${flags.length}`;
      const run = [locateNative('tsbuild-runtime'), '--root', join(bundles.directory, 'state'), 'run'];
      const { stdout, stderr } = spawnSync(
        'unshare',
        [
          ...['--mount', '--propagation', 'private', 'sh', '-c', BESIDE, 'sh', point, point],
          ...[...run, ...flags, '--bundle', bundle, id],
        ],
        { encoding: 'utf8' },
      );
      assert.match(stderr, /^ran$/m);
      assert.equal(stdout, 'here\nproc\n', stderr);
    });
