/** The bytes of a planned layer, written here and packed natively, which must be the same. */
import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createHash } from 'node:crypto';
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
  const native = await packed(layer, directory, options);
  const chunks: Uint8Array[] = [];
  await writePlannedLayer(
    layer,
    { write: (bytes) => void chunks.push(Uint8Array.from(bytes)) },
    { signal, ...(options.maxMtime === undefined ? {} : { maxMtime: options.maxMtime }) },
  );
  const here = Buffer.concat(chunks);
  assert.ok(native.equals(here), 'the native tar is another one');
  // And again, entry by entry.
  assert.ok((await packed(layer, directory, options)).equals(here), 'the native tar is another one');
  return here;
}

async function packed(
  layer: LayerPlan,
  directory: string,
  options: Omit<EncodeOptions, 'digests'>,
): Promise<Buffer> {
  using encoded = encodePlan(layer, { ...options, digests: true });
  assert.ok(encoded !== undefined);
  const { plan } = encoded;
  const received = createReceived(plan.sources);
  const path = join(directory, 'native.tar');
  const out = openSync(path, 'wx+');
  try {
    const { diffID, size } = await packPlan(plan, {
      out,
      signal,
      what: 'pack a layer',
      onContent: received.onContent,
    });
    const tar = readFileSync(path);
    assert.equal(size, tar.byteLength);
    assert.equal(diffID, `sha256:${createHash('sha256').update(tar).digest('hex')}`);
    return tar;
  } finally {
    closeSync(out);
    rmSync(path);
  }
}
