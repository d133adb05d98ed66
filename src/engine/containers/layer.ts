/** A container's files: its own layer, what lies below it, and how it sees both. */
import { closeSync, constants, existsSync, openSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Lower, OverlayMount } from '../../../native/mount.ts';
import { openOverlayRoot } from '../../../native/overlay.ts';
import { startTimeOf } from '../../base/owner.ts';
import { emptyTree, openDirectoryTree, openTree } from '../../layer/open-tree.ts';
import { packDifference, packUpper, type PackOptions } from '../../layer/pack.ts';
import { withoutPaths } from '../../layer/partial-tree.ts';
import type { Tree } from '../../layer/tree.ts';
import type { StoredContainer } from '../../runtime/container.ts';
import { keepsWholeTrees } from '../../../snapshotter/driver.ts';
import { untouchedStubs } from '../../../snapshotter/noted-stubs.ts';
import type { Engine } from '../engine.ts';
import { rootMounts } from './spec.ts';

/** All drivers keep the files of a container's layer here: what changed, or everything. */
export function layerFiles({ directory }: StoredContainer): string {
  return join(directory, 'layer', 'fs');
}

/** Without places that were made for mounts. */
function openFiles(container: StoredContainer, driver: string): Tree {
  const files = openDirectoryTree(layerFiles(container));
  if (!keepsWholeTrees(driver)) return files;
  return withoutPaths(files, untouchedStubs(dirname(layerFiles(container)), files));
}

interface Below {
  readonly driver: string;
  /** Of the overlay that the image is, topmost first. */
  readonly lower: readonly Lower[];
  /** See OverlayMount. */
  readonly program: string | undefined;
  readonly tree: () => Tree;
}

async function withBelow<T>(
  engine: Engine,
  { config }: StoredContainer,
  use: (below: Below) => Promise<T> | T,
): Promise<T> {
  const snapshotter = await engine.snapshotter();
  await using view = await snapshotter.view(config.image.snapshot);
  const [root] = view.mounts;
  const tree = (): Tree => (config.image.snapshot === undefined ? emptyTree() : openTree(view.mounts));
  const { lower = [], program } = root?.kind === 'overlay' ? root : {};
  return await use({ driver: snapshotter.driver, lower, program, tree });
}

/** Writes what the container changed as a layer's tar. What was mounted into it is not in there. */
export async function packChanges(
  engine: Engine,
  container: StoredContainer,
  out: { write(bytes: Uint8Array): void },
  options: PackOptions,
): Promise<void> {
  await withBelow(engine, container, async ({ driver, tree }) => {
    using below = tree();
    using files = existsSync(layerFiles(container)) ? openFiles(container, driver) : emptyTree();
    if (keepsWholeTrees(driver)) await packDifference(below, files, out, options);
    else await packUpper(files, below, out, options);
  });
}

/** The container's root as it is now, without what is mounted into it. */
export async function withContainerTree<T>(
  engine: Engine,
  container: StoredContainer,
  use: (tree: Tree, below: Tree) => Promise<T>,
): Promise<T> {
  return withBelow(engine, container, async ({ driver, lower, program, tree }) => {
    using below = tree();
    const files = layerFiles(container);
    if (!existsSync(files)) return await use(below, below);
    const all: OverlayMount = {
      ...{ kind: 'overlay', lower: [files, ...lower] },
      ...(program === undefined ? {} : { program }),
    };
    const isWhole = keepsWholeTrees(driver) || lower.length === 0;
    using whole = isWhole ? openFiles(container, driver) : openTree([all]);
    return await use(whole, below);
  });
}

/**
 * Path of a container's root that may be written to, with all mounts where it runs. Where it does not, its layer
 * is mounted for `use` alone, out of everybody's sight; its volumes are `use`'s to look up then.
 */
export async function withContainerRoot<T>(
  engine: Engine,
  container: StoredContainer,
  use: (root: string) => Promise<T>,
): Promise<T> {
  const { process } = container.state;
  if (process !== undefined) {
    const fd = openSync(`/proc/${process.pid}/root`, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      // why: the pid may have become another process's; what is open now is whose start time it has.
      if (startTimeOf(process.pid) === process.start) return await use(`/proc/self/fd/${fd}`);
    } finally {
      closeSync(fd);
    }
  }
  const files = layerFiles(container);
  // One that was never started has no layer yet.
  if (!existsSync(files)) await rootMounts(engine, container);
  return withBelow(engine, container, async ({ driver, lower, program }) => {
    if (keepsWholeTrees(driver) || lower.length === 0) return await use(files);
    const fd = openOverlayRoot(lower, files, join(container.directory, 'layer', 'work'), program);
    try {
      return await use(`/proc/self/fd/${fd}`);
    } finally {
      closeSync(fd);
    }
  });
}
