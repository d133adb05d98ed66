/**
 * One cache that a build writes. Steps are written as they end, each with what it needs to be found and used, so a
 * build that is killed leaves what it finished; plans come last. Only what is missing is moved.
 *
 * A cache that cannot be written costs one warning; then it is left alone.
 */
import pLimit from 'p-limit';
import { hexOf, type CacheKey, type DiffID } from '../../base/digest.ts';
import { isTsbuildError, TsbuildError, type ErrorCode } from '../../base/errors.ts';
import { copyBlob } from '../../content/copy-image.ts';
import { isFetchFailure } from '../../content/lazy-blobs.ts';
import type { BlobSource } from '../../content/roles.ts';
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
import type { CachePlace } from './cache-place.ts';
import { plansIn, type CacheReader } from './cache-reader.ts';
import { stepTag } from './cache-spec.ts';
import { PLAN_MS, STALL_MS, whileMoving, within } from './patience.ts';
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
  readonly warn: (message: string) => void;
}

export function createCacheWriter(options: WriterOptions): CacheWriter {
  const { engine, place, reader, form, signal } = options;
  const { host } = engine;
  const vertex = `cache to ${place.name}`;
  const io = transferOptions(vertex, 'exporting', host, options);
  const limit = pLimit(PARALLEL);
  const steps = new Map<CacheKey, { readonly layers: number; readonly written: Promise<void> }>();
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
  const stallMs = (): number => (reader.isBroken() ? PLAN_MS : STALL_MS);

  async function put(blob: Descriptor, from: BlobSource): Promise<void> {
    announce();
    await whileMoving(stallMs(), signal, (inner, moved) =>
      copyBlob(blob, from, place.sink, {
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
    const known = there.get(diffID);
    if (known !== undefined) return Promise.resolve(known);
    const running = layers.get(diffID) ?? limit(() => uploadLayer(diffID));
    layers.set(diffID, running);
    return running;
  }

  async function uploadLayer(diffID: DiffID): Promise<Descriptor> {
    if (isBroken) throw new TsbuildError('ABORTED', 'the cache is no longer written');
    const { mediaType, digest, size } = await engine.forms.descriptorOf(diffID, form, signal);
    const descriptor = { mediaType, digest, size };
    await put(descriptor, engine.forms.source);
    engine.blobs.remember(digest, place.repository);
    there.set(diffID, descriptor);
    return descriptor;
  }

  function learn({ blobs }: TravellingStep): void {
    for (const [diffID, blob] of blobs) there.set(diffID, blob);
  }

  async function write(record: StepRecord, wanted: readonly DiffID[]): Promise<void> {
    const before = await reader.find(record.key as CacheKey);
    if (before !== undefined) learn(before);
    if (before !== undefined && wanted.every((diffID) => before.blobs.has(diffID))) return;
    const blobs = new Map<DiffID, Descriptor>();
    for (const diffID of wanted) {
      const blob = await putLayer(diffID).catch(missing);
      if (blob !== undefined) blobs.set(diffID, blob);
    }
    const document = documentOf(STEP_TYPE, serializeStep({ record, blobs }));
    if (document.descriptor.size > MAX_STEP || isBroken) return;
    await put(document.descriptor, { open: () => once(document.bytes) });
    await publish(stepTag(hexOf(record.key)), stepManifest(document, [...blobs.values()]));
  }

  /** All plans of the tag, this build's in the place of their like; undefined: nothing has changed. */
  async function merged(own: readonly PlanEntry[]): Promise<readonly PlanEntry[] | undefined> {
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
    return [...own, ...others.sort((a, b) => b.written - a.written)].slice(0, MAX_PLANS);
  }

  /** undefined: the tag is none of a cache. */
  async function entriesThere(): Promise<readonly PlanEntry[] | undefined> {
    const document = await within(PLAN_MS, signal, (inner) => place.fetch(place.tag, { signal: inner }));
    return document === undefined ? [] : plansIn(place, document, { signal });
  }

  async function writePlans(drafts: readonly PlanDraft[]): Promise<void> {
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
    const entries = await merged(own);
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
      if (isBroken || (before !== undefined && before.layers >= wanted.length)) return;
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
  if (DAMAGE.some((code) => isTsbuildError(error, code))) return [];
  throw error;
}

const DAMAGE: readonly ErrorCode[] = [
  'CACHE_INVALID',
  'IMAGE_INVALID',
  'DIGEST_MISMATCH',
  'SIZE_MISMATCH',
  'BLOB_NOT_FOUND',
  'REGISTRY_NOT_FOUND',
];

/** A layer that another cache has lost: the step is worth its record without it. */
function missing(error: unknown): undefined {
  if (!isFetchFailure(error)) throw error;
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}
