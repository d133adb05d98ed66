/**
 * One cache that a build writes. Steps are written as they end, each with what it needs to be found and used, so a
 * build that is killed leaves what it finished; plans come last. Only what is missing is moved.
 *
 * A cache that cannot be written costs one warning; then it is left alone.
 */
import pLimit from 'p-limit';
import { hexOf, type CacheKey, type DiffID } from '../../base/digest.ts';
import { TsbuildError } from '../../base/errors.ts';
import { copyBlob } from '../../content/copy-image.ts';
import { isFetchFailure } from '../../content/lazy-blobs.ts';
import type { BlobSink, BlobSource } from '../../content/roles.ts';
import type { LayerForm } from '../../layer/layer-form.ts';
import type { Descriptor } from '../../oci/documents.ts';
import type { StepRecord } from '../../solver/handler.ts';
import { transferOptions } from '../transfer-progress.ts';
import type { Engine } from '../engine.ts';
import type { CallOptions } from '../with-vertex.ts';
import {
  documentOf,
  PLAN_TYPE,
  plansManifest,
  stepManifest,
  STEP_TYPE,
  type Document,
  type PlanEntry,
} from './artifacts.ts';
import { isCacheDamage } from './cache-damage.ts';
import type { CachePlace } from './cache-place.ts';
import { plansIn, type CacheReader } from './cache-reader.ts';
import { stepTag } from './cache-spec.ts';
import { PLAN_MS, STALL_MS, STEP_MS, whileMoving, within } from './patience.ts';
import { serializePlan, type Plan } from './plan-document.ts';
import { MAX_STEP, serializeStep, type TravellingStep } from './step-document.ts';

const PARALLEL = 3;
/** Plans in one tag: targets, platforms, Dockerfiles. The oldest make room. */
const MAX_PLANS = 8;

/** A plan without its blobs, which the writer knows. */
export interface PlanDraft extends Omit<Plan, 'blobs'> {
  readonly id: string;
  readonly title: string;
}

export interface CacheWriter {
  /** Begins to write a step, with those of its layers that are named. Idempotent. Never throws. */
  keep(record: StepRecord, layers: readonly DiffID[]): void;
  /** Waits for what was begun, then writes the plans. Never throws. */
  finish(drafts: readonly PlanDraft[]): Promise<void>;
}

export interface WriterOptions extends CallOptions {
  readonly engine: Engine;
  readonly place: CachePlace;
  /** Of the same place: what is there need not be written. */
  readonly reader: CacheReader;
  readonly form: LayerForm;
  /** Whether a layer could not be had from where it was said to be: what holds it is not believed either. */
  readonly wasLost: (diffID: DiffID) => boolean;
  readonly warn: (message: string) => void;
}

