/**
 * An image's documents in the other family, OCI or docker. Layers and configs keep their bytes; members that nobody
 * knows stay.
 *
 * Spec: OCI image-spec v1.1.1; docker image manifest v2 schema 2.
 */
import { digestOf } from '../base/digest.ts';
import { TsbuildError } from '../base/errors.ts';
import { isJsonObject, type Json, type JsonObject } from '../base/json.ts';
import { MEDIA_TYPES, type Descriptor } from './documents.ts';
import { typeIn } from './media-types.ts';
import { isAttestation } from './platform.ts';

export type Family = 'oci' | 'docker';

export interface Converted {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

/** A manifest's JSON. Throws IMAGE_INVALID where the family has no such layers. */
export function convertManifest(document: JsonObject, family: Family): Converted {
  const { annotations, subject, artifactType, ...rest } = document;
  const layers = Array.isArray(rest['layers']) ? (rest['layers'] as readonly Json[]) : [];
  return written(family === 'oci' ? MEDIA_TYPES.manifest : MEDIA_TYPES.dockerManifest, {
    ...rest,
    config: convertDescriptor(rest['config'], family),
    layers: layers.map((layer) => convertDescriptor(layer, family)),
    // docker's documents have none of these.
    ...(family === 'docker' ? {} : { artifactType, subject, annotations }),
  });
}

/** An index's JSON, with its children as they were converted; what was not converted is left out. */
export function convertIndex(
  document: JsonObject,
  children: ReadonlyMap<string, Descriptor>,
  family: Family,
): Converted {
  const { annotations, subject, artifactType, ...rest } = document;
  const manifests = Array.isArray(rest['manifests']) ? (rest['manifests'] as readonly Json[]) : [];
  return written(family === 'oci' ? MEDIA_TYPES.index : MEDIA_TYPES.dockerIndex, {
    ...rest,
    manifests: manifests.flatMap((each): Json[] => {
      if (!isJsonObject(each) || typeof each['digest'] !== 'string') return [];
      const child = children.get(each['digest']);
      if (child === undefined) return [];
      const { mediaType, digest, size } = child;
      return [{ ...each, mediaType, digest, size }];
    }),
    ...(family === 'docker' ? {} : { artifactType, subject, annotations }),
  });
}

/** Attestations have no place in docker's lists. */
export function isConvertible(descriptor: Descriptor, family: Family): boolean {
  return family === 'oci' || !isAttestation(descriptor);
}

function convertDescriptor(value: Json | undefined, family: Family): JsonObject {
  if (!isJsonObject(value))
    throw new TsbuildError('IMAGE_INVALID', 'a manifest has a descriptor that is none');
  const { mediaType } = value;
  const type = typeof mediaType === 'string' ? typeIn(family, mediaType) : undefined;
  if (type === undefined)
    throw new TsbuildError(
      'IMAGE_INVALID',
      `${family} images cannot hold ${JSON.stringify(mediaType ?? null)}`,
      family === 'docker' ? { hint: 'use --format oci' } : {},
    );
  return { ...value, mediaType: type };
}

function written(mediaType: string, document: JsonObject): Converted {
  const bytes = Buffer.from(JSON.stringify({ ...document, schemaVersion: 2, mediaType }));
  return { descriptor: { mediaType, digest: digestOf(bytes), size: bytes.byteLength }, bytes };
}
