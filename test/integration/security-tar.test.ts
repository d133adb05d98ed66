/** A corpus of evil tars, unpacked for real in both forms: nothing outside may be made, changed, linked or removed. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { DiffID } from '../../src/base/digest.ts';
import { isTsbuildError } from '../../src/base/errors.ts';
import { emptyTree, openDirectoryTree } from '../../src/layer/open-tree.ts';
import { readTar } from '../../src/layer/tar-reader.ts';
import { unpackLayer } from '../../src/layer/unpack.ts';
import { EMPTY_ROOT } from '../../snapshotter/root-attributes.ts';
import { applyTars } from '../../snapshotter/tar-calls.ts';
import { chunksOf, temporaryDirectory } from '../suites/layer-fixture.ts';

interface Raw {
  /** As it shall stand in the header: nothing is cleaned. */
  readonly name: string;
  readonly flag?: string;
  readonly link?: string;
  readonly content?: string;
  readonly size?: string;
  readonly mode?: string;
  readonly pax?: Readonly<Record<string, string>>;
  readonly device?: readonly [number, number];
}

function block({
  name,
  flag = '0',
  link = '',
  content = '',
  mode = '644',
  size,
  device = [0, 0],
}: Raw): Buffer {
  const header = Buffer.alloc(512);
  const put = (text: string, at: number): void => void header.write(text, at, 'latin1');
  put(name.slice(0, 100), 0);
  put(`${mode.padStart(7, '0')}\0`, 100);
  put('0000000\0', 108);
  put('0000000\0', 116);
  put(size ?? `${content.length.toString(8).padStart(11, '0')} `, 124);
  put('14000000000 ', 136);
  put('        ', 148);
  put(flag, 156);
  put(link.slice(0, 100), 157);
  put('ustar\x0000', 257);
  put(`${device[0].toString(8).padStart(7, '0')}\0`, 329);
  put(`${device[1].toString(8).padStart(7, '0')}\0`, 337);
  put(
    `${header
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
    148,
  );
  return Buffer.concat([header, Buffer.from(content), Buffer.alloc((512 - (content.length % 512)) % 512)]);
}

function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length + 1;
  while (`${length}${rest}`.length !== length) length = `${length}${rest}`.length;
  return `${length}${rest}`;
}

function tar(entries: readonly Raw[]): Buffer {
  const blocks = entries.flatMap((entry) => {
    const records = Object.entries(entry.pax ?? {}).map(([key, value]) => paxRecord(key, value));
    const head = records.length === 0 ? [] : [block({ name: 'pax', flag: 'x', content: records.join('') })];
    return [...head, block(entry)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

const UP = '../'.repeat(30);

/** `V` stands for the absolute path of a directory of the host with `file` and `sub/deep` in it. */
function corpus(V: string): Readonly<Record<string, readonly Raw[]>> {
  const symlink = (name: string, link: string): Raw => ({ name, flag: '2', link });
  const climbing = `${UP}${V.slice(1)}`;
  return {
    'an absolute name': [{ name: `${V}/new`, content: 'evil' }],
    'a name that climbs': [{ name: `${climbing}/new`, content: 'evil' }],
    'a name that climbs in the middle': [{ name: `a/b/${climbing}/new`, content: 'evil' }],
    'a PAX name that climbs': [{ name: 'x', pax: { path: `${climbing}/new` }, content: 'evil' }],
    'a GNU long name that climbs': [
      { name: '././@LongLink', flag: 'L', content: `${climbing}/new\0` },
      { name: 'x', content: 'evil' },
    ],
    'a file through a symlink': [symlink('l', V), { name: 'l/new', content: 'evil' }],
    'a file through a symlink that climbs': [symlink('l', climbing), { name: 'l/new', content: 'evil' }],
    'a file through two symlinks': [symlink('a', V), symlink('b', 'a'), { name: 'b/new', content: 'evil' }],
    'a file through a symlink in a directory': [
      { name: 'd/', flag: '5', mode: '755' },
      symlink('d/l', climbing),
      { name: 'd/l/sub/new', content: 'evil' },
    ],
    'a file over a symlink to a file': [symlink('l', `${V}/file`), { name: 'l', content: 'evil' }],
    'modes through a symlink': [symlink('l', V), { name: 'l', flag: '5', mode: '777' }],
    'modes through a symlink with a slash': [symlink('l', V), { name: 'l/', flag: '5', mode: '777' }],
    'a directory that becomes a symlink': [
      { name: 'd/', flag: '5', mode: '755' },
      symlink('d', V),
      { name: 'd/new', content: 'evil' },
    ],
    'a hard link to an absolute name': [
      { name: 'h', flag: '1', link: `${V}/file` },
      { name: 'h', content: 'evil' },
    ],
    'a hard link that climbs': [{ name: 'h', flag: '1', link: `${climbing}/file` }],
    'a hard link through a symlink': [symlink('l', V), { name: 'h', flag: '1', link: 'l/file' }],
    'a hard link to a symlink, then through it': [
      symlink('l', V),
      { name: 'h', flag: '1', link: 'l' },
      { name: 'h/new', content: 'evil' },
    ],
    'a hard link whose name goes through a symlink': [
      { name: 'f', content: 'evil' },
      symlink('l', V),
      { name: 'l/new', flag: '1', link: 'f' },
    ],
    'a whiteout through a symlink': [symlink('l', V), { name: 'l/.wh.file' }],
    'an opaque whiteout through a symlink': [symlink('l', V), { name: 'l/.wh..wh..opq' }],
    'a whiteout of ..': [{ name: 'd/.wh...' }, { name: '.wh...' }, { name: '.wh..' }, { name: '.wh.' }],
    'a whiteout with a path in it': [{ name: `d/.wh./../${climbing}/file` }],
    'a device through a symlink': [symlink('l', V), { name: 'l/new', flag: '3', device: [1, 3] }],
    'a fifo through a symlink': [symlink('l', V), { name: 'l/new', flag: '6' }],
    'a symlink through a symlink': [symlink('l', V), symlink('l/new', '/etc')],
    'a link of the parent': [{ name: 'parent-link/new', content: 'evil' }],
    'a whiteout by a link of the parent': [{ name: 'parent-link/.wh.file' }],
    'a whiteout that makes way for a symlink': [
      { name: 'd/', flag: '5', mode: '755' },
      { name: 'd/.wh..wh..opq' },
      symlink('d', V),
      { name: 'd/sub/.wh.deep' },
    ],
    'a character device 0:0': [{ name: 'w', flag: '3' }],
    'attributes of overlayfs': [
      symlink('l', V),
      { name: 'd/', flag: '5', mode: '755', pax: { 'SCHILY.xattr.trusted.overlay.redirect': V } },
      { name: 'd/sub/.wh.deep' },
    ],
    'a loop of symlinks': [symlink('a', 'b'), symlink('b', 'a'), { name: 'a/new', content: 'evil' }],
    'a name with a NUL': [{ name: 'x', pax: { path: `ok\0/${climbing}/new` }, content: 'evil' }],
    'a link with a NUL': [{ name: 'x', flag: '2', pax: { linkpath: `ok\0${V}` } }],
    'names that differ by dots': [
      symlink('l', V),
      { name: './l/./new', content: 'evil' },
      { name: 'l//new', content: 'evil' },
      { name: 'x/../l/new', content: 'evil' },
    ],
  };
}

function snapshotOf(victim: string): string {
  const files = spawnSync('find', [victim, '-printf', '%P %y %m %U %G %s %T@ %n\n'], {
    encoding: 'utf8',
  }).stdout;
  return `${files.split('\n').sort().join('\n')}${readFileSync(join(victim, 'file'), 'utf8')}`;
}

function makeVictim(directory: string): string {
  const victim = join(directory, 'victim');
  mkdirSync(join(victim, 'sub'), { recursive: true });
  writeFileSync(join(victim, 'file'), 'untouched');
  writeFileSync(join(victim, 'sub/deep'), 'untouched');
  return victim;
}

for (const mode of ['overlay', 'plain'] as const)
  for (const subject of Object.keys(corpus('/v')))
    test(`tar escape, ${mode}: ${subject}`, async () => {
      using directory = temporaryDirectory();
      const victim = makeVictim(directory.path);
      const [root, parent] = [join(directory.path, 'root'), join(directory.path, 'parent')];
      mkdirSync(root);
      mkdirSync(parent);
      symlinkSync(victim, join(mode === 'plain' ? root : parent, 'parent-link'));
      const before = snapshotOf(victim);
      const outside = readdirSync(directory.path);
      const bytes = tar(corpus(victim)[subject] ?? []);
      const signal = AbortSignal.timeout(60_000);
      using below = mode === 'plain' ? emptyTree() : openDirectoryTree(parent);
      await unpackLayer(readTar(chunksOf(bytes)), root, { mode, parent: () => below, signal }).catch(
        (error: unknown) => assert.ok(isTsbuildError(error), String(error)),
      );
      assert.equal(snapshotOf(victim), before);
      assert.deepEqual(readdirSync(directory.path), outside);
    });

for (const subject of Object.keys(corpus('/v')))
  test(`tar escape, natively: ${subject}`, async () => {
    using directory = temporaryDirectory();
    const victim = makeVictim(directory.path);
    const [root, parent] = [join(directory.path, 'root'), join(directory.path, 'parent')];
    mkdirSync(root);
    mkdirSync(parent);
    symlinkSync(victim, join(parent, 'parent-link'));
    const path = join(directory.path, 'tar');
    writeFileSync(path, tar(corpus(victim)[subject] ?? []));
    const before = snapshotOf(victim);
    const outside = readdirSync(directory.path);
    await applyTars({
      output: root,
      tars: [{ path, diffID: `sha256:${'0'.repeat(64)}` as DiffID, verify: false }],
      root: EMPTY_ROOT,
      below: () => Promise.resolve(openSync(parent, 'r')),
    }).catch((error: unknown) => assert.ok(isTsbuildError(error), String(error)));
    assert.equal(snapshotOf(victim), before);
    assert.deepEqual(readdirSync(directory.path), outside);
  });

test('tar bomb: a size that cannot be true is refused before anything is written', async () => {
  using directory = temporaryDirectory();
  const root = join(directory.path, 'root');
  mkdirSync(root);
  // Base-256: 2^52 bytes.
  const size = Buffer.alloc(12);
  size[0] = 0x80;
  size.writeUInt32BE(1 << 20, 4);
  const bytes = tar([{ name: 'huge', size: size.toString('latin1') }]);
  await assert.rejects(
    unpackLayer(readTar(chunksOf(bytes)), root, {
      mode: 'plain',
      parent: emptyTree,
      signal: AbortSignal.timeout(60_000),
    }),
    (error) => isTsbuildError(error, 'DISK_FULL'),
  );
  assert.throws(() => lstatSync(join(root, 'huge')));
});

test('tar bomb: more entries, or more bytes of names, than anybody has are refused', async () => {
  const entries = tar(Array.from({ length: 20 }, (_, n) => ({ name: `${'n'.repeat(90)}${n}` })));
  const count = async (limits: Parameters<typeof readTar>[1]): Promise<number> => {
    let n = 0;
    for await (const item of readTar(chunksOf(entries), limits)) n += item.entry.path === '' ? 0 : 1;
    return n;
  };
  const invalid = (error: unknown): boolean => isTsbuildError(error, 'ARCHIVE_INVALID');
  assert.equal(await count({}), 20);
  await assert.rejects(count({ maxEntries: 19 }), invalid);
  await assert.rejects(count({ maxNames: 1000 }), invalid);
});

test('tar bomb: extended attributes that took more memory than a process may have are refused', async () => {
  using directory = temporaryDirectory();
  const root = join(directory.path, 'root');
  const path = join(directory.path, 'tar');
  mkdirSync(root);
  const fd = openSync(path, 'w');
  for (let n = 0; n < 2300; n += 1)
    writeSync(
      fd,
      tar([{ name: `f${n}`, pax: { 'SCHILY.xattr.user.a': `${n}`.padEnd(60_000) } }]).subarray(0, -1024),
    );
  writeSync(fd, Buffer.alloc(1024));
  closeSync(fd);
  await assert.rejects(
    applyTars({
      output: root,
      tars: [{ path, diffID: `sha256:${'0'.repeat(64)}` as DiffID, verify: false }],
      root: EMPTY_ROOT,
    }),
    (error) => isTsbuildError(error, 'ARCHIVE_INVALID') && /attributes/.test(error.message),
  );
  assert.deepEqual(readdirSync(root), []);
});
