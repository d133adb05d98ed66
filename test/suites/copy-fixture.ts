/** The bytes of a planned layer, written here and packed natively by entries and by trees, which must be the same. */
import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createHash } from 'node:crypto';
import { LISTED_FILE, ListingCursor, type Listing } from '../../src/layer/listing.ts';
import { packPlan } from '../../src/layer/pack-plan.ts';
import { createReceived } from '../../src/solver/exec/copy/contents.ts';
import { encodePlan, type EncodeOptions } from '../../src/solver/exec/copy/encode-plan.ts';
import type { LayerPlan } from '../../src/solver/exec/copy/layer-plan.ts';
import { writePlannedLayer } from '../../src/solver/exec/copy/write-layer.ts';

const { signal } = new AbortController();

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
    encoded.eachSource((index, _gathered, record) => {
      assert.ok(index < received.count);
      const end = received.offset(index) + record.size;
      assert.ok(record.size > 0 && end <= tar.byteLength && received.offset(index) % 512 === 0);
    });
    assert.equal(size, tar.byteLength);
    assert.equal(diffID, `sha256:${createHash('sha256').update(tar).digest('hex')}`);
    return tar;
  } finally {
    closeSync(out);
    rmSync(path);
  }
}
