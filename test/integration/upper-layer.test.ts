/** The layer of what a process changed: much of it natively, with the bytes that the writer here makes. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { isTsbuildError } from '../../src/base/errors.ts';
import { openLayerStore } from '../../src/layer/layer-store.ts';
import { openDirectoryTree } from '../../src/layer/open-tree.ts';
import { packUpper } from '../../src/layer/pack.ts';
import { packUpperLayer } from '../../src/layer/upper-layer.ts';
import { testHost } from '../suites/layer-fixture.ts';
import { createRandom, makeRandomTree } from '../suites/random-tree.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'tsbuild-upper-'));
  for (const name of ['upper', 'below']) mkdirSync(join(root, name));
});
afterEach(() => execFileSync('rm', ['-rf', root]));

const upper = (name: string): string => join(root, 'upper', name);
const below = (name: string): string => join(root, 'below', name);

interface Made {
  readonly diffID: string;
  readonly size: number;
}

async function byHand(maxMtime?: number): Promise<Made> {
  using changes = openDirectoryTree(join(root, 'upper'));
  using parent = openDirectoryTree(join(root, 'below'));
  const hash = createHash('sha256');
  let size = 0;
  const out = {
    write(bytes: Uint8Array) {
      hash.update(bytes);
      size += bytes.byteLength;
    },
  };
  await packUpper(changes, parent, out, optionsWith(maxMtime));
  return { diffID: `sha256:${hash.digest('hex')}`, size };
}

async function asLayer(maxMtime?: number): Promise<Made> {
  const layers = openLayerStore(join(root, 'layers'), testHost);
  using changes = openDirectoryTree(join(root, 'upper'));
  using parent = openDirectoryTree(join(root, 'below'));
  using writer = layers.create();
  await packUpperLayer(changes, parent, writer, optionsWith(maxMtime));
  const { diffID, size } = writer.commit();
  return { diffID, size };
}

function optionsWith(maxMtime: number | undefined): Parameters<typeof packUpper>[3] {
  return {
    signal: new AbortController().signal,
    now: () => 0,
    ...(maxMtime === undefined ? {} : { maxMtime }),
  };
}

async function same(least: number): Promise<void> {
  const made = await asLayer();
  assert.deepEqual(made, await byHand());
  assert.ok(made.size >= least, `${made.size} bytes`);
  assert.deepEqual(await asLayer(1000), await byHand(1000));
}

/** Everything that a layer can hold, of which the first names come before what is much. */
function makeKinds(): void {
  mkdirSync(below('gone-below/x'), { recursive: true });
  writeFileSync(below('deleted'), 'x');
  mkdirSync(upper('a'));
  writeFileSync(upper('a/empty'), '');
  writeFileSync(upper('a/file'), 'content');
  linkSync(upper('a/file'), upper('z-link'));
  symlinkSync('../nowhere', upper('a/symlink'));
  chmodSync(upper('a'), 0o1777);
  execFileSync('mkfifo', [upper('a/fifo')]);
  execFileSync('mknod', [upper('a/device'), 'c', '10', '200']);
  execFileSync('mknod', [upper('deleted'), 'c', '0', '0']);
  mkdirSync(upper('gone-below'));
  execFileSync('setfattr', ['-n', 'trusted.overlay.opaque', '-v', 'y', upper('gone-below')]);
  writeFileSync(upper('ping'), 'x');
  execFileSync('setcap', ['cap_net_raw+ep', upper('ping')]);
  writeFileSync(Buffer.from(upper('name-\xff\xe4'), 'latin1'), 'not UTF-8');
  utimesSync(upper('ping'), 12, -34);
}

test('little is written here', async () => {
  makeKinds();
  await same(1);
});

test('many entries are packed natively', async () => {
  makeKinds();
  mkdirSync(upper('many'));
  for (let n = 0; n < 300; n += 1) writeFileSync(upper(`many/${n}`), `${n}`.repeat(n));
  await same(300 * 512);
});

test('a large file is packed natively, with what came before it', async () => {
  makeKinds();
  writeFileSync(upper('large'), Buffer.alloc(3 << 20, 'large'));
  writeFileSync(upper('sparse'), '');
  truncateSync(upper('sparse'), 5_000_001);
  await same(8_000_000);
});

test('a file of just as much as fits, and one byte more', async () => {
  for (const size of [(1 << 20) - 7, (1 << 20) - 6]) {
    writeFileSync(upper('first'), 'seven b');
    writeFileSync(upper('second'), Buffer.alloc(size, 'x'));
    await same(1 << 20);
  }
});

test('random trees', async () => {
  for (let seed = 1; seed <= 5; seed += 1) {
    rmSync(join(root, 'upper'), { recursive: true });
    mkdirSync(join(root, 'upper'));
    makeRandomTree(join(root, 'upper'), createRandom(seed), 100 * seed);
    await same(1);
  }
});

/** A file `f` below so many directories whose names have 250 bytes each. */
function makeDeep(count: number): void {
  execFileSync('python3', [
    '-c',
    `import os,sys
os.chdir(sys.argv[1])
for n in range(int(sys.argv[2])):
    os.mkdir('d' * 250); os.chdir('d' * 250)
open('f', 'w').write('deep')`,
    join(root, 'upper'),
    String(count),
  ]);
}

test('a path of more than 4,000 bytes is packed all the same', async () => {
  makeDeep(16);
  writeFileSync(upper('z'), Buffer.alloc(2 << 20, 'z'));
  await same(2 << 20);
});

for (const [size, packed] of [
  [10, 'here'],
  [2 << 20, 'natively'],
] as const)
  test(`a path that no reader of layers takes is refused where the layer is packed ${packed}`, async () => {
    makeDeep(17);
    writeFileSync(upper('z'), Buffer.alloc(size, 'z'));
    await assert.rejects(asLayer(), (error) => isTsbuildError(error, 'ARCHIVE_INVALID'));
    assert.deepEqual(readdirSync(join(root, 'layers/partial')), []);
  });
