/** Carrying a layer plan out: here where it is small, else by one native call. */
import type { DiffID } from '../../../base/digest.ts';
import type { Json } from '../../../base/json.ts';
import type { LayerWriter, OnPacking } from '../../../layer/layer.ts';
import { LISTED_FILE, ListingCursor } from '../../../layer/listing.ts';
import { packPlan } from '../../../layer/pack-plan.ts';
import { createReceived, learn, type ContentSource, type Received } from './contents.ts';
import type { EarlierLayers } from './earlier-layers.ts';
import { encodePlan, type EncodedPlan } from './encode-plan.ts';
import { DIGEST_SIZE, type Gathered } from './gathered.ts';
import type { LayerPlan } from './layer-plan.ts';
import { writePlannedLayer } from './write-layer.ts';

/** Below both a layer is written here: a native call takes 3 ms to start. */
const FEW_ENTRIES = 200;
const FEW_BYTES = 2 << 20;

export interface CarryOutOptions {
  readonly signal: AbortSignal;
  readonly maxMtime?: number;
  /**
   * Whose files are read, where digests are wanted that are not known: they go into what was gathered. undefined:
   * they are not.
   */
  readonly source?: (gathered: Gathered) => Pick<ContentSource, 'statCache'> | undefined;
  readonly earlier?: EarlierLayers;
  /** Which COPY it is, for `earlier`. */
  readonly identity?: Json;
  readonly onPacking?: OnPacking | undefined;
}

export interface CarriedOut {
  /** How many files' digests became known. */
  readonly learnt: number;
  /** To be called once the layer is in the store. */
  keep(diffID: DiffID): void;
}

/** Fills `writer`. Throws CONTEXT_INVALID where a file is not as it was listed, DISK_FULL, IO_FAILED, ABORTED. */
export async function carryOut(
  plan: LayerPlan,
  writer: LayerWriter,
  options: CarryOutOptions,
): Promise<CarriedOut> {
  const natively = isSmall(plan) ? undefined : await packNatively(plan, writer, options);
  if (natively !== undefined) return natively;
  await writePlannedLayer(plan, writer, options);
  return { learnt: 0, keep: () => undefined };
}

/** undefined: the plan does not fit. */
async function packNatively(
  layer: LayerPlan,
  writer: LayerWriter,
  options: CarryOutOptions,
): Promise<CarriedOut | undefined> {
  const { signal, maxMtime, identity, onPacking } = options;
  using earlier = identity === undefined ? undefined : options.earlier?.find(identity);
  using encoded = encodePlan(layer, {
    digests: options.source !== undefined,
    ...(maxMtime === undefined ? {} : { maxMtime }),
    ...(earlier === undefined ? {} : { earlier }),
  });
  if (encoded === undefined) return undefined;
  const { plan } = encoded;
  const received = createReceived(encoded.mostSources);
  const { onContents } = received;
  const packed = await packPlan(plan, {
    ...{ out: writer.descriptor, signal, what: 'pack a layer', onContents },
    onGrown: onPacking && ((size) => writer.grown(size, onPacking)),
  });
  writer.written(packed.diffID, packed.size);
  const learnt = options.source === undefined ? 0 : takeDigests(encoded, received, options.source);
  return {
    learnt,
    keep(diffID) {
      const { count, contents } = received;
      if (identity !== undefined && count > FEW_ENTRIES)
        options.earlier?.note(identity, { diffID, contents, checkpoints: packed.checkpoints });
    },
  };
}

/** Digests that were not known before; returns how many. */
function takeDigests(
  encoded: EncodedPlan,
  received: Received,
  source: NonNullable<CarryOutOptions['source']>,
): number {
  let learnt = 0;
  encoded.eachSource((index, gathered, record, file) => {
    if (gathered.contents.known[file] === 1) return;
    received.copy(index, gathered.contents.digests, file * DIGEST_SIZE);
    learn(source(gathered) ?? {}, gathered, record, file);
    learnt += 1;
  });
  return learnt;
}

function isSmall(plan: LayerPlan): boolean {
  let [entries, bytes] = [0, 0];
  for (const item of plan.items()) {
    if (item.kind === 'entry') {
      entries += 1;
      bytes += item.planned.size ?? 0;
    } else {
      const cursor = new ListingCursor(item.tree.gathered.listing);
      while (entries <= FEW_ENTRIES && bytes <= FEW_BYTES && cursor.next()) {
        entries += 1;
        bytes += cursor.type === LISTED_FILE ? cursor.size : 0;
      }
    }
    if (entries > FEW_ENTRIES || bytes > FEW_BYTES) return false;
  }
  return true;
}
