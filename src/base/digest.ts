/**
 * Digests: names of bytes.
 *
 * A digest is `algorithm:hex`. What is made here has sha256, because that is what every registry stores; sha512 is
 * kept and verified where others have named something by it.
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

const DIGEST = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;
const SHA256 = /^sha256:[0-9a-f]{64}$/;

export function isDigest(text: string): text is Digest {
  return DIGEST.test(text);
}

/** Layers are known by sha256 alone. */
export function isDiffID(text: string): text is DiffID {
  return SHA256.test(text);
}

/** Throws DIGEST_INVALID unless `text` is a well-formed digest by sha256 or sha512. */
export function parseDigest(text: string): Digest {
  if (!isDigest(text))
    throw new TsbuildError('DIGEST_INVALID', `not a digest by sha256 or sha512: ${JSON.stringify(text)}`);
  return text;
}

/** Copies the 32 bytes of a digest. why not Buffer.copy: of so few bytes that takes far longer. */
export function copyDigest(from: Uint8Array, at: number, to: Uint8Array, toAt: number): void {
  for (let index = 0; index < 32; index += 1) to[toAt + index] = from[at + index] ?? 0;
}

/** The hex digits of a digest: 64, or 128 by sha512. */
export function hexOf(digest: Digest): string {
  return digest.slice('sha256:'.length);
}

export function algorithmOf(digest: Digest): 'sha256' | 'sha512' {
  return digest.startsWith('sha512:') ? 'sha512' : 'sha256';
}

/** `sha256/<hex>`, as layouts order their blobs. */
export function pathOf(digest: Digest): string {
  return `${algorithmOf(digest)}/${hexOf(digest)}`;
}

/** By sha256, or by the algorithm of `like`. */
export function digestOf(bytes: Uint8Array | string, like?: Digest): Digest {
  const algorithm = like === undefined ? 'sha256' : algorithmOf(like);
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}` as Digest;
}

/** A running digest. `digest()` may be called once. */
export interface Digester {
  readonly size: number;
  update(bytes: Uint8Array): void;
  digest(): Digest;
}

/** By sha256, or by the algorithm of `like`. */
export function createDigester(like?: Digest): Digester {
  const algorithm = like === undefined ? 'sha256' : algorithmOf(like);
  const hash = createHash(algorithm);
  let size = 0;
  return {
    get size() {
      return size;
    },
    update(bytes) {
      size += bytes.byteLength;
      hash.update(bytes);
    },
    digest: () => `${algorithm}:${hash.digest('hex')}` as Digest,
  };
}

/** ChainID of `layer` on top of `parent` (image-spec config.md, "Layer ChainID"). */
export function chainIDOf(parent: ChainID | undefined, layer: DiffID): ChainID {
  return parent === undefined ? (layer as Digest as ChainID) : (digestOf(`${parent} ${layer}`) as ChainID);
}
