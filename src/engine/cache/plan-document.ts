/**
 * A plan on its way: everything that a build of one target for one platform looked up, so that the next build that
 * changes nothing asks once. JSON, compressed:
 *
 *   { "blobs", "contents": { "<key>": "<digest>" }, "documents": ["…"], "image"?, "layers"?,
 *     "records": […], "version": 1 }
 *
 * `contents` are digests of files that COPY and mounts took from stages, so that a stage need not be at hand; `documents` are
 * manifests and configs of base images, which are worth something by their digests alone. Hostile as steps are.
 */
import { gunzipSync, gzipSync } from 'node:zlib';
import { isDiffID, isDigest, type Digest, type DiffID } from '../../base/digest.ts';
import { canonicalJson, isJsonObject, type Json } from '../../base/json.ts';
import type { Descriptor } from '../../oci/documents.ts';
import type { StepRecord } from '../../solver/handler.ts';
import {
  blobsAsJson,
  invalid,
  MAX_LAYERS,
  parseBlobs,
  parseCacheJson,
  parseTravelled,
} from './step-document.ts';

/** Compressed, and decompressed. */
export const MAX_PLAN = 4 << 20;
const MAX_PLAN_TEXT = 32 << 20;
const MAX_RECORDS = 10_000;

export interface Plan {
  readonly records: readonly StepRecord[];
  readonly blobs: ReadonlyMap<DiffID, Descriptor>;
  readonly contents: ReadonlyMap<Digest, Digest>;
  readonly documents: readonly string[];
  /** Digest of the config of what was built. */
  readonly image?: Digest;
  /** Of the image that it travels in, the lowest first: `blobs` are what its manifest has in their places. */
  readonly layers?: readonly DiffID[];
}

/** The same bytes for the same plan. */
export function serializePlan({ records, blobs, contents, documents, image, layers }: Plan): Buffer {
  const value: Json = {
    version: 1,
    records: records as unknown as Json,
    blobs: blobsAsJson(blobs),
    contents: Object.fromEntries(contents),
    documents,
    ...(image === undefined ? {} : { image }),
    ...(layers === undefined ? {} : { layers }),
  };
  return gzipSync(canonicalJson(value), { level: 9 });
}

/** Throws CACHE_INVALID. */
export function parsePlan(bytes: Uint8Array): Plan {
  const { version, records, blobs, contents, documents, image, layers } = parseCacheJson(
    decompressed(bytes),
    MAX_PLAN_TEXT,
  );
  if (version !== 1) throw invalid('its version is not 1');
  if (!Array.isArray(records) || records.length > MAX_RECORDS) throw invalid('it holds no records');
  if (!isTexts(documents)) throw invalid('its documents are no texts');
  if (image !== undefined && (typeof image !== 'string' || !isDigest(image)))
    throw invalid('its image is no digest');
  if (layers !== undefined && !isDiffIDs(layers)) throw invalid('its layers are no diffIDs');
  return {
    records: (records as readonly unknown[]).map((each) => parseTravelled(each)),
    blobs: parseBlobs(blobs),
    contents: parseContents(contents),
    documents,
    ...(image === undefined ? {} : { image }),
    ...(layers === undefined ? {} : { layers }),
  };
}

function decompressed(bytes: Uint8Array): Uint8Array {
  if (bytes.byteLength > MAX_PLAN) throw invalid(`it has ${bytes.byteLength} bytes, more than ${MAX_PLAN}`);
  try {
    return gunzipSync(bytes, { maxOutputLength: MAX_PLAN_TEXT });
  } catch {
    throw invalid('it cannot be decompressed');
  }
}

function isDiffIDs(value: unknown): value is readonly DiffID[] {
  return (
    Array.isArray(value) &&
    value.length <= MAX_LAYERS &&
    value.every((each) => typeof each === 'string' && isDiffID(each))
  );
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((each) => typeof each === 'string');
}

function parseContents(value: unknown): ReadonlyMap<Digest, Digest> {
  if (!isJsonObject(value)) throw invalid('its contents are no object');
  const contents = new Map<Digest, Digest>();
  for (const [key, digest] of Object.entries(value)) {
    if (!isDigest(key) || typeof digest !== 'string' || !isDigest(digest))
      throw invalid('its contents are no digests');
    contents.set(key, digest);
  }
  return contents;
}
