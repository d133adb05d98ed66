/** The behaviour of every snapshotter (contract in snapshotter/snapshotter.ts); each driver passes all of it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { chainIDOf, type ChainID } from '../../src/base/digest.ts';
import { isTsbuildError } from '../../src/base/errors.ts';
import { openLayerStore } from '../../src/layer/layer-store.ts';
import type { Layer, LayerStore } from '../../src/layer/layer.ts';
import { openTree } from '../../src/layer/open-tree.ts';
import type { Driver } from '../../snapshotter/driver.ts';
import { DRIVER_DIRECTORY, openSnapshotter, type OpenOptions } from '../../snapshotter/open.ts';
import type { MountStub, Snapshotter } from '../../snapshotter/snapshotter.ts';
import {
  bytesOf,
  changeInside,
  describeTree,
  fakeLayer,
  storeLayer,
  tarOf,
  testHost,
  type Item,
  writtenBack,
} from './layer-fixture.ts';

/** The parent of the lowest layer. */
const BOTTOM: ChainID | undefined = undefined;
const CAPABILITY = Buffer.from('0100000200040000000000000000000000000000', 'hex');

/** `options`: how the driver is set up, `as`: what that is called, `parent`: where it works. */
export function describeSnapshotter(
  driver: Driver,
  options: Pick<OpenOptions, 'small'> = {},
  as: string = driver,
  parent: () => string = tmpdir,
): void {
  describe(`snapshotter ${as}`, () => {
    let root: string;
    let layers: LayerStore;
    let snapshots: Snapshotter;

    const openAt = (at: string): Snapshotter =>
      openSnapshotter({ ...options, root: join(root, at), host: testHost, layers, driver });
    const open = (): Snapshotter => openAt('snapshots');
    const inStore = (at: string, name: string): string => join(root, at, DRIVER_DIRECTORY[driver], name);
    const staging = (): string => inStore('snapshots', 'staging');

    before(() => {
      root = mkdtempSync(join(parent(), `tsbuild-${driver}-`));
      layers = openLayerStore(join(root, 'layers'), testHost);
      snapshots = open();
    });
    after(() => {
      rmSync(root, { recursive: true, force: true });
    });

    const layerOf = (...items: readonly Item[]): Layer => storeLayer(layers, tarOf(...items));

    async function applied(...stack: readonly (readonly Item[])[]): Promise<ChainID> {
      let name: ChainID | undefined;
      for (const items of stack) name = (await snapshots.apply(name, layerOf(...items))).name;
      assert.ok(name !== undefined);
      return name;
    }

    async function shown(name: ChainID | undefined): Promise<string[]> {
      await using view = await snapshots.view(name);
      return describeTree(view.mounts);
    }

    const namesIn = async (name: ChainID): Promise<string[]> =>
      (await shown(name)).map((line) => line.split(' ')[0] ?? '');

    async function changed(
      parent: ChainID | undefined,
      script: string,
      stubs: readonly MountStub[] = [],
    ): Promise<{ readonly name: ChainID; readonly layer: Layer }> {
      await using active = await snapshots.prepare(parent, { stubs });
      changeInside(active.mounts, script);
      const { snapshot, layer } = await active.commit();
      return { name: snapshot.name, layer };
    }

    /** The committed layer, applied on the same parent by a second store of the same driver, shows the same. */
    async function assertRoundTrip(parent: readonly (readonly Item[])[], script: string): Promise<string[]> {
      const base = parent.length === 0 ? undefined : await applied(...parent);
      const made = await changed(base, script);
      const direct = await shown(made.name);
      const again = openAt('again');
      let name: ChainID | undefined;
      for (const items of parent) name = (await again.apply(name, layerOf(...items))).name;
      name = (await again.apply(name, made.layer)).name;
      assert.equal(name, made.name);
      await using view = await again.view(name);
      assert.deepEqual(describeTree(view.mounts), direct);
      return direct;
    }

    test('apply is idempotent and named by the stack', async () => {
      const layer = layerOf({ path: 'a', content: 'x' });
      const first = await snapshots.apply(BOTTOM, layer);
      assert.equal(first.name, chainIDOf(undefined, layer.diffID));
      const broken: Layer = { ...layer, tar: () => assert.fail('the layer was read again') };
      assert.deepEqual(await snapshots.apply(BOTTOM, broken), first);
      assert.deepEqual(await snapshots.stat(first.name), { name: first.name, parent: undefined });
    });

    test('apply refuses a layer whose bytes are not what its diffID says', async () => {
      const layer = fakeLayer(tarOf({ path: 'a', content: 'forged' }), 'something else');
      await assert.rejects(snapshots.apply(BOTTOM, layer), (error) =>
        isTsbuildError(error, 'DIGEST_MISMATCH'),
      );
      assert.equal(await snapshots.stat(chainIDOf(undefined, layer.diffID)), undefined);
    });

    test('apply refuses an unknown parent', async () => {
      const layer = layerOf({ path: 'orphan', content: '' });
      const missing = chainIDOf(undefined, layerOf({ path: 'never applied', content: '' }).diffID);
      await assert.rejects(snapshots.apply(missing, layer), (error) =>
        isTsbuildError(error, 'SNAPSHOT_NOT_FOUND'),
      );
    });

    test('a cut layer leaves nothing behind', async () => {
      const tar = tarOf({ path: 'big', content: 'x'.repeat(5000) }).subarray(0, 2048);
      await assert.rejects(snapshots.apply(BOTTOM, storeLayer(layers, tar)), (error) =>
        isTsbuildError(error, 'ARCHIVE_INVALID'),
      );
      assert.deepEqual(readdirSync(staging()), []);
    });

    test('concurrent applies of one name give one snapshot', async () => {
      const other = open();
      const layer = layerOf({ path: 'shared', content: 'x' });
      const all = await Promise.all([
        snapshots.apply(BOTTOM, layer),
        other.apply(BOTTOM, layer),
        snapshots.apply(BOTTOM, layer),
      ]);
      assert.equal(new Set(all.map(({ name }) => name)).size, 1);
      assert.deepEqual(await namesIn(all[0].name), ['shared']);
    });

    test('files keep type, mode, owner, time, capability, device numbers and links', async () => {
      const items: Item[] = [
        { path: 'd', mode: 0o1777, uid: 5, gid: 6, mtime: 1_000_000_007 },
        { path: 'd/cap', content: 'c', xattrs: new Map([['security.capability', CAPABILITY]]) },
        { path: 'd/fifo', type: 'fifo', mode: 0o600 },
        { path: 'd/hard', type: 'hardlink', linkname: 'd/suid' },
        { path: 'd/null', type: 'char', major: 1, minor: 3, mode: 0o666 },
        { path: 'd/ram', type: 'block', major: 1, minor: 300, mode: 0o660 },
        { path: 'd/sym', type: 'symlink', linkname: '/nowhere/at all', uid: 7, gid: 8 },
      ];
      const all: Item[] = [
        ...items.slice(0, 1),
        { path: 'd/suid', content: 'setuid', mode: 0o6755, uid: 4, gid: 9 },
        ...items.slice(1),
      ];
      const lines = await shown(await applied(all));
      assert.deepEqual(
        lines.map((line) => line.replace(/ [0-9a-f]{12}( |$)/, '$1')),
        [
          'd directory 1777 5:6 1000000007',
          `d/cap file 644 0:0 1600000000${CAPABILITY.toString('hex')}`.replace('0000000001', '00000000 01'),
          'd/fifo fifo 600 0:0 1600000000',
          'd/hard file 6755 4:9 1600000000',
          'd/null char 666 0:0 1600000000 1,3',
          'd/ram block 660 0:0 1600000000 1,300',
          'd/suid file 6755 4:9 1600000000 = d/hard',
          'd/sym symlink  7:8 1600000000 /nowhere/at all',
        ],
      );
    });

    test('names that are long or no UTF-8 survive, and go away with their snapshot', async () => {
      const long = `${'d'.repeat(200)}/${'f'.repeat(250)}`;
      const odd = 'caf\u00e9\u00ff\u0001 \n';
      const name = await applied([
        { path: 'd'.repeat(200) },
        { path: long, content: 'l' },
        { path: odd },
        { path: `${odd}/${odd}`, content: 'o' },
      ]);
      const names = (await shown(name)).map((line) => line.slice(0, line.search(/ (file|directory) /)));
      assert.deepEqual(names, [odd, `${odd}/${odd}`, 'd'.repeat(200), long]);
      assert.ok((await snapshots.usage(name)).inodes >= 3);
      await snapshots.remove(name);
      assert.equal(await snapshots.stat(name), undefined);
      assert.deepEqual(readdirSync(staging()), []);
    });

    test('whiteouts delete what the parents have, and only that', async () => {
      const base: Item[] = [
        { path: 'd' },
        { path: 'd/a', content: '1' },
        { path: 'd/b', content: '2' },
        { path: 'gone' },
        { path: 'gone/x', content: '3' },
        { path: 'kept', content: '4' },
      ];
      const top: Item[] = [
        { path: '.wh.gone', content: '' },
        { path: '.wh.never', content: '' },
        { path: 'd' },
        { path: 'd/.wh.a', content: '' },
        { path: 'kept', content: '5' },
        { path: '.wh.kept', content: '' },
        { path: '.wh..wh.plnk', content: '' },
      ];
      assert.deepEqual(await namesIn(await applied(base, top)), ['d', 'd/b', 'kept']);
    });

    test('a deletion after the entries of the same layer spares them', async () => {
      const base: Item[] = [
        { path: 'd' },
        { path: 'd/old', content: '1' },
        { path: 'd/sub' },
        { path: 'd/sub/old', content: '' },
      ];
      const top: Item[] = [
        { path: 'd' },
        { path: 'd/new', content: '2' },
        { path: 'd/sub/new', content: '' },
        { path: '.wh.d', content: '' },
      ];
      assert.deepEqual(await namesIn(await applied(base, top)), ['d', 'd/new', 'd/sub', 'd/sub/new']);
    });

    test('an opaque directory hides what the parents have in it, wherever the mark stands', async () => {
      const base: Item[] = [
        { path: 'd' },
        { path: 'd/a', content: '1' },
        { path: 'd/s' },
        { path: 'd/s/t', content: '' },
      ];
      const first: Item[] = [
        { path: 'd' },
        { path: 'd/.wh..wh..opq', content: '' },
        { path: 'd/n', content: '' },
      ];
      const last: Item[] = [
        { path: 'd' },
        { path: 'd/n', content: '' },
        { path: 'd/s' },
        { path: 'd/.wh..wh..opq', content: '' },
      ];
      assert.deepEqual(await namesIn(await applied(base, first)), ['d', 'd/n']);
      assert.deepEqual(await namesIn(await applied(base, last)), ['d', 'd/n', 'd/s']);
    });

    test('a later layer replaces directories by files and files by directories', async () => {
      const base: Item[] = [{ path: 'd' }, { path: 'd/a', content: '1' }, { path: 'f', content: '2' }];
      const top: Item[] = [
        { path: 'd', content: 'now a file' },
        { path: 'f' },
        { path: 'f/in', content: '' },
      ];
      const back: Item[] = [{ path: 'd' }, { path: 'd/new', content: '' }];
      assert.deepEqual(await namesIn(await applied(base, top)), ['d', 'f', 'f/in']);
      assert.deepEqual(await namesIn(await applied(base, top, back)), ['d', 'd/new', 'f', 'f/in']);
    });

    test('a directory that a layer only implies looks as in the parent', async () => {
      const base: Item[] = [{ path: 'd', mode: 0o2750, uid: 3, gid: 4, mtime: 1_111_111_111 }];
      const lines = await shown(await applied(base, [{ path: 'd/x', content: '' }]));
      assert.equal(lines[0], 'd directory 2750 3:4 1111111111');
    });

    test('a layer writes through a directory link of its parent, inside the root', async () => {
      const base: Item[] = [
        { path: 'usr' },
        { path: 'usr/lib' },
        { path: 'lib', type: 'symlink', linkname: '/usr/lib' },
      ];
      const lines = await namesIn(await applied(base, [{ path: 'lib/so', content: '' }]));
      assert.deepEqual(lines, ['lib', 'usr', 'usr/lib', 'usr/lib/so']);
    });

    test('hostile layers change nothing outside', async () => {
      const sentinel = join(root, 'sentinel');
      mkdirSync(sentinel);
      writeFileSync(join(sentinel, 'file'), 'untouched');
      const up = '../'.repeat(12);
      const attacks: readonly (readonly Item[])[] = [
        [{ path: `${up}${sentinel.slice(1)}/file`, content: 'evil' }],
        [{ path: `${sentinel}/file`, content: 'evil' }],
        [
          { path: 'l', type: 'symlink', linkname: sentinel },
          { path: 'l/file', content: 'evil' },
        ],
        [
          { path: 'l', type: 'symlink', linkname: `${up}${sentinel.slice(1)}` },
          { path: 'l/.wh.file', content: '' },
        ],
        [
          { path: 'l', type: 'symlink', linkname: sentinel },
          { path: 'l/.wh..wh..opq', content: '' },
        ],
        [
          { path: 'l', type: 'symlink', linkname: join(sentinel, 'file') },
          { path: 'l', content: 'evil' },
        ],
        [
          { path: 'l', type: 'symlink', linkname: sentinel },
          { path: 'l', mode: 0o777 },
        ],
        [{ path: 'h', type: 'hardlink', linkname: `${up}${sentinel.slice(1)}/file` }],
        [
          { path: 'l', type: 'symlink', linkname: sentinel },
          { path: 'h', type: 'hardlink', linkname: 'l/file' },
        ],
        [
          { path: 'a', type: 'symlink', linkname: 'a' },
          { path: 'a/b', content: '' },
        ],
        [{ path: 'w', type: 'char', major: 0, minor: 0 }],
        [{ path: `${'deep/'.repeat(60)}x`, content: '' }],
      ];
      const stat = (): string =>
        spawnSync('stat', ['-c', '%a %u %s %Y %h', sentinel, join(sentinel, 'file')], { encoding: 'utf8' })
          .stdout;
      const was = stat();
      for (const attack of attacks) await snapshots.apply(BOTTOM, layerOf(...attack)).catch(() => undefined);
      assert.equal(readFileSync(join(sentinel, 'file'), 'utf8'), 'untouched');
      assert.deepEqual(readdirSync(sentinel), ['file']);
      assert.equal(stat(), was);
    });

    test('overlay xattrs of a foreign layer do not count', async () => {
      const base: Item[] = [{ path: 'd' }, { path: 'd/seen', content: '' }];
      const evil = new Map([['trusted.overlay.opaque', Buffer.from('y')]]);
      assert.deepEqual(await namesIn(await applied(base, [{ path: 'd', xattrs: evil }])), ['d', 'd/seen']);
    });

    const base: readonly (readonly Item[])[] = [
      [
        { path: 'dir' },
        { path: 'dir/file', content: 'one' },
        { path: 'dir/other', content: 'two' },
        { path: 'dir/sub' },
        { path: 'dir/sub/deep', content: 'three' },
        { path: 'etc' },
        { path: 'etc/conf', content: 'four' },
        { path: 'group', mode: 0o3775 },
        { path: 'group/file', content: 'five' },
        { path: 'group/users', mode: 0o6711 },
        { path: 'group/users/deep', content: 'six' },
      ],
    ];
    const scripts: Readonly<Record<string, string>> = {
      'new files of every type':
        'mkdir new; echo x > new/f; ln new/f new/g; ln -s f new/s; mkfifo new/p; mknod new/n c 1 3; chmod 4755 new/f; chown 3:4 new/f',
      'a changed file': 'echo more >> dir/file; chmod 600 etc/conf',
      'removed files and directories': 'rm dir/file; rm -r dir/sub',
      'a directory that is made again': 'rm -r dir; mkdir dir; mkdir dir/sub; echo n > dir/sub/new',
      'a renamed directory': 'cp -a dir moved; rm -r dir',
      'a file in the place of a directory': 'rm -r dir; echo f > dir',
      'a directory in the place of a file': 'rm etc/conf; mkdir etc/conf; echo x > etc/conf/x',
      'a hard link to a file of the parent': 'ln dir/file dir/link',
      'files in directories whose modes have all bits': 'chmod 600 group/users/deep; rm group/file',
      'a directory that keeps such bits': 'chown 7 group; touch group/users',
      'a directory that loses such bits': 'chmod ug-s group/users',
      'a directory whose mode changes, bits too': 'chmod 0700 group; chmod 4700 group/users',
      'a directory without such bits in the place of one': 'rm -r group; mkdir group; touch group/new',
      'names that sort around the slash': 'mkdir a a-b; touch a/x a-b/x a.b; touch "a b"',
    };
    for (const [subject, script] of Object.entries(scripts))
      test(`commit and apply agree on ${subject}`, async () => {
        await assertRoundTrip(base, script);
      });

    /** `old/f`, `old/g` and `other/h` are one file. */
    const linked: readonly (readonly Item[])[] = [
      [
        ...[{ path: 'old' }, { path: 'other' }],
        { path: 'old/f', content: 'one' },
        { path: 'old/g', type: 'hardlink', linkname: 'old/f' },
        { path: 'other/h', type: 'hardlink', linkname: 'old/f' },
      ],
    ];
    const linking: Readonly<Record<string, string>> = {
      'a new name for a file with several': 'ln other/h new',
      'one name less': 'rm old/g',
      'names of two files': 'echo two > old/two; ln -f old/two old/g',
      'a name that is moved': 'mv old/f moved',
      'a directory with some of the names that is moved': 'mv old moved',
      'a name that is made a file of its own': 'cp -a old/g tmp; mv tmp old/g',
      'names that are made two files': 'cp -a old/f tmp; mv tmp old/f; ln -f old/f old/g',
      'names that are made three files': 'for f in old/f old/g other/h; do cp -a $f tmp; mv tmp $f; done',
      'a changed name': 'chmod 600 old/g',
      'a changed name, and another that is opened to be written': 'chmod 600 old/g; : >> old/f',
      'names one by one as they were': 'rm other/h; ln old/f other/h',
    };
    // What fuse-overlayfs shows of links is not what its layers hold (snapshotter/README.md), so there is nothing to compare.
    const comparable = driver === 'fuse-overlayfs' ? {} : linking;
    for (const [subject, script] of Object.entries(comparable))
      test(`commit and apply agree on links: ${subject}`, async () => {
        await assertRoundTrip(linked, script);
      });

    /** The layer of a change of files that were one, by the names in it. */
    async function linkLayer(...scripts: readonly string[]): Promise<readonly string[]> {
      let name = await applied(...linked);
      let tar: Buffer = Buffer.alloc(0);
      for (const script of scripts) {
        const made = await changed(name, script);
        name = made.name;
        tar = await bytesOf(made.layer);
      }
      const { stdout } = spawnSync('tar', ['-tv'], { input: tar, encoding: 'utf8' });
      return stdout
        .trim()
        .split('\n')
        .map((line) => line.split(/ +/).slice(5).join(' '))
        .filter((line) => line !== '' && !line.endsWith('/'));
    }

    test('files that are joined and parted are in the layer with all names of theirs', async () => {
      const alone = 'cp -a old/g tmp && mv tmp old/g';
      assert.deepEqual(await linkLayer(alone), ['old/g']);
      assert.deepEqual(await linkLayer(`${alone}; ln -f old/g other/h`), ['old/g', 'other/h link to old/g']);
      assert.deepEqual(await linkLayer(alone, 'ln -f old/g other/h'), ['old/g', 'other/h link to old/g']);
      assert.deepEqual(await linkLayer(alone, 'ln old/g new'), ['new', 'old/g link to new']);
      assert.deepEqual(await linkLayer('echo two > z; ln z z2', 'rm z; ln -f z2 old/f'), [
        '.wh.z',
        'old/f',
        'z2 link to old/f',
      ]);
    });

    test('a name that is as it was stays out of the layer whatever becomes of others', async () => {
      const touched = ': >> old/f; chmod 644 old/f';
      assert.deepEqual(await linkLayer('rm old/g other/h', touched), []);
      assert.deepEqual(await linkLayer(`rm old/g other/h; ${touched}`), ['old/.wh.g', 'other/.wh.h']);
      assert.deepEqual(await linkLayer(`rm -r other; rm old/g; ${touched}`), ['.wh.other', 'old/.wh.g']);
      const others = 'for f in old/g other/h; do cp -a $f tmp; chmod 600 tmp; mv tmp $f; done';
      assert.deepEqual(await linkLayer(others, touched), []);
      assert.deepEqual(await linkLayer(`${others}; ${touched}`), ['old/g', 'other/h']);
    });

    test('commit gives the same layer as the other driver', async () => {
      for (const [subject, script] of Object.entries(scripts)) {
        // Times of one and the same script differ between runs: set them all.
        const timed = `${script}\nfind . -newermt 2021-01-01 -exec touch -h -d @1700000000 {} +`;
        const entries = async (which: Driver): Promise<Buffer> => {
          const store = openSnapshotter({
            ...options,
            root: join(root, 'both'),
            host: testHost,
            layers,
            driver: which,
          });
          let name: ChainID | undefined;
          for (const items of base) name = (await store.apply(name, layerOf(...items))).name;
          await using active = await store.prepare(name);
          changeInside(active.mounts, timed);
          return await bytesOf((await active.commit()).layer);
        };
        const [one, other] = [await entries(driver), await entries(driver === 'copy' ? 'overlay' : 'copy')];
        assert.ok(one.equals(other), `${subject}: ${list(one)}\n---\n${list(other)}`);
      }
    });

    test('what was touched but is as it was is no change', async () => {
      const name = await applied(...base);
      const { layer } = await changed(
        name,
        'touch -r dir/file /tmp/.$$; cat dir/file > dir/file.tmp; cat dir/file.tmp > dir/file; touch -r /tmp/.$$ dir/file; rm /tmp/.$$ dir/file.tmp; chmod 755 dir/sub; touch -d @1600000000 dir',
      );
      assert.deepEqual(list(await bytesOf(layer)), '');
    });

    test('an exchanged content with the time set back is a change', async () => {
      const { layer } = await changed(
        await applied(...base),
        'printf ONE > dir/file; touch -d @1600000000 dir/file',
      );
      assert.match(list(await bytesOf(layer)), /dir\/file/);
    });

    test('stubs exist while a process runs and in no layer', async () => {
      const stubs: MountStub[] = [
        { path: '/etc/resolv.conf', type: 'file' },
        { path: '/proc', type: 'directory' },
        { path: '/var/deep/cache', type: 'directory' },
        { path: '/../../outside', type: 'file' },
      ];
      const name = await applied(...base);
      const { layer } = await changed(
        name,
        'test -f etc/resolv.conf; test -d proc; test -d var/deep/cache; test -f outside; echo y > dir/y; touch -d @1 dir',
        stubs,
      );
      assert.deepEqual(list(await bytesOf(layer)).split('\n'), ['dir/', 'dir/y']);
      assert.ok(!existsSync(join(root, 'outside')));
    });

    test('stubs lead nowhere, whatever links an image has or a process plants', async () => {
      const host = join(root, 'host');
      mkdirSync(join(host, 'deep', 'cache'), { recursive: true });
      const stubs: MountStub[] = [
        { path: '/etc/resolv.conf', type: 'file' },
        { path: '/var/deep/cache', type: 'directory' },
      ];
      const name = await applied([{ path: 'etc', type: 'symlink', linkname: host }]);
      await changed(name, `rm -rf var; ln -s ${host} var`, stubs);
      assert.deepEqual(readdirSync(host), ['deep']);
      assert.deepEqual(readdirSync(join(host, 'deep')), ['cache']);
    });

    test('a stub that a process filled or changed stays, a directory around it keeps its time', async () => {
      const name = await applied([{ path: 'etc', mtime: 1_234_567_890 }, { path: 'var' }]);
      const stubs: MountStub[] = [
        { path: '/etc/hosts', type: 'file' },
        { path: '/var/filled', type: 'file' },
        { path: '/srv/dir', type: 'directory' },
      ];
      const { layer } = await changed(name, 'echo x > var/filled; touch srv/dir/file', stubs);
      const entries = list(await bytesOf(layer)).split('\n');
      assert.deepEqual(
        entries.filter((entry) => entry !== 'var/'),
        ['srv/', 'srv/dir/', 'srv/dir/file', 'var/filled'],
      );
    });

    test('a state without files can be viewed and prepared', async () => {
      assert.deepEqual(await shown(undefined), []);
      const { name, layer } = await changed(undefined, 'echo hi > f; touch -d @5 f');
      assert.equal(list(await bytesOf(layer)), 'f');
      assert.deepEqual(await namesIn(name), ['f']);
    });

    test('mtimes are clamped in the layer where a maximum is given', async () => {
      await using active = await snapshots.prepare(undefined);
      changeInside(active.mounts, 'touch -d @1500000000 old; touch -d @1700000000 new');
      const tar = await bytesOf((await active.commit({ maxMtime: 1_600_000_000 })).layer);
      const { stdout } = spawnSync('tar', ['-tv', '--utc', '--full-time'], { input: tar, encoding: 'utf8' });
      assert.match(stdout, /2020-09-13 12:26:40 new/);
      assert.match(stdout, /2017-07-14 02:40:00 old/);
    });

    test('a state has the times of its layer where these were clamped', async () => {
      await using active = await snapshots.prepare(undefined);
      changeInside(active.mounts, 'touch -d @1500000000 old; touch -d @1700000000 new');
      const { snapshot } = await active.commit({ maxMtime: 1_600_000_000 });
      await using view = await snapshots.view(snapshot.name);
      using tree = openTree(view.mounts);
      const seconds = ['old', 'new'].map((path) => tree.stat(path)?.mtimeNs);
      assert.deepEqual(seconds, [1_500_000_000_000_000_000n, 1_600_000_000_000_000_000n]);
    });

    test('names and devices that mean deletions are refused, and leave nothing', async () => {
      const name = await applied([{ path: 'd/keep', content: 'x' }]);
      for (const script of ['touch d/.wh.keep', 'mknod d/gone c 0 0']) {
        await using active = await snapshots.prepare(name);
        // Where deletions have that form themselves, nobody can make one.
        changeInside(active.mounts, `${script} || touch refused`);
        const outcome = await active.commit().then(
          async ({ layer }) => list(await bytesOf(layer)),
          (error: unknown) => (isTsbuildError(error, 'ARCHIVE_INVALID') ? error.code : String(error)),
        );
        assert.ok(outcome === 'ARCHIVE_INVALID' || /(?:^|\n)refused$/.test(outcome), outcome);
      }
      assert.deepEqual(readdirSync(staging()), []);
      assert.deepEqual(await namesIn(name), ['d', 'd/keep']);
    });

    test('disposing without commit leaves nothing, disposing after it is harmless', async () => {
      const active = await snapshots.prepare(undefined);
      changeInside(active.mounts, 'mkdir -p a/b; echo x > a/b/c');
      await active[Symbol.asyncDispose]();
      await active[Symbol.asyncDispose]();
      assert.deepEqual(readdirSync(staging()), []);
    });

    test('the root directory keeps the attributes of its parent', async () => {
      const name = await applied([{ path: '', type: 'directory', mode: 0o1711, uid: 8, gid: 9, mtime: 77 }]);
      const { name: top } = await changed(name, 'touch x');
      const further = (await snapshots.apply(top, layerOf({ path: 'y', content: '' }))).name;
      await using view = await snapshots.view(further);
      using tree = openTree(view.mounts);
      const { mode, uid, gid, mtimeNs } = tree.stat('') ?? assert.fail('there is no root');
      assert.deepEqual([mode, uid, gid, mtimeNs], [0o1711, 8, 9, 77_000_000_000n]);
    });

    test('remove refuses a parent in use and is idempotent', async () => {
      const parent = await applied([{ path: 'p', content: 'only here' }]);
      const child = (await snapshots.apply(parent, layerOf({ path: 'c', content: '' }))).name;
      await assert.rejects(snapshots.remove(parent), (error) => isTsbuildError(error, 'STORE_IN_USE'));
      await snapshots.remove(child);
      await snapshots.remove(parent);
      await snapshots.remove(parent);
      assert.equal(await snapshots.stat(parent), undefined);
    });

    test('list names every snapshot, and check finds nothing wrong', async () => {
      const name = await applied([{ path: 'listed', content: '' }]);
      const names: ChainID[] = [];
      for await (const info of snapshots.list()) names.push(info.name);
      assert.ok(names.includes(name));
      assert.deepEqual(await snapshots.check(), []);
    });

    test('check names a snapshot without its parent', async () => {
      const store = openAt('damaged');
      const lower = (await store.apply(BOTTOM, layerOf({ path: 'l', content: '' }))).name;
      const upper = (await store.apply(lower, layerOf({ path: 'u', content: '' }))).name;
      rmSync(inStore('damaged', `committed/${lower.slice(7)}`), { recursive: true });
      assert.deepEqual(await store.check(), [`snapshot ${upper} lacks its parent ${lower}`]);
    });

    test('work of a dead owner is swept, that of a living one is not', async () => {
      await using active = await snapshots.prepare(undefined);
      mkdirSync(join(staging(), '1.1.1', 'fs'), { recursive: true });
      assert.equal((await snapshots.check()).length, 1);
      const mine = readdirSync(staging()).filter((name) => name !== '1.1.1');
      open();
      assert.deepEqual(readdirSync(staging()), mine);
      assert.equal(active.mounts.length, 1);
    });

    test('a snapshot that no sync covered before a crash is gone, a synced one stays', async () => {
      const store = openAt('crash');
      const synced = (await store.apply(BOTTOM, layerOf({ path: 's', content: 'x' }))).name;
      await writtenBack(store.unsynced());
      const torn = (await store.apply(synced, layerOf({ path: 't', content: 'x' }))).name;
      const notes = inStore('crash', 'unsynced');
      const [boot] = readdirSync(notes);
      spawnSync('mv', [join(notes, boot ?? ''), join(notes, 'an earlier boot')]);
      const later = openAt('crash');
      assert.equal(await later.stat(torn), undefined);
      assert.deepEqual(await later.stat(synced), { name: synced, parent: undefined });
      assert.deepEqual(await later.check(), []);
    });

    test('what we write is read by GNU tar as it was meant', async () => {
      const { layer } = await changed(
        undefined,
        'mkdir d; printf hello > d/f; ln d/f d/h; ln -s f d/s; mkfifo d/p; mknod d/n c 1 7; chown 3000000:5 d/f; touch d/$(printf "caf\\303\\251"); touch -d 1969-12-31T00:00:00Z d/ancient',
      );
      const out = join(root, 'gnu');
      mkdirSync(out);
      const run = spawnSync('tar', ['-xp', '--numeric-owner', '-C', out], {
        input: await bytesOf(layer),
        encoding: 'utf8',
      });
      assert.equal(run.status, 0, run.stderr);
      assert.match(run.stderr, /^(tar: d\/ancient: implausibly old time stamp .*\n)?$/);
      const name = (await snapshots.apply(BOTTOM, layer)).name;
      assert.deepEqual(describeTree([{ kind: 'bind', source: out, readonly: true }]), await shown(name));
    });
  });
}

function list(tar: Buffer): string {
  return spawnSync('tar', ['-t'], { input: tar, encoding: 'utf8' }).stdout.trim();
}
