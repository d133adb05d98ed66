/**
 * Digests: names of bytes.
 *
 * A digest is `algorithm:hex`; only sha256 is made here, because that is what every registry stores.
 * The brands keep apart what would otherwise be confusable strings; casting happens in this file alone.
 *
 * Spec: OCI image-spec v1.1.1, descriptor.md, "Digests".
 */
import { createHash } from 'node:crypto';
import { TsbuildError } from './errors.ts';

declare const digestBrand: unique symbol;
declare const roleBrand: unique symbol;
export type Digest = string & { readonly [digestBrand]: true };
/** Digest of a layer's uncompressed tar. */
export type DiffID = Digest & { readonly [roleBrand]: 'diffID' };
/** Identity of a stack of layers; see {@link chainIDOf}. */
export type ChainID = Digest & { readonly [roleBrand]: 'chainID' };
/** Identity of a vertex's result across builds. */
export type CacheKey = Digest & { readonly [roleBrand]: 'cacheKey' };

const SHA256 = /^sha256:[0-9a-f]{64}$/;

export function isDigest(text: string): text is Digest {
  return SHA256.test(text);
}

/** Throws DIGEST_INVALID unless `text` is a well-formed sha256 digest. */
export function parseDigest(text: string): Digest {
  if (!isDigest(text))
    throw new TsbuildError('DIGEST_INVALID', `not a sha256 digest: ${JSON.stringify(text)}`);
  return text;
}

/** The 64 hex digits of a digest. */
export function hexOf(digest: Digest): string {
  return digest.slice('sha256:'.length);
}

export function digestOf(bytes: Uint8Array | string): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest;
}

/** A running sha256. `digest()` may be called once. */
export interface Digester {
  readonly size: number;
  update(bytes: Uint8Array): void;
  digest(): Digest;
}

export function createDigester(): Digester {
  const hash = createHash('sha256');
  let size = 0;
  return {
    get size() {
      return size;
    },
    update(bytes) {
      size += bytes.byteLength;
      hash.update(bytes);
    },
    digest: () => `sha256:${hash.digest('hex')}` as Digest,
  };
}

/** ChainID of `layer` on top of `parent` (image-spec config.md, "Layer ChainID"). */
export function chainIDOf(parent: ChainID | undefined, layer: DiffID): ChainID {
  return parent === undefined ? (layer as Digest as ChainID) : (digestOf(`${parent} ${layer}`) as ChainID);
}