export function createCacheWriter(options: WriterOptions): CacheWriter {
  const { engine, place, reader, form, signal } = options;
  const { host } = engine;
  const vertex = `cache to ${place.name}`;
  const io = transferOptions(vertex, 'exporting', host, options);
  const limit = pLimit(PARALLEL);
  const steps = new Map<CacheKey, { readonly layers: number; readonly written: Promise<void> }>();
  /** Lost ones that were put here once more. */
  const healed = new Set<DiffID>();
  const isMissing = (diffID: DiffID): boolean => options.wasLost(diffID) && !healed.has(diffID);
  const layers = new Map<DiffID, Promise<Descriptor>>();
  const there = new Map<DiffID, Descriptor>();
  let isBroken = false;
  let isAnnounced = false;

  function announce(): void {
    if (isAnnounced) return;
    isAnnounced = true;
    options.sink.emit({ kind: 'vertex', vertex, name: `exporting cache to ${place.name}`, at: host.now() });
    options.sink.emit({ kind: 'status', vertex, status: { kind: 'started' }, at: host.now() });
  }

  function failed(error: unknown): void {
    if (!isBroken && !signal.aborted)
      options.warn(
        `cannot write the cache ${place.name}: ${error instanceof Error ? error.message : String(error)}`,
      );
    isBroken = true;
  }

  /** Who gave no answer when it was read is not waited for as long once more. */
  const stallMs = (): number => (reader.isBroken() ? STEP_MS : STALL_MS);

  async function put(blob: Descriptor, from: BlobSource, sink = place.sink): Promise<void> {
    announce();
    await whileMoving(stallMs(), signal, (inner, moved) =>
      copyBlob(blob, from, sink, {
        signal: inner,
        onNotice: io.onNotice,
        onProgress(each, current, done) {
          moved();
          io.onProgress(each, current, done);
        },
      }),
    );
  }

  async function publish(tag: string, manifest: Document): Promise<void> {
    announce();
    await within(stallMs(), signal, (inner) =>
      place.publish(tag, manifest, { signal: inner, onNotice: io.onNotice }),
    );
  }

  function putLayer(diffID: DiffID): Promise<Descriptor> {
    if (isMissing(diffID)) {
      forget([diffID]);
      healed.add(diffID);
      layers.set(
        diffID,
        limit(() => uploadLayer(diffID, { ...place.sink, has: () => Promise.resolve(false) })),
      );
    }
    const known = there.get(diffID);
    if (known !== undefined) return Promise.resolve(known);
    const running = layers.get(diffID) ?? limit(() => uploadLayer(diffID));
    layers.set(diffID, running);
    return running;
  }

  /** The place is asked again whether it has them. */
  function forget(diffIDs: readonly DiffID[]): void {
    for (const diffID of diffIDs) {
      there.delete(diffID);
      layers.delete(diffID);
    }
  }

  async function uploadLayer(diffID: DiffID, sink?: BlobSink): Promise<Descriptor> {
    if (isBroken) throw new TsbuildError('ABORTED', 'the cache is no longer written');
    const { mediaType, digest, size } = await engine.forms.descriptorOf(diffID, form, signal);
    const descriptor = { mediaType, digest, size };
    await put(descriptor, engine.forms.source, sink);
    engine.blobs.remember(digest, place.repository);
    there.set(diffID, descriptor);
    return descriptor;
  }

  function learn({ blobs }: TravellingStep): void {
    for (const [diffID, blob] of blobs) if (!options.wasLost(diffID)) there.set(diffID, blob);
  }

  async function write(record: StepRecord, wanted: readonly DiffID[]): Promise<void> {
    const before = await reader.find(record.key as CacheKey);
    if (before !== undefined) learn(before);
    if (before !== undefined && wanted.every((diffID) => before.blobs.has(diffID) && !isMissing(diffID)))
      return;
    try {
      await writeStep(record, wanted);
    } catch (error) {
      if (place.sink.isIncomplete?.(error) !== true) throw error;
      // What an earlier build put there is there no more.
      forget(wanted);
      await writeStep(record, wanted);
    }
  }

  async function writeStep(record: StepRecord, wanted: readonly DiffID[]): Promise<void> {
    const blobs = await blobsOf(wanted);
    const document = documentOf(STEP_TYPE, serializeStep({ record, blobs }));
    if (document.descriptor.size > MAX_STEP || isBroken) return;
    await put(document.descriptor, { open: () => once(document.bytes) });
    await publish(stepTag(hexOf(record.key)), stepManifest(document, [...blobs.values()]));
  }

  async function blobsOf(wanted: readonly DiffID[]): Promise<ReadonlyMap<DiffID, Descriptor>> {
    const blobs = new Map<DiffID, Descriptor>();
    for (const diffID of wanted) {
      const blob = await putLayer(diffID).catch(missing);
      if (blob !== undefined) blobs.set(diffID, blob);
    }
    return blobs;
  }

  /** All plans of the tag, this build's in the place of their like; undefined: nothing has changed. */
  async function merged(
    own: readonly PlanEntry[],
    keeps: (entry: PlanEntry) => Promise<boolean>,
  ): Promise<readonly PlanEntry[] | undefined> {
    const isSame = (a: PlanEntry, entries: readonly PlanEntry[] | undefined): boolean =>
      entries?.some(({ id, document }) => id === a.id && document.digest === a.document.digest) === true;
    const before = await reader.found;
    if (own.every((each) => isSame(each, before?.entries))) return undefined;
    const entries = await entriesThere().catch(nothingOfDamage);
    if (entries === undefined) {
      options.warn(
        `the cache ${place.name} names something else, an image perhaps, which is not overwritten: its steps are kept, but no plan of the whole build`,
      );
      return undefined;
    }
    const others = entries.filter(({ id }) => own.every((each) => each.id !== id));
    const kept: PlanEntry[] = [];
    for (const entry of others.sort((a, b) => b.written - a.written))
      if (await keeps(entry)) kept.push(entry);
    return [...own, ...kept].slice(0, MAX_PLANS);
  }

  /** undefined: the tag is none of a cache. */
  async function entriesThere(): Promise<readonly PlanEntry[] | undefined> {
    const document = await within(PLAN_MS, signal, (inner) => place.fetch(place.tag, { signal: inner }));
    return document === undefined ? [] : plansIn(place, document, { signal });
  }

  async function writePlans(drafts: readonly PlanDraft[]): Promise<void> {
    const travelling = [...there.keys()];
    try {
      await writeEntries(drafts, () => Promise.resolve(true));
    } catch (error) {
      if (place.sink.isIncomplete?.(error) !== true) throw error;
      forget(travelling);
      await blobsOf(travelling);
      await writeEntries(drafts, isWhole);
    }
  }

  async function isWhole({ layers: named }: PlanEntry): Promise<boolean> {
    const found = await Promise.all(named.map((blob) => limit(() => place.sink.has(blob, { signal }))));
    return found.every(Boolean);
  }

  /** `keeps`: whether a plan of another build stays. */
  async function writeEntries(
    drafts: readonly PlanDraft[],
    keeps: (entry: PlanEntry) => Promise<boolean>,
  ): Promise<void> {
    const own: PlanEntry[] = [];
    const documents: Document[] = [];
    for (const { id, title, ...draft } of drafts) {
      const named = draft.records.flatMap(({ result }) =>
        result.kind === 'stack' ? result.layers.map(({ diffID }) => diffID) : [],
      );
      const blobs = new Map(
        [...new Set(named)].flatMap((diffID) => {
          const blob = there.get(diffID);
          return blob === undefined ? [] : [[diffID, blob] as const];
        }),
      );
      const document = documentOf(PLAN_TYPE, serializePlan({ ...draft, blobs }));
      documents.push(document);
      own.push({
        id,
        title,
        written: host.now(),
        document: document.descriptor,
        layers: [...blobs.values()],
      });
    }
    const entries = await merged(own, keeps);
    if (entries === undefined) return;
    const { table, manifest } = plansManifest(entries);
    for (const { descriptor, bytes } of [...documents, table])
      await put(descriptor, { open: () => once(bytes) });
    await publish(place.tag, manifest);
    place.tidy?.();
  }

  return {
    keep(record, wanted) {
      const key = record.key as CacheKey;
      const before = steps.get(key);
      if (isBroken) return;
      if (before !== undefined && before.layers >= wanted.length && !wanted.some(isMissing)) return;
      const written = Promise.resolve(before?.written)
        .then(() => write(record, wanted))
        .catch(failed);
      steps.set(key, { layers: wanted.length, written });
    },
    async finish(drafts) {
      await Promise.all([...steps.values()].map(({ written }) => written));
      if (!isBroken && !signal.aborted && drafts.length > 0) await writePlans(drafts).catch(failed);
      if (!isAnnounced) return;
      const status = { kind: isBroken ? ('canceled' as const) : ('done' as const) };
      options.sink.emit({ kind: 'status', vertex, status, at: host.now() });
    },
  };
}

/** Plans that nobody can read any more are replaced: else the cache would stay without one for ever. */
function nothingOfDamage(error: unknown): readonly PlanEntry[] {
  if (isCacheDamage(error)) return [];
  throw error;
}

/** A layer that another cache has lost: the step is worth its record without it. */
function missing(error: unknown): undefined {
  if (!isFetchFailure(error)) throw error;
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}
