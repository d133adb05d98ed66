/** Picks a driver: what the kernel mounts decides, and the choice is said, never hidden (`choice.ts`). */
import { join } from 'node:path';
import { createBtrfsSnapshotter } from './btrfs.ts';
import { createCopySnapshotter } from './copy.ts';
import { createErofsSnapshotter } from './erofs.ts';
import { createFuseSnapshotter } from './fuse-overlayfs.ts';
import { createOverlaySnapshotter } from './overlay.ts';
import { chooseDriver, erofsSupport } from './choice.ts';
import type { Driver } from './driver.ts';
import type { Snapshotter } from './snapshotter.ts';
import type { DriverOptions } from './stacked.ts';

/** Directories below the root of all drivers: `erofs` and `overlay` use each other's snapshots. */
export const DRIVER_DIRECTORY: Readonly<Record<Driver, string>> = {
  erofs: 'overlay',
  overlay: 'overlay',
  'fuse-overlayfs': 'fuse-overlayfs',
  btrfs: 'btrfs',
  copy: 'copy',
};

export interface OpenOptions extends DriverOptions {
  readonly driver: Driver;
  /** See ErofsOptions and OverlayOptions. */
  readonly small?: number;
}

/** `root` is the directory of all drivers; each has its own below it. */
export function openSnapshotter(options: OpenOptions): Snapshotter {
  const at = { ...options, root: join(options.root, DRIVER_DIRECTORY[options.driver]) };
  switch (options.driver) {
    case 'erofs':
      return createErofsSnapshotter({ ...at, support: () => erofsSupport(options) });
    case 'overlay':
      return createOverlaySnapshotter(at);
    case 'fuse-overlayfs':
      return createFuseSnapshotter(at);
    case 'btrfs':
      return createBtrfsSnapshotter(at);
    case 'copy':
      return createCopySnapshotter(at);
  }
}

/** The driver that was asked for, or the best one that works here. Throws KERNEL_UNSUPPORTED. */
export async function openChosenSnapshotter(
  options: DriverOptions & { readonly driver?: Driver },
): Promise<Snapshotter> {
  const driver = options.driver ?? (await chooseDriver(options)).driver;
  return openSnapshotter({ ...options, driver });
}
