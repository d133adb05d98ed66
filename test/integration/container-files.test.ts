/** cp, diff, commit and export of a container that does not run, and writing into a directory that others change. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { commitContainer, containerChanges, exportContainer } from '../../src/engine/containers/commit.ts';
import { copyFiles, copyIn, copyOut, type CopySide } from '../../src/engine/containers/copy.ts';
import { layerFiles } from '../../src/engine/containers/layer.ts';
import { openEngine, type Engine } from '../../src/engine/engine.ts';
import { snapshotOfImage } from '../../src/engine/export-rootfs.ts';
import { importImage } from '../../src/engine/import.ts';
import { openLiveDirectory, writeLive } from '../../src/layer/live-writer.ts';
import { readTar } from '../../src/layer/tar-reader.ts';
import type { StoredContainer } from '../../src/runtime/container.ts';
import { silentSink } from '../../src/progress/progress.ts';
import { createHost } from '../../src/cli/compose.ts';

const { signal } = new AbortController();
let directory: string;
let engine: Engine;
let container: StoredContainer;
let host: string;

before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tsbuild-files-'));
  host = join(directory, 'host');
  const root = join(directory, 'rootfs');
  mkdirSync(join(root, 'etc'), { recursive: true });
  mkdirSync(join(root, 'data/sub'), { recursive: true });
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0::/:/bin/sh\n');
  writeFileSync(join(root, 'data/sub/f'), 'image\n');
  symlinkSync('/data/sub', join(root, 'link'));
  symlinkSync('/etc', join(root, 'data/etc-link'));
  execFileSync('tar', ['-C', root, '-cf', join(directory, 'root.tar'), '.']);
  mkdirSync(host);
  writeFileSync(join(host, 'file'), 'host\n');
  chownSync(join(host, 'file'), 1000, 1000);
  chmodSync(join(host, 'file'), 0o640);
  mkdirSync(join(host, 'tree/below'), { recursive: true });
  writeFileSync(join(host, 'tree/below/x'), 'x\n');
  engine = openEngine({
    root: join(directory, 'state'),
    host: createHost(),
    platform: { os: 'linux', architecture: 'amd64' },
    parallelism: 1,
    hostname: 'h',
    random: (size) => new Uint8Array(size).fill(7),
    resolvConf: () => '',
    cleanupCommand: [],
    openRegistry: () => Promise.reject(new Error('no registry here')),
  });
  const image = await importImage(
    engine,
    {
      source: (async function* () {
        yield await Promise.resolve(readFileSync(join(directory, 'root.tar')));
      })(),
      ...{ from: 'test', name: 'img:1', platform: { os: 'linux', architecture: 'amd64' } },
    },
    { sink: silentSink, signal },
  );
  const snapshot = await snapshotOfImage(engine, image, { sink: silentSink, signal });
  container = engine.containers.create('box', ({ id, name }) => ({
    ...{ version: 1, id, name, created: '2026-01-01T00:00:00Z', entrypoint: [], command: ['true'], user: '' },
    image: { id: image.id, name: 'img:1', ...(snapshot === undefined ? {} : { snapshot }) },
    ...{ stdin: 'closed', labels: { l: '1' }, restart: { name: 'no' }, autoRemove: false, init: false },
    ...{ stopSignal: 'SIGTERM', stopTimeoutS: 10, log: { maxSize: 1, maxFiles: 1 } },
    anonymousVolumes: [],
    input: {
      ...{ args: ['true'], env: ['A=1'], cwd: '/', user: { uid: 0, gid: 0, additionalGids: [] }, home: '/' },
      ...{ hostname: 'h', terminal: false, extraHosts: [] },
    },
    isolation: {
      mounts: [
        {
          kind: 'volume',
          name: 'vol',
          target: '/vol',
          readonly: false,
          nocopy: false,
          labels: {},
          options: {},
        },
      ],
      ...{ volumesFrom: [], namespaces: {}, devices: [], deviceRules: [], readonlyRoot: false, rlimits: [] },
      security: {
        ...{ capAdd: [], capDrop: [], privileged: false, noNewPrivileges: false, labels: [], given: [] },
        ...{ seccomp: { kind: 'default' }, systemPathsUnconfined: false },
      },
      ...{ sysctls: {}, groups: [], limits: {} },
    },
    ...{
      network: { kind: 'none' },
      ports: [],
      exposedPorts: [],
      dns: { servers: [], search: [], options: [] },
    },
  }));
  mkdirSync(layerFiles(container), { recursive: true });
  mkdirSync(join(container.directory, 'layer/work'));
  engine.volumes.create({ name: 'vol' });
});
after(async () => {
  await engine[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true, force: true });
});

const inside = (path: string): CopySide => ({ kind: 'container', container, path });
const outside = (path: string): CopySide => ({ kind: 'host', path });
const copy = (
  from: CopySide,
  to: CopySide,
  more: { readonly archive?: boolean; readonly followLink?: boolean } = {},
): Promise<void> =>
  copyFiles(engine, from, to, {
    archive: false,
    followLink: false,
    owner: { uid: 0, gid: 0 },
    signal,
    ...more,
  });
const upper = (path: string): string => join(layerFiles(container), path);

test('a file is copied to a name, into a directory, and through a symlink inside the root', async () => {
  await copy(outside(`${host}/file`), inside('/data/new'));
  assert.equal(readFileSync(upper('data/new'), 'utf8'), 'host\n');
  assert.deepEqual([lstatSync(upper('data/new')).uid, lstatSync(upper('data/new')).mode & 0o777], [0, 0o640]);
  await copy(outside(`${host}/file`), inside('/data/'), { archive: true });
  assert.equal(lstatSync(upper('data/file')).uid, 1000);
  await copy(outside(`${host}/file`), inside('/link'));
  assert.ok(existsSync(upper('data/sub/file')), '/link leads to /data/sub');
  await copy(outside(`${host}/file`), inside('/data/etc-link/motd'));
  assert.ok(existsSync(upper('etc/motd')) && !existsSync('/etc/motd.tsbuild'));
});

test('a directory becomes the destination, or goes into it; DIR/. is what is in it', async () => {
  await copy(outside(`${host}/tree`), inside('/fresh'));
  assert.deepEqual(readdirSync(upper('fresh')), ['below']);
  await copy(outside(`${host}/tree`), inside('/fresh'));
  assert.deepEqual(readdirSync(upper('fresh')).sort(), ['below', 'tree']);
  mkdirSync(upper('empty'));
  await copy(outside(`${host}/tree/.`), inside('/empty'));
  assert.deepEqual(readdirSync(upper('empty')), ['below']);
});

test('what does not fit is refused', async () => {
  await assert.rejects(copy(outside(`${host}/nope`), inside('/x')), /could not find the file/);
  await assert.rejects(copy(outside(`${host}/file`), inside('/no/where')), /does not exist/);
  await assert.rejects(copy(outside(`${host}/file`), inside('/nodir/')), /must exist/);
  await assert.rejects(
    copy(outside(`${host}/tree`), inside('/etc/passwd')),
    /cannot copy a directory to the file/,
  );
});

test('from a container: files, directories, symlinks as they are or followed', async () => {
  await copy(inside('/data/sub/f'), outside(`${host}/got`));
  assert.equal(readFileSync(`${host}/got`, 'utf8'), 'image\n');
  await copy(inside('/link'), outside(`${host}/got-link`));
  assert.equal(readlinkSync(`${host}/got-link`), '/data/sub');
  await copy(inside('/link'), outside(`${host}/got-dir`), { followLink: true });
  assert.ok(readdirSync(`${host}/got-dir`).includes('f'));
  await assert.rejects(
    copy(inside('/data/sub/../../../../../../etc/shadow'), outside(`${host}/no`)),
    /could not find/,
  );
});

test("a stopped container's volume is where its path says", async () => {
  await copy(outside(`${host}/file`), inside('/vol/f'));
  assert.equal(readFileSync(join(engine.volumes.require('vol').mountpoint, 'f'), 'utf8'), 'host\n');
  await copy(inside('/vol/f'), outside(`${host}/from-vol`));
  assert.equal(readFileSync(`${host}/from-vol`, 'utf8'), 'host\n');
});

async function tarOf(pack: (out: { write(bytes: Uint8Array): void }) => Promise<void>): Promise<string> {
  const parts: Buffer[] = [];
  await pack({ write: (bytes) => void parts.push(Buffer.from(bytes)) });
  return execFileSync('tar', ['-tf', '-'], { input: Buffer.concat(parts), encoding: 'utf8' });
}

test('- is a tar, in both directions', async () => {
  assert.equal(
    await tarOf((out) => copyOut(engine, container, '/data/sub', out, { followLink: false, signal })),
    'sub/\nsub/f\nsub/file\n',
  );
  const tar = execFileSync('tar', ['-C', host, '-cf', '-', 'file']);
  await copyIn(
    engine,
    container,
    '/etc',
    (async function* () {
      yield await Promise.resolve(new Uint8Array(tar));
    })(),
    { signal },
  );
  assert.equal(lstatSync(upper('etc/file')).uid, 1000);
});

test('diff, export and commit see the layer', async () => {
  rmSync(upper('data/sub/f'), { force: true });
  execFileSync('mknod', [upper('data/sub/f'), 'c', '0', '0']);
  const changes = (await containerChanges(engine, container, signal)).map(
    ({ kind, path }) => `${kind} ${path}`,
  );
  for (const line of ['C /data', 'A /data/new', 'D /data/sub/f', 'A /fresh/below/x', 'C /etc', 'A /etc/file'])
    assert.ok(changes.includes(line), `${line} in ${changes.join(', ')}`);
  assert.ok(!changes.some((line) => line.includes('/vol')));
  const listing = await tarOf((out) => exportContainer(engine, container, out, signal));
  assert.ok(
    listing.includes('data/new\n') && listing.includes('etc/passwd\n') && !listing.includes('data/sub/f\n'),
  );
  const image = await commitContainer(
    engine,
    container,
    { message: 'm', author: 'a', change: (config) => ({ ...config, Cmd: ['x'] }) },
    signal,
  );
  assert.equal(image.config.rootfs.diff_ids.length, 2);
  assert.deepEqual(
    [image.config.config.Cmd, image.config.config.Labels, image.config.author],
    [['x'], { l: '1' }, 'a'],
  );
  assert.equal(image.config.history.at(-1)?.comment, 'm');
});

test('a directory that is swapped for a symlink while we write leads nowhere', async () => {
  const root = join(directory, 'live');
  const victim = join(directory, 'victim');
  mkdirSync(join(root, 'd'), { recursive: true });
  mkdirSync(victim);
  mkdirSync(join(directory, 'payload/d/sub'), { recursive: true });
  writeFileSync(join(directory, 'payload/d/sub/pwned'), '');
  const tar = execFileSync('tar', ['-C', join(directory, 'payload'), '-cf', '-', 'd/sub/pwned']);
  for (let round = 0; round < 20; round += 1) {
    rmSync(join(root, 'd'), { recursive: true, force: true });
    mkdirSync(join(root, 'd'));
    const fd = openLiveDirectory(root, '');
    try {
      const items = (async function* () {
        for await (const item of readTar(
          (async function* () {
            yield await Promise.resolve(new Uint8Array(tar));
          })(),
        )) {
          // The attack: between any two entries the directory becomes a link to the host's.
          if (round % 2 === 0) {
            renameSync(join(root, 'd'), join(root, `old${round}`));
            symlinkSync(victim, join(root, 'd'));
          }
          yield item;
        }
      })();
      await writeLive(items, fd, { signal }).catch(() => undefined);
    } finally {
      closeSync(fd);
    }
    assert.deepEqual(readdirSync(victim), []);
  }
  assert.throws(() => openLiveDirectory(root, 'd/x'));
});
