/**
 * One cache that a build reads. The plans of this build are loaded once, when the reader is made; a step that they
 * do not hold is asked for by its key.
 *
 * A cache that cannot be read costs one warning and some seconds, whatever is wrong with it; then it is left alone.
 */
import { hexOf, type CacheKey, type Digest } from '../../base/digest.ts';
import { isTsbuildError } from '../../base/errors.ts';
import { collect } from '../../content/copy-image.ts';
import type { Descriptor, Manifest, Platform } from '../../oci/documents.ts';
import { parseManifestOrIndex } from '../../oci/parse.ts';
import { isCompatible } from '../../oci/platform.ts';
import type { IoOptions } from '../../content/roles.ts';
import { inlineData, parsePlans, PLANS_TYPE, STEP_TYPE, type Document, type PlanEntry } from './artifacts.ts';
import type { CachePlace } from './cache-place.ts';
import { stepTag } from './cache-spec.ts';
import { PLAN_MS, STEP_MS, within } from './patience.ts';
import { MAX_PLAN, parsePlan, type Plan } from './plan-document.ts';
import { inlinePlan } from './inline-plan.ts';
import { invalid, parseStep, type TravellingStep } from './step-document.ts';

export interface CacheReader {
  readonly place: CachePlace;
  /** The plans for this build; none where there are none, or where they cannot be read. Never throws. */
  readonly plans: Promise<readonly Plan[]>;
  /** What the plan tag held when it was read; undefined: nothing, or nothing that could be read. */
  readonly found: Promise<FoundPlans | undefined>;
  /** It cannot be read, and is left alone. */
  isBroken(): boolean;
  /** Never throws. */
  find(key: CacheKey): Promise<TravellingStep | undefined>;
}

export interface FoundPlans {
  readonly descriptor: Descriptor;
  /** None: the tag holds something else, an image as a rule. */
  readonly entries: readonly PlanEntry[] | undefined;
}

export interface ReaderOptions {
  readonly signal: AbortSignal;
  /** Ids of the plans that this build would write; without one of them, the newest counts. */
  readonly wanted: readonly string[];
  readonly platforms: readonly Platform[];
  readonly warn: (message: string) => void;
}

/** Besides those of this build: what another Dockerfile of the same project did may be of use. */
const MAX_OTHERS = 1;

export function openCacheReader(place: CachePlace, options: ReaderOptions): CacheReader {
  const { signal } = options;
  let isBroken = false;
  let hasWarned = false;

  function failed(error: unknown): undefined {
    if (signal.aborted) return undefined;
    // What is damaged is damaged in one place; what cannot be reached will not be reached.
    if (!isTsbuildError(error, 'CACHE_INVALID') && !isTsbuildError(error, 'IMAGE_INVALID')) isBroken = true;
    if (!hasWarned)
      options.warn(
        `cannot read the cache ${place.name}: ${error instanceof Error ? error.message : String(error)}`,
      );
    hasWarned = true;
    return undefined;
  }

  const loading = within(PLAN_MS, signal, (inner) => load(place, options, { signal: inner })).catch(failed);
  const found = loading.then((loaded) => loaded?.found);
  const plans = loading.then((loaded) => loaded?.plans ?? []);
  const known = plans.then((all) => {
    const steps = new Map<Digest, TravellingStep>();
    for (const { records, blobs } of all)
      for (const record of records) if (!steps.has(record.key)) steps.set(record.key, { record, blobs });
    return steps;
  });

  return {
    place,
    plans,
    found,
    isBroken: () => isBroken,
    async find(key) {
      const planned = (await known).get(key);
      if (planned !== undefined || isBroken || signal.aborted) return planned;
      return within(STEP_MS, signal, (inner) => readStep(place, key, { signal: inner })).catch(failed);
    },
  };
}

/** The step under its own tag. Throws CACHE_INVALID, REGISTRY_*. */
export async function readStep(
  place: CachePlace,
  key: CacheKey,
  io: IoOptions,
): Promise<TravellingStep | undefined> {
  const document = await place.fetch(stepTag(hexOf(key)), io);
  if (document === undefined) return undefined;
  const { config } = manifestIn(document);
  if (config.mediaType !== STEP_TYPE) throw invalid(`a step is ${JSON.stringify(config.mediaType)}`);
  return parseStep(await readDocument(place, config, MAX_PLAN, io), key);
}

function manifestIn({ bytes, descriptor }: Document): Manifest {
  const parsed = parseManifestOrIndex(bytes, `manifest ${descriptor.digest}`);
  if (parsed.kind === 'index') throw invalid('an index stands where a manifest should be');
  return parsed.manifest;
}

async function readDocument(
  place: CachePlace,
  blob: Descriptor,
  maxSize: number,
  io: IoOptions,
): Promise<Uint8Array> {
  if (blob.size > maxSize) throw invalid(`it has ${blob.size} bytes, more than ${maxSize}`);
  return inlineData(blob) ?? collect(place.source.open(blob, io));
}

interface Loaded {
  readonly found: FoundPlans;
  readonly plans: readonly Plan[];
}

async function load(
  place: CachePlace,
  { wanted, platforms }: ReaderOptions,
  io: IoOptions,
): Promise<Loaded | undefined> {
  const document = await place.fetch(place.tag, io);
  if (document === undefined) return undefined;
  const { descriptor, bytes } = document;
  const entries = await plansIn(place, document, io);
  if (entries !== undefined) {
    const own = entries.filter(({ id }) => wanted.includes(id));
    const others = entries
      .filter((each) => !own.includes(each))
      .sort((a, b) => b.written - a.written)
      .slice(0, own.length > 0 ? 0 : MAX_OTHERS);
    const plans = await Promise.all(
      [...own, ...others].map(async ({ document: blob }) =>
        parsePlan(await readDocument(place, blob, MAX_PLAN, io)),
      ),
    );
    return { found: { descriptor, entries }, plans };
  }
  const parsed = parseManifestOrIndex(bytes, `manifest ${descriptor.digest}`);
  const manifests =
    parsed.kind === 'manifest'
      ? [parsed.manifest]
      : await Promise.all(
          parsed.index.manifests
            .filter((each) =>
              platforms.some((wish) => each.platform !== undefined && isCompatible(each.platform, wish)),
            )
            .slice(0, platforms.length)
            .map(async (each) =>
              manifestIn({ descriptor: each, bytes: await collect(place.source.open(each, io)) }),
            ),
        );
  return {
    found: { descriptor, entries: undefined },
    plans: manifests.flatMap((manifest) => inlinePlan(manifest) ?? []),
  };
}

/** The plans of an artifact; undefined where it is none. Throws CACHE_INVALID. */
export async function plansIn(
  place: CachePlace,
  { bytes, descriptor }: Document,
  io: IoOptions,
): Promise<readonly PlanEntry[] | undefined> {
  const parsed = parseManifestOrIndex(bytes, `manifest ${descriptor.digest}`);
  if (parsed.kind === 'index' || parsed.manifest.config.mediaType !== PLANS_TYPE) return undefined;
  return parsePlans(parsed.manifest, await readDocument(place, parsed.manifest.config, MAX_PLAN, io));
}
