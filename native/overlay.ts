/**
 * Overlays and images that this process looks into itself. All are mounted nowhere, so that a killed process leaks
 * nothing.
 *
 * Images stay mounted for a while, because what was read of them is cached by the kernel per mount.
 */
import { closeSync, constants, openSync } from 'node:fs';
import { lowerStrings, programOptions, type LayerImage, type Lower, type OverlayMount } from './mount.ts';
import { makeOverlay, mountImage, mountServed } from './sys.ts';

const MAX_IMAGES = 64;

/** Descriptors by the index's path, the one that was wanted last at the end. */
const images = new Map<string, number>();

function mounted(image: LayerImage): number {
  const known = images.get(image.index);
  images.delete(image.index);
  const fd = known ?? mountImage(lowerStrings(image));
  images.set(image.index, fd);
  return fd;
}

function closeSurplus(): void {
  for (const index of [...images.keys()].slice(0, Math.max(0, images.size - MAX_IMAGES))) closeImage(index);
}

/** Closes the image with this index, if it is open; what was opened of it before stays. */
export function closeImage(index: string): void {
  const fd = images.get(index);
  images.delete(index);
  if (fd !== undefined) closeSync(fd);
}

/** Root directory of an image alone; the caller closes the descriptor. */
export function openImage(image: LayerImage): number {
  try {
    return openSync(`/proc/self/fd/${mounted(image)}`, constants.O_RDONLY | constants.O_DIRECTORY);
  } finally {
    closeSurplus();
  }
}

/** Descriptor of a read-only overlay of two or more directories, topmost first. */
export function openOverlayView(lower: readonly Lower[], program?: string): number {
  return open({ kind: 'overlay', lower, ...(program === undefined ? {} : { program }) });
}

/** The same, writable: what is written goes to `upper`, by way of `work`. */
export function openOverlayRoot(
  lower: readonly Lower[],
  upper: string,
  work: string,
  program?: string,
): number {
  return open({ kind: 'overlay', lower, upper, work, ...(program === undefined ? {} : { program }) });
}

function open(mount: OverlayMount): number {
  const { lower, upper, work = '', program } = mount;
  if (program !== undefined) return mountServed(program, programOptions(mount));
  const writable = upper === undefined ? undefined : { upper, work };
  // why: what is attached for an overlay is so in a namespace of its own, and cannot be used again.
  const attached = lower.some((each) => typeof each !== 'string' && each.attached);
  if (attached) return makeOverlay(lower.flatMap(lowerStrings), lower.length, true, writable);
  try {
    const paths = lower.map((each) => (typeof each === 'string' ? each : `/proc/self/fd/${mounted(each)}`));
    return makeOverlay(paths, lower.length, false, writable);
  } finally {
    closeSurplus();
  }
}
