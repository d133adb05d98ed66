/**
 * A new volume begins with what the image has at its place: owners, modes and all, as docker's do.
 *
 * A container may have the volume already, and change it while we fill it: so the files are unpacked out of its
 * sight, and their topmost names renamed into the volume, which follows nothing.
 */
import {
  chmodSync,
  chownSync,
  createReadStream,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
} from 'node:fs';
import { ioError } from '../../base/errors.ts';
import { fsPath, toByteString } from '../../base/byte-string.ts';
import { emptyTree, openTree } from '../../layer/open-tree.ts';
import { packWhole } from '../../layer/pack.ts';
import { readTar } from '../../layer/tar-reader.ts';
import type { EntryStat, Tree } from '../../layer/tree.ts';
import { unpackLayer } from '../../layer/unpack.ts';
import type { MountRequest } from '../../runtime/container-options.ts';
import type { SnapshotName } from '../../../snapshotter/snapshotter.ts';
import type { Engine } from '../engine.ts';
import { isEmptyVolume, type Volume } from '../volumes.ts';
import { spoolTar } from './spool-tar.ts';
import { removeTree } from '../../base/remove-tree.ts';

/** Fills the empty volumes among `mounts`. Throws DISK_FULL, IO_FAILED. */
export async function populateVolumes(
  engine: Engine,
  image: SnapshotName | undefined,
  mounts: readonly MountRequest[],
  signal: AbortSignal,
): Promise<void> {
  const empty = mounts.flatMap((mount) => {
    if (mount.kind !== 'volume' || mount.nocopy || mount.name === undefined) return [];
    const volume = engine.volumes.require(mount.name);
    return isEmptyVolume(volume) ? [{ volume, target: mount.target }] : [];
  });
  if (empty.length === 0 || image === undefined) return;
  await using view = await (await engine.snapshotter()).view(image);
  using tree = openTree(view.mounts);
  for (const { volume, target } of empty) {
    const stat = tree.stat(toByteString(target));
    if (stat?.type === 'directory') await populate(engine, volume, tree, target, stat, signal);
  }
}

async function populate(
  engine: Engine,
  volume: Volume,
  tree: Tree,
  target: string,
  { uid, gid, mode }: EntryStat,
  signal: AbortSignal,
): Promise<void> {
  const staged = engine.spool();
  try {
    chownSync(volume.mountpoint, uid, gid);
    chmodSync(volume.mountpoint, mode);
    using source = tree.directory(toByteString(target));
    if (source.names().length === 0) return;
    mkdirSync(staged, { mode: 0o700 });
    using tar = await spoolTar(engine, (out) =>
      packWhole(source, out, { signal, now: () => engine.host.now() }),
    );
    await unpackLayer(readTar(createReadStream(tar.path)), staged, {
      mode: 'plain',
      parent: emptyTree,
      signal,
    });
    for (const name of readdirSync(staged, 'latin1')) {
      const to = fsPath(`${volume.mountpoint}/`, name);
      if (lstatSync(to, { throwIfNoEntry: false }) === undefined) renameSync(fsPath(`${staged}/`, name), to);
    }
  } catch (error) {
    throw ioError(`fill volume ${JSON.stringify(volume.name)}`, error);
  } finally {
    removeTree(staged);
  }
}
