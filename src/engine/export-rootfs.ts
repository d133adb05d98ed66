/** `type=local` and `type=tar`: the files of an image, without the image. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ioError, TsbuildError } from '../base/errors.ts';
import { makeDirectories } from '../base/make-directories.ts';
import { removeTree } from '../base/remove-tree.ts';
import { withDestination, type Destination } from '../exporter/archive.ts';
import { stage } from '../exporter/staged.ts';
import type { StoredImage } from '../image/image-store.ts';
import { emptyTree, openTree } from '../layer/open-tree.ts';
import { packDifference } from '../layer/pack.ts';
import { readTar } from '../layer/tar-reader.ts';
import { unpackLayer } from '../layer/unpack.ts';
import { createStacks } from '../solver/stack.ts';
import { emptyStack, pushLayer, type StackResult } from '../solver/result.ts';
import type { Engine } from './engine.ts';
import { createLayerAccess } from './layer-access.ts';
import type { CallOptions } from './with-vertex.ts';
import type { SnapshotName } from '../../snapshotter/snapshotter.ts';

/** The committed snapshot of an image's layers. */
export async function snapshotOfImage(
  engine: Engine,
  image: StoredImage,
  options: CallOptions,
): Promise<SnapshotName | undefined> {
  const stack = image.config.rootfs.diff_ids.reduce<StackResult>(
    (below, diffID) => pushLayer(below, { diffID, created: 0 }),
    emptyStack,
  );
  const stacks = createStacks({
    snapshotter: engine.snapshotter,
    openLayer: createLayerAccess(engine, options),
  });
  return stacks.snapshotOf(stack);
}

async function packImage(
  engine: Engine,
  image: StoredImage,
  out: { write(bytes: Uint8Array): void },
  options: CallOptions,
): Promise<void> {
  const snapshotter = await engine.snapshotter();
  await using view = await snapshotter.view(await snapshotOfImage(engine, image, options));
  using tree = image.config.rootfs.diff_ids.length === 0 ? emptyTree() : openTree(view.mounts);
  await packDifference(emptyTree(), tree, out, {
    signal: options.signal,
    now: () => engine.host.now(),
  });
}

export async function exportRootfsTar(
  engine: Engine,
  image: StoredImage,
  destination: Destination,
  options: CallOptions,
): Promise<void> {
  await withDestination(destination, engine.host, async (out) => {
    await packImage(engine, image, out, options);
    await out.drain();
  });
}

/** Into a new or empty directory at once; into another one file by file, as docker does. */
export async function exportRootfsDirectory(
  engine: Engine,
  image: StoredImage,
  destination: string,
  options: CallOptions,
): Promise<void> {
  using writer = engine.layers.create();
  await packImage(engine, image, writer, options);
  const { signal } = options;
  const packed = writer.commit();
  try {
    makeDirectories(join(destination, '..'));
    using staged = stage(destination, engine.host);
    mkdirSync(staged.path);
    await unpackLayer(readTar(packed.tar()), staged.path, { mode: 'plain', parent: emptyTree, signal });
    if (!existsSync(destination)) staged.commit();
    else if (readdirSync(destination).length === 0) {
      removeTree(destination);
      staged.commit();
    } else await mergeInto(staged.path, destination);
  } catch (error) {
    throw ioError(`write ${JSON.stringify(destination)}`, error);
  } finally {
    if (!image.config.rootfs.diff_ids.includes(packed.diffID)) engine.layers.remove(packed.diffID);
  }
}

/**
 * why --remove-destination: without it cp writes through a symlink that lies where a file goes, and an earlier export
 * of somebody's image may have put it there.
 */
async function mergeInto(from: string, to: string): Promise<void> {
  const child = spawn('cp', ['-a', '--remove-destination', '--', `${from}/.`, to], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let complaint = '';
  child.stderr.on('data', (data: Buffer) => (complaint += data.toString()));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0)
    throw new TsbuildError('IO_FAILED', `cannot write ${JSON.stringify(to)}: ${complaint.trim()}`);
}
