/**
 * A plan inside an image: an annotation of its manifest. Neither layers nor config (so not the image's id) change by
 * it, and whoever has the image has its cache; only layers of the image itself are in it.
 *
 * It says which layers the image has and not which blobs they are: those are what the manifest names in their places,
 * so a copy that was compressed anew has a cache that is as good.
 */
import type { DiffID } from '../../base/digest.ts';
import type { StoredImage } from '../../image/image-store.ts';
import type { Descriptor, Manifest } from '../../oci/documents.ts';
import { parsePlan, serializePlan, type Plan } from './plan-document.ts';
import { LAYER_TYPES } from './step-document.ts';

export const INLINE_ANNOTATION = 'org.tsbuild.cache.plan';

/** Of the annotation's value. Registries take manifests of 4 MiB; a cache must not be what breaks that. */
const MAX_INLINE = 1 << 20;

/** The annotation for an image; undefined where the plan is too large for one. */
export function inlineAnnotation(draft: Omit<Plan, 'blobs'>, { config }: StoredImage): string | undefined {
  const plan: Plan = {
    // What was the cause then is for those who look at that machine.
    records: draft.records.map(({ key, named, result, tookMs, finished, origin }) => ({
      ...{ key, named, result, tookMs, finished },
      ...(origin === undefined ? {} : { origin }),
    })),
    contents: draft.contents,
    documents: draft.documents,
    blobs: new Map(),
    layers: config.rootfs.diff_ids,
  };
  const texts = [plan, { ...plan, documents: [] }].map((each) => serializePlan(each).toString('base64'));
  return texts.find((text) => text.length <= MAX_INLINE);
}

/** Throws CACHE_INVALID. */
export function inlinePlan({ annotations, layers }: Manifest): Plan | undefined {
  const text = annotations?.[INLINE_ANNOTATION];
  if (text === undefined) return undefined;
  const plan = parsePlan(Buffer.from(text, 'base64'));
  return { ...plan, blobs: blobsOf(plan.layers ?? [], layers) };
}

/** None where the manifest has other layers than the image that was built. */
function blobsOf(diffIDs: readonly DiffID[], layers: readonly Descriptor[]): Plan['blobs'] {
  const blobs = new Map<DiffID, Descriptor>();
  if (diffIDs.length !== layers.length) return blobs;
  for (const [index, diffID] of diffIDs.entries()) {
    const layer = layers[index];
    if (layer === undefined || !LAYER_TYPES.has(layer.mediaType)) continue;
    const { mediaType, digest, size } = layer;
    blobs.set(diffID, { mediaType, digest, size });
  }
  return blobs;
}
