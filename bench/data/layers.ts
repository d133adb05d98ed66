/** A layer of very many small files: until it can be mounted, until all of it is read, until it is gone. */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { closeImage, openOverlayView } from '../../native/overlay.ts';
import type { Mount } from '../../native/mount.ts';
import { openSnapshotter } from '../../snapshotter/open.ts';
import type { Driver } from '../../snapshotter/driver.ts';
import { chainIDOf } from '../../src/base/digest.ts';
import type { Host } from '../../src/base/host.ts';
import { startTimeOf } from '../../src/base/owner.ts';
import { openLayerStore } from '../../src/layer/layer-store.ts';
import type { Layer, LayerStore } from '../../src/layer/layer.ts';
import { makeTree } from './copy.ts';
import { dropCaches, note, timed, type Results } from './measure.ts';
import type { Workplace } from './workplace.ts';

let serial = 0;
const host: Host = {
  now: () => Date.now(),
  unique: () => `${process.pid}.${startTimeOf(process.pid) ?? ''}.${(serial += 1)}`,
};

export async function measureLayers(place: Workplace, isCold: boolean): Promise<Results> {
  const results: Results = new Map();
  const [tree, tar, out] = ['tree', 'layer.tar', 'out'].map((name) => join(place.directory, name)) as [
    string,
    string,
    string,
  ];
  makeTree(tree);
  execFileSync('tar', ['-c', '-f', tar, '--sort=name', '-C', tree, '.']);
  rmSync(tree, { recursive: true });
  const layers = openLayerStore(join(place.directory, 'layers'), host);
  const own = store(layers, tar);
  // As another process sees it: what is not known to be right is digested once more.
  const foreign = openLayerStore(join(place.directory, 'layers'), host).get(own.diffID) ?? own;
  const directory = join(place.directory, 'snapshots');
  await clocked(results, 'the probe of EROFS', async () => {
    await using snapshots = openSnapshotter({ root: directory, host, layers, driver: 'erofs' });
    const empty = await snapshots.prepare(undefined);
    await empty[Symbol.asyncDispose]();
  });
  for (let round = 0; round < place.rounds; round += 1) {
    const cold = (): void => {
      if (isCold) dropCaches();
    };
    mkdirSync(out);
    cold();
    note(results, 'tar x', await timed(['tar', '-x', '-p', '-f', tar, '-C', out]));
    cold();
    note(results, 'reading what tar unpacked', await timed(READ_ALL, { cwd: out }));
    note(results, 'rm -rf', await timed(['rm', '-rf', out]));
    for (const [name, driver, layer] of [
      ['erofs, digest known', 'erofs', own],
      ['erofs, digest verified', 'erofs', foreign],
      ['overlay', 'overlay', foreign],
    ] as const) {
      cold();
      await measureDriver({ results, name, driver, layer, directory, layers, cold });
    }
  }
  return results;
}

const READ_ALL = ['sh', '-c', 'find . -type f -print0 | xargs -0 cat >/dev/null'];

interface Measured {
  readonly results: Results;
  readonly name: string;
  readonly driver: Driver;
  readonly layer: Layer;
  readonly directory: string;
  readonly layers: LayerStore;
  readonly cold: () => void;
}

async function measureDriver(of: Measured): Promise<void> {
  const { results, name, driver, layer, directory, layers, cold } = of;
  const snapshots = openSnapshotter({ root: directory, host, layers, driver });
  const nothing = undefined;
  const chain = chainIDOf(nothing, layer.diffID);
  await clocked(results, `${name}: ready to mount`, () => snapshots.apply(nothing, layer));
  const { mounts } = await snapshots.view(chain);
  let fd = -1;
  await clocked(results, `${name}: mounting`, () => (fd = openWithStub(mounts, directory)));
  cold();
  note(results, `${name}: reading all`, await timed(READ_ALL, { cwd: `/proc/${process.pid}/fd/${fd}/` }));
  closeSync(fd);
  for (const mount of mounts)
    for (const lower of mount.kind === 'overlay' ? mount.lower : [])
      if (typeof lower !== 'string') closeImage(lower.index);
  await clocked(results, `${name}: removing`, () => snapshots.remove(chain));
}

/** As containers see it: an overlay of the layer and of the directory of their mount points. */
function openWithStub([mount]: readonly Mount[], directory: string): number {
  const stub = join(directory, 'stub');
  mkdirSync(stub, { recursive: true });
  return openOverlayView([...(mount?.kind === 'overlay' ? mount.lower : []), stub]);
}

async function clocked(results: Results, name: string, work: () => unknown): Promise<void> {
  const started = performance.now();
  await work();
  note(results, name, { ms: performance.now() - started, peakMiB: process.memoryUsage().rss / 2 ** 20 });
}

function store(layers: LayerStore, tar: string): Layer {
  using writer = layers.create();
  const fd = openSync(tar, 'r');
  try {
    const piece = Buffer.allocUnsafe(1 << 20);
    for (let size = readSync(fd, piece); size > 0; size = readSync(fd, piece))
      writer.write(piece.subarray(0, size));
  } finally {
    closeSync(fd);
  }
  return writer.commit();
}
