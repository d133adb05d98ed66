/** Caches that a build reads and writes, as the user named them. */
import type { LayerForm } from '../../layer/layer-form.ts';
import type { Reference } from '../../oci/reference.ts';

interface Mounts {
  /** Cache mounts of RUN travel as well. */
  readonly mounts: boolean;
}

/** An OCI layout; `tag` names what is read or written in it. */
interface InDirectory {
  readonly kind: 'local';
  /** Absolute. */
  readonly directory: string;
  readonly tag: string;
}

interface InRegistry {
  readonly kind: 'registry';
  readonly reference: Reference;
}

/** A registry's reference may name an image that has its cache in it (`inline`). */
export type CacheSource = (InRegistry | InDirectory) & Mounts;

/** `min`: layers of the image itself; `max`: those of all steps. Records are written of all steps in any case. */
export type CacheMode = 'min' | 'max';

/** A place of its own, or the image itself as it is pushed and exported (inline-plan.ts). */
export type CacheDestination = PlaceDestination | { readonly kind: 'inline' };

export type PlaceDestination = (InRegistry | InDirectory) & Mounts & Written;

interface Written {
  readonly mode: CacheMode;
  /** Of layers that have not travelled yet. */
  readonly form: LayerForm;
}

/** What is kept beside the tags that people choose. */
export function stepTag(hex: string): string {
  return `tsb-${hex.slice(0, 32)}`;
}

export function mountTag(hex: string): string {
  return `tsm-${hex.slice(0, 32)}`;
}

/** `name` may be what anybody calls anything. */
export function isStepTag(name: string): boolean {
  return /^tsb-[0-9a-f]{32}$/.test(name);
}

/** A step's or a cache mount's. */
export function isKeptTag(name: string): boolean {
  return /^ts[bm]-[0-9a-f]{32}$/.test(name);
}
