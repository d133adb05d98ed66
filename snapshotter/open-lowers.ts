/** What several layers show together, for whoever looks into it without mounting it anywhere. */
import { constants, openSync } from 'node:fs';
import type { Lower } from '../native/mount.ts';
import { openImage, openOverlayView } from '../native/overlay.ts';

/** Descriptor of the directory that `lowers` (topmost first, one at least) make; the caller closes it. */
export function openLowers(lowers: readonly Lower[], program?: string): number {
  const [only] = lowers;
  // why: overlayfs takes no single directory.
  if (lowers.length !== 1 || only === undefined) return openOverlayView(lowers, program);
  return typeof only === 'string'
    ? openSync(only, constants.O_RDONLY | constants.O_DIRECTORY)
    : openImage(only);
}
