/**
 * Cache artifacts: OCI manifests, so that any registry keeps them and the blobs that they name.
 *
 *   <repository>:tsb-<32 hex of the key>   one step: its document as config, its layers as layers
 *   <repository>:tsm-<32 hex of its name>  one cache mount: its segments, then its packs (mounts/mount-index.ts)
 *   <repository>:<tag that the user named> plans of whole builds: a table of them as config; as layers each plan's
 *                                          document followed by the layers that it speaks of
 *
 * Documents that are small stand in the manifest too (`data`), so that reading one is one request.
 *
 * Spec: OCI image-spec v1.1.1, manifest.md, "Guidelines for Artifact Usage" (the form that 1.0 registries know).
 */
import { digestOf } from '../../base/digest.ts';
import { canonicalJson, isJsonObject } from '../../base/json.ts';
import { MEDIA_TYPES, type Descriptor, type Manifest } from '../../oci/documents.ts';
import { invalid, parseCacheJson } from './step-document.ts';

export const STEP_TYPE = 'application/vnd.tsbuild.cache.step.v1+json';
export const PLANS_TYPE = 'application/vnd.tsbuild.cache.plans.v1+json';
export const PLAN_TYPE = 'application/vnd.tsbuild.cache.plan.v1+gzip';

/** Of the config of a manifest that a cache made. */
export function isArtifactType(mediaType: string): boolean {
  return mediaType.startsWith('application/vnd.tsbuild.cache.');
}

/** Documents up to this size are in their manifests. */
const MAX_DATA = 16 << 10;
const MAX_TABLE = 64 << 10;

/** Bytes with what names them. */
export interface Document {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

export function documentOf(mediaType: string, content: string | Uint8Array): Document {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
  return { descriptor: { mediaType, digest: digestOf(bytes), size: bytes.byteLength }, bytes };
}

function manifestOf(config: Document, layers: readonly Descriptor[]): Document {
  const { descriptor, bytes } = config;
  const data = bytes.byteLength > MAX_DATA ? {} : { data: Buffer.from(bytes).toString('base64') };
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.manifest,
    config: { ...descriptor, ...data },
    // why: some registries refuse manifests without layers.
    layers: layers.length === 0 ? [descriptor] : layers,
  };
  return documentOf(MEDIA_TYPES.manifest, JSON.stringify(manifest));
}

/** The manifest of a step; the step's document has to be put before it. */
export function stepManifest(step: Document, layers: readonly Descriptor[]): Document {
  return manifestOf(step, layers);
}

/** The manifest of a cache mount: a summary of it, its segments, its packs. */
export function mountManifest(
  summary: Document,
  segments: readonly Descriptor[],
  packs: readonly Descriptor[],
): Document {
  return manifestOf(summary, [...segments, ...packs]);
}

/** A plan as it stands in the artifact. */
export interface PlanEntry {
  /** What is built: the same from build to build, another for other targets, platforms, Dockerfiles. */
  readonly id: string;
  /** For people, e.g. `linux/amd64 Dockerfile`. */
  readonly title: string;
  /** Milliseconds since the epoch. */
  readonly written: number;
  readonly document: Descriptor;
  readonly layers: readonly Descriptor[];
}

/** The table of plans (to be put before), and the manifest that keeps them and their layers. */
export function plansManifest(entries: readonly PlanEntry[]): {
  readonly table: Document;
  readonly manifest: Document;
} {
  const plans = entries.map(({ id, title, written, layers }) => ({
    id,
    title,
    written,
    layers: layers.length,
  }));
  const table = documentOf(PLANS_TYPE, canonicalJson({ version: 1, plans }));
  const layers = entries.flatMap((entry) => [entry.document, ...entry.layers]);
  return { table, manifest: manifestOf(table, layers) };
}

/** The plans of an artifact, of which `table` is the config. Throws CACHE_INVALID. */
export function parsePlans({ layers }: Manifest, table: Uint8Array): readonly PlanEntry[] {
  const { version, plans } = parseCacheJson(table, MAX_TABLE);
  if (version !== 1 || !Array.isArray(plans)) throw invalid('it is no table of plans');
  let at = 0;
  const entries = (plans as readonly unknown[]).map((each): PlanEntry => {
    const { id, title, written, layers: count } = isJsonObject(each) ? each : {};
    const document = layers[at];
    if (
      typeof id !== 'string' ||
      typeof title !== 'string' ||
      typeof written !== 'number' ||
      typeof count !== 'number' ||
      !Number.isInteger(count) ||
      count < 0 ||
      document?.mediaType !== PLAN_TYPE
    )
      throw invalid('its table of plans makes no sense');
    const its = layers.slice(at + 1, at + 1 + count);
    at += 1 + count;
    return { id, title, written, document, layers: its };
  });
  if (entries.length > 0 && at !== layers.length) throw invalid('its table and its layers differ');
  return entries;
}

/** A document that is small enough to stand in its descriptor. */
export function inlineData({ data, digest, size }: Descriptor): Uint8Array | undefined {
  if (data === undefined || size > MAX_DATA) return undefined;
  const bytes = Buffer.from(data, 'base64');
  return bytes.byteLength === size && digestOf(bytes, digest) === digest ? bytes : undefined;
}
