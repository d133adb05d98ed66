/** A layer's tar, checked against its diffID at the end of the pass that reads it. */
import { createDigester } from '../src/base/digest.ts';
import { TsbuildError } from '../src/base/errors.ts';
import type { Layer } from '../src/layer/layer.ts';

export async function* verifiedTar(layer: Layer): AsyncGenerator<Uint8Array> {
  const digester = createDigester();
  for await (const chunk of layer.tar()) {
    digester.update(chunk);
    yield chunk;
  }
  const actual = digester.digest();
  if (actual !== layer.diffID)
    throw new TsbuildError('DIGEST_MISMATCH', `layer ${layer.diffID} has the digest ${actual}`, {
      hint: 'pull the image again, or build with --no-cache',
    });
}
