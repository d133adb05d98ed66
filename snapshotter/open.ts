/** Picks a driver: what the kernel mounts decides, and the choice is said, never hidden. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { openOverlayView } from '../native/sys.ts';
import { closeSync } from 'node:fs';
import { createCopySnapshotter } from './copy.ts';
import { createOverlaySnapshotter, type DriverOptions } from './overlay.ts';
import type { Snapshotter } from './snapshotter.ts';

export type Driver = 'overlay' | 'copy';

/** `root` is the directory of all drivers; each has its own below it. */
export function openSnapshotter(options: DriverOptions & { readonly driver?: Driver }): Snapshotter {
  const driver = options.driver ?? (canOverlay(options) ? 'overlay' : 'copy');
  const at = { ...options, root: join(options.root, driver) };
  return driver === 'overlay' ? createOverlaySnapshotter(at) : createCopySnapshotter(at);
}

/** Tries it once with two empty directories; the result does not change while the kernel runs. */
export function canOverlay({ root, host }: Pick<DriverOptions, 'root' | 'host'>): boolean {
  const probe = join(root, 'overlay', 'staging', host.unique());
  try {
    const directories = [join(probe, 'a'), join(probe, 'b')];
    for (const directory of directories) mkdirSync(directory, { recursive: true });
    closeSync(openOverlayView(directories));
    return true;
  } catch {
    return false;
  } finally {
    rmSync(probe, { recursive: true, force: true });
  }
}
