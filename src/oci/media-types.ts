/**
 * Media types: which mean the same thing in the two families, and which may not be distributed. The bytes of a layer
 * and of a config are the same in both.
 *
 * Spec: OCI image-spec v1.1.1, media-types.md; docker image manifest v2 schema 2.
 */
import { MEDIA_TYPES, type Descriptor } from './documents.ts';

const PAIRS: readonly (readonly [oci: string, docker: string])[] = [
  [MEDIA_TYPES.index, MEDIA_TYPES.dockerIndex],
  [MEDIA_TYPES.manifest, MEDIA_TYPES.dockerManifest],
  [MEDIA_TYPES.config, MEDIA_TYPES.dockerConfig],
  [MEDIA_TYPES.layer, MEDIA_TYPES.dockerLayer],
  [MEDIA_TYPES.layerGzip, MEDIA_TYPES.dockerLayerGzip],
  [MEDIA_TYPES.foreignLayer, MEDIA_TYPES.dockerForeignLayer],
  [MEDIA_TYPES.foreignLayerGzip, MEDIA_TYPES.dockerForeignLayerGzip],
];
const TO_OCI: ReadonlyMap<string, string> = new Map([
  ...PAIRS.map(([oci, docker]) => [docker, oci] as const),
  // Read in the wild, never written.
  [MEDIA_TYPES.dockerLayerZstd, MEDIA_TYPES.layerZstd] as const,
]);
const TO_DOCKER: ReadonlyMap<string, string> = new Map(PAIRS);

/** The same thing in the other family; undefined where that has no such type. */
export function typeIn(family: 'oci' | 'docker', mediaType: string): string | undefined {
  const table = family === 'oci' ? TO_OCI : TO_DOCKER;
  const other = family === 'oci' ? TO_DOCKER : TO_OCI;
  return table.get(mediaType) ?? (other.has(mediaType) && !isZstd(mediaType, family) ? mediaType : undefined);
}

function isZstd(mediaType: string, family: 'oci' | 'docker'): boolean {
  return family === 'docker' && mediaType === MEDIA_TYPES.dockerLayerZstd;
}

const FOREIGN: ReadonlySet<string> = new Set([
  MEDIA_TYPES.foreignLayer,
  MEDIA_TYPES.foreignLayerGzip,
  MEDIA_TYPES.foreignLayerZstd,
  MEDIA_TYPES.dockerForeignLayer,
  MEDIA_TYPES.dockerForeignLayerGzip,
]);

/** A layer that registries do not keep: it says itself where it lies. */
export function isForeignLayer({ mediaType, urls }: Pick<Descriptor, 'mediaType' | 'urls'>): boolean {
  return FOREIGN.has(mediaType) && (urls?.length ?? 0) > 0;
}
