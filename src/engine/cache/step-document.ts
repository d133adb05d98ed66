/**
 * A step's record on its way: canonical JSON with the record and the blobs of its layers.
 *
 *   { "blobs": { "<diffID>": { "digest", "mediaType", "size" } }, "record": { … }, "version": 1 }
 *
 * What comes from outside is hostile: bounded, parsed strictly, and worth nothing unless the key is the digest of
 * the named inputs. Layers are checked against their diffIDs when they are fetched.
 */
import { digestOf, isDiffID, type Digest, type DiffID } from '../../base/digest.ts';
import { TsbuildError } from '../../base/errors.ts';
import { canonicalJson, isJsonObject, type Json, type JsonObject } from '../../base/json.ts';
import { MEDIA_TYPES, type Descriptor } from '../../oci/documents.ts';
import { parseDescriptor } from '../../oci/parse.ts';
import type { StepRecord } from '../../solver/handler.ts';
import { parseRecord } from '../../solver/records.ts';

/** Larger ones do not travel: nobody writes such a step, or its inputs are named one by one. */
export const MAX_STEP = 1 << 20;
export const MAX_LAYERS = 1000;
/** Of the milliseconds that a Date can be. */
const MAX_TIME = 8.64e15;

export interface TravellingStep {
  readonly record: StepRecord;
  /** How the layers of its result can be had; those of base images, and those that nobody kept, are absent. */
  readonly blobs: ReadonlyMap<DiffID, Descriptor>;
}

export const LAYER_TYPES: ReadonlySet<string> = new Set([
  MEDIA_TYPES.layer,
  MEDIA_TYPES.layerGzip,
  MEDIA_TYPES.layerZstd,
]);

export function serializeStep({ record, blobs }: TravellingStep): string {
  return canonicalJson({ version: 1, record: record as unknown as Json, blobs: blobsAsJson(blobs) });
}

export function blobsAsJson(blobs: TravellingStep['blobs']): Json {
  return Object.fromEntries(
    [...blobs].map(([diffID, { mediaType, digest, size }]) => [diffID, { mediaType, digest, size }]),
  );
}

/** Throws CACHE_INVALID. */
export function parseStep(bytes: Uint8Array, key: Digest): TravellingStep {
  const value = parseCacheJson(bytes, MAX_STEP);
  if (value['version'] !== 1) throw invalid('its version is not 1');
  return { record: parseTravelled(value['record'], key), blobs: parseBlobs(value['blobs']) };
}

/** One JSON object; whatever JSON.parse thinks of it. Throws CACHE_INVALID. */
export function parseCacheJson(bytes: Uint8Array, maxSize: number): JsonObject {
  if (bytes.byteLength > maxSize) throw invalid(`it has ${bytes.byteLength} bytes, more than ${maxSize}`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw invalid('it is no JSON');
  }
  if (!isJsonObject(value)) throw invalid('it is no object');
  return value;
}

/** The record, if it is what `key` names; without `key`, what it names itself. Throws CACHE_INVALID. */
export function parseTravelled(value: unknown, key?: Digest): StepRecord {
  const wanted = key ?? (isJsonObject(value) ? value['key'] : undefined);
  const record = typeof wanted === 'string' && isDiffID(wanted) ? parseRecord(value, wanted) : undefined;
  if (record?.result.kind !== 'stack') throw invalid('it holds no record of a step');
  if (digestOfNamed(record) !== record.key) throw invalid('its key is not that of its inputs');
  const { layers } = record.result;
  const isSane =
    layers.length <= MAX_LAYERS && layers.every(({ diffID, created }) => isDiffID(diffID) && isTime(created));
  if (!isSane || !isTime(record.finished) || !isTime(record.tookMs))
    throw invalid('its layers or times make no sense');
  return record;
}

function digestOfNamed({ named }: StepRecord): Digest | undefined {
  try {
    return digestOf(canonicalJson({ ...named }));
  } catch {
    // Nested deeper than the stack: nothing that anybody made.
    return undefined;
  }
}

function isTime(ms: number): boolean {
  return ms >= 0 && ms <= MAX_TIME;
}

/** Throws CACHE_INVALID. */
export function parseBlobs(value: unknown): ReadonlyMap<DiffID, Descriptor> {
  if (!isJsonObject(value)) throw invalid('it does not say what its blobs are');
  const blobs = new Map<DiffID, Descriptor>();
  for (const [diffID, each] of Object.entries(value)) {
    if (!isDiffID(diffID)) throw invalid(`${JSON.stringify(diffID.slice(0, 80))} is no diffID`);
    const { mediaType, digest, size } = parseDescriptor(each, 'blobs', invalid);
    if (!LAYER_TYPES.has(mediaType)) throw invalid(`a layer is ${JSON.stringify(mediaType.slice(0, 80))}`);
    blobs.set(diffID, { mediaType, digest, size });
  }
  return blobs;
}

export function invalid(reason: string): TsbuildError {
  return new TsbuildError('CACHE_INVALID', `what the cache holds cannot be used: ${reason}`);
}
