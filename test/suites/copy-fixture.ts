/** The bytes of a planned layer, written here and packed natively by entries and by trees, which must be the same. */
import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createHash } from 'node:crypto';
import type { CopyOp } from '../../src/graph/ops.ts';
import { createIgnoreMatcher } from '../../src/layer/ignore-patterns.ts';
import { LISTED_FILE, ListingCursor, type Listing } from '../../src/layer/listing.ts';
import { EARLIER_SIZE, packPlan } from '../../src/layer/pack-plan.ts';
import type { Tree } from '../../src/layer/tree.ts';
import { createReceived } from '../../src/solver/exec/copy/contents.ts';
import { encodePlan, type EncodeOptions } from '../../src/solver/exec/copy/encode-plan.ts';
import type { Gathered } from '../../src/solver/exec/copy/gathered.ts';
import { createLayerPlan, type LayerPlan } from '../../src/solver/exec/copy/layer-plan.ts';
import { createPlacing } from '../../src/solver/exec/copy/place.ts';
import { gatherFrom } from '../../src/solver/exec/copy/sources.ts';
import { writePlannedLayer } from '../../src/solver/exec/copy/write-layer.ts';

const { signal } = new AbortController();

/** A COPY of nothing, for cases to say what is else. */
export const OP: CopyOp = {
  kind: 'copy',
  instruction: 'COPY',
  sources: [],
  destination: '/',
  parents: false,
  excludes: [],
  link: false,
  unpack: 'never',
};

export interface CopyCase extends Partial<CopyOp> {
  readonly from: readonly string[];
  readonly isContext?: boolean;
  readonly ignore?: readonly string[];
  readonly uid?: number;
}

export interface PlannedCopy {
  readonly plan: LayerPlan;
  readonly gathered: readonly Gathered[];
}

/** What a COPY of `wanted` makes of a source, on a parent. */
export async function planOf(source: Tree, parent: Tree, wanted: CopyCase): Promise<PlannedCopy> {
  const op: CopyOp = { ...OP, ...wanted };
  const { isContext = true } = wanted;
  const ignore = wanted.ignore === undefined ? {} : { ignore: createIgnoreMatcher(wanted.ignore) };
  const opened = { tree: source, isContext, where: 'it', [Symbol.asyncDispose]: () => Promise.resolve() };
  const gathered = await gatherFrom({ ...opened, ...ignore }, wanted.from, op, signal);
  const plan = createLayerPlan(parent);
  const owner = wanted.uid === undefined ? undefined : { uid: wanted.uid, gid: wanted.uid };
  const placing = createPlacing({ op, plan, parent, owner, defaultMtime: 5 });
  for (const each of gathered) placing.placeGathered({ tree: source, isContext }, each);
  return { plan, gathered };
}

export async function packBothWays(
  layer: LayerPlan,
  directory: string,
  options: Omit<EncodeOptions, 'digests'> = {},
): Promise<Buffer> {
  // Before write-layer.ts looks into its trees.
  setNames(layer, () => undefined);
  const native = await packed(layer, directory, options);
  setNames(layer, hasNames);
  const whole = await packed(layer, directory, options);
  const chunks: Uint8Array[] = [];
  await writePlannedLayer(
    layer,
    { write: (bytes) => void chunks.push(Uint8Array.from(bytes)) },
    { signal, ...(options.maxMtime === undefined ? {} : { maxMtime: options.maxMtime }) },
  );
  const here = Buffer.concat(chunks);
  assert.ok(native.equals(here), 'the native tar is another one');
  assert.ok(whole.equals(here), 'the tar of whole trees is another one');
  // And again, entry by entry.
  assert.ok((await packed(layer, directory, options)).equals(here), 'the native tar is another one');
  return here;
}

/** How many trees were packed as a whole. */
export const packedTrees = { count: 0 };

function setNames(layer: LayerPlan, of: (listing: Listing) => boolean | undefined): void {
  for (const item of layer.items())
    if (item.kind === 'tree') {
      const { contents, listing } = item.tree.gathered;
      const haveNames = of(listing);
      if (haveNames === undefined) delete contents.haveNames;
      else contents.haveNames = haveNames;
      if (haveNames === false && item.tree.modes !== 'computed') packedTrees.count += 1;
    }
}

function hasNames(listing: Listing): boolean {
  const cursor = new ListingCursor(listing);
  while (cursor.next()) if (cursor.type === LISTED_FILE && cursor.nlink > 1) return true;
  return false;
}

async function packed(
  layer: LayerPlan,
  directory: string,
  options: Omit<EncodeOptions, 'digests'>,
): Promise<Buffer> {
  using encoded = encodePlan(layer, { ...options, digests: true });
  assert.ok(encoded !== undefined);
  const { plan } = encoded;
  const received = createReceived(encoded.mostSources);
  const path = join(directory, 'native.tar');
  const out = openSync(path, 'wx+');
  try {
    const { diffID, size } = await packPlan(plan, {
      out,
      signal,
      what: 'pack a layer',
      onContents: received.onContents,
    });
    const tar = readFileSync(path);
    const contents = Buffer.from(received.contents);
    encoded.eachSource((index, _gathered, record) => {
      assert.ok(index < received.count);
      const content = contents.subarray(EARLIER_SIZE * index, EARLIER_SIZE * (index + 1));
      const [offset, size] = [content.readDoubleLE(32), content.readDoubleLE(40)];
      assert.equal(size, record.size);
      assert.ok(size > 0 && offset + size <= tar.byteLength && offset % 512 === 0);
    });
    assert.equal(size, tar.byteLength);
    assert.equal(diffID, `sha256:${createHash('sha256').update(tar).digest('hex')}`);
    return tar;
  } finally {
    closeSync(out);
    rmSync(path);
  }
}
