/** Unpacks a layer into a directory of its own, as one layer of an overlay. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Lower } from '../native/mount.ts';
import { getXattr } from '../native/sys.ts';
import { ioError } from '../src/base/errors.ts';
import type { Layer } from '../src/layer/layer.ts';
import { emptyTree, openTree } from '../src/layer/open-tree.ts';
import { readTar } from '../src/layer/tar-reader.ts';
import { unpackLayer } from '../src/layer/unpack.ts';
import { OPAQUE_XATTR } from '../src/layer/whiteout.ts';
import { setRoot, type RootAttributes } from './root-attributes.ts';
import type { SnapshotInfo } from './snapshotter.ts';
import type { SnapshotStore } from './store.ts';
import { verifiedTar } from './verified-tar.ts';

const never = new AbortController().signal;

export interface Below {
  /** Of the parent, topmost first. */
  readonly lowers: readonly Lower[];
  /** See OverlayMount. */
  readonly program?: string | undefined;
  readonly root: RootAttributes;
}

/** Throws ARCHIVE_INVALID, DIGEST_MISMATCH, DISK_FULL, IO_FAILED. */
export async function unpackSnapshot(
  store: SnapshotStore,
  info: SnapshotInfo,
  layer: Layer,
  { lowers, program, root }: Below,
): Promise<SnapshotInfo> {
  const staged = store.stage();
  let parent: ReturnType<typeof openTree> | undefined;
  const openParent = (): ReturnType<typeof openTree> =>
    lowers.length === 0
      ? emptyTree()
      : openTree([{ kind: 'overlay', lower: lowers, ...(program === undefined ? {} : { program }) }]);
  try {
    const files = join(staged, 'fs');
    mkdirSync(files, { mode: 0o755 });
    setRoot(files, root);
    await unpackLayer(readTar(verifiedTar(layer)), files, {
      mode: 'overlay',
      parent: () => (parent ??= openParent()),
      signal: never,
    });
    const hidesParents = getXattr(files, OPAQUE_XATTR) !== undefined;
    return store.commit(staged, info, { diffID: layer.diffID, hidesParents });
  } catch (error) {
    rmSync(staged, { recursive: true, force: true });
    throw ioError('unpack a layer', error);
  } finally {
    parent?.[Symbol.dispose]();
  }
}
