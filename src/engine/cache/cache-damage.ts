/** What a cache holds is not what it says, or is there no more: it is written anew, and nobody waits for it again. */
import { isTsbuildError, type ErrorCode } from '../../base/errors.ts';

const DAMAGE: readonly ErrorCode[] = [
  'CACHE_INVALID',
  'IMAGE_INVALID',
  'DIGEST_MISMATCH',
  'SIZE_MISMATCH',
  'BLOB_NOT_FOUND',
  'REGISTRY_NOT_FOUND',
];

export function isCacheDamage(error: unknown): boolean {
  return DAMAGE.some((code) => isTsbuildError(error, code));
}
