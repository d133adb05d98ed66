/** Picks a driver: what the kernel mounts decides, and the choice is said, never hidden. */
import { closeSync, mkdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { openOverlayView } from '../native/sys.ts';
import { writeFileAtomic } from '../src/base/atomic-file.ts';
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

/**
 * Tried with two empty directories. The result does not change while the kernel runs and the caller is in the same user
 * namespace, so a success is noted in `overlay/usable`; a failure is tried again each time.
 */
export function canOverlay({ root, host }: Pick<DriverOptions, 'root' | 'host'>): boolean {
  const note = join(root, 'overlay', 'usable');
  const circumstances = describeCircumstances();
  if (readNote(note) === circumstances) return true;
  if (!tryOverlay(join(root, 'overlay', 'staging', host.unique()))) return false;
  writeFileAtomic(host, note, circumstances, { mode: 0o600 });
  return true;
}

function describeCircumstances(): string {
  return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()} ${readlinkSync('/proc/self/ns/user')}\n`;
}

function readNote(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function tryOverlay(probe: string): boolean {
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
