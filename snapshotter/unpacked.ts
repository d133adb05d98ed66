/** Unpacks a layer into a directory of its own, as one layer of an overlay. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Lower } from '../native/mount.ts';
import { getXattr } from '../native/sys.ts';
import { ioError } from '../src/base/errors.ts';
import type { Layer } from '../src/layer/layer.ts';
import { emptyTree, openTree } from '../src/layer/open-tree.ts';
import { readTar } from '../src/layer/tar-reader.ts';
import { unpackLayer } from '../src/layer/unpack.ts';
import { OPAQUE_XATTR } from '../src/layer/whiteout.ts';
import { openLowers } from './open-lowers.ts';
import { setRoot, type RootAttributes } from './root-attributes.ts';
import type { SnapshotInfo } from './snapshotter.ts';
import type { SnapshotStore } from './store.ts';
import { applyTars, SparseTar } from './tar-calls.ts';
import { verifiedTar } from './verified-tar.ts';
import { removeTree } from '../src/base/remove-tree.ts';

const never = new AbortController().signal;
const SMALL = 1 << 20;

export interface Below {
  /** Of the parent, topmost first. */
  readonly lowers: readonly Lower[];
  /** See OverlayMount. */
  readonly program?: string | undefined;
  readonly root: RootAttributes;
  /** Bytes of a tar below which it is unpacked here; a call takes 3 ms to start. */
  readonly small?: number | undefined;
}

/** Throws ARCHIVE_INVALID, DIGEST_MISMATCH, DISK_FULL, IO_FAILED. */
export async function unpackSnapshot(
  store: SnapshotStore,
  info: SnapshotInfo,
  layer: Layer,
  below: Below,
): Promise<SnapshotInfo> {
  const staged = store.stage();
  try {
    const files = join(staged, 'fs');
    mkdirSync(files, { mode: 0o755 });
    const { path, size } = layer;
    const isHere = path === undefined || size < (below.small ?? SMALL);
    const hidesParents = await (isHere
      ? unpackHere(layer, files, below)
      : unpackNatively(layer, path, files, below));
    return store.commit(staged, info, { diffID: layer.diffID, hidesParents });
  } catch (error) {
    removeTree(staged);
    throw ioError('unpack a layer', error);
  }
}

/** Tells whether nothing of the parents shows. */
async function unpackNatively(layer: Layer, path: string, files: string, below: Below): Promise<boolean> {
  const { diffID } = layer;
  const { lowers, program, root } = below;
  try {
    const { hidesParents } = await applyTars({
      output: files,
      tars: [{ path, diffID, verify: true }],
      root,
      isBelowDear: true,
      ...(lowers.length === 0 ? {} : { below: () => Promise.resolve(openLowers(lowers, program)) }),
    });
    return hidesParents;
  } catch (error) {
    if (error instanceof SparseTar) return unpackHere(layer, files, below);
    throw error;
  }
}

async function unpackHere(layer: Layer, files: string, { lowers, program, root }: Below): Promise<boolean> {
  setRoot(files, root);
  let parent: ReturnType<typeof openTree> | undefined;
  const openParent = (): ReturnType<typeof openTree> =>
    lowers.length === 0
      ? emptyTree()
      : openTree([{ kind: 'overlay', lower: lowers, ...(program === undefined ? {} : { program }) }]);
  try {
    await unpackLayer(readTar(verifiedTar(layer)), files, {
      mode: 'overlay',
      parent: () => (parent ??= openParent()),
      signal: never,
    });
    return getXattr(files, OPAQUE_XATTR) !== undefined;
  } finally {
    parent?.[Symbol.dispose]();
  }
}
