/** What is mounted from an input, for the key of a RUN: its content, where that can be told from the rest of the input. */
import { toByteString } from '../../base/byte-string.ts';
import { digestOf, type CacheKey } from '../../base/digest.ts';
import { TsbuildError } from '../../base/errors.ts';
import { canonicalJson } from '../../base/json.ts';
import { isInternal } from '../../graph/graph.ts';
import type { VertexContext } from '../handler.ts';
import type { Listing } from '../listing.ts';
import { identityOf } from '../result.ts';
import { readContents } from './copy/contents.ts';
import { digestSelection } from './copy/digest.ts';
import type { CopyHandlerOptions } from './copy/options.ts';
import { gatherFrom, openSource } from './copy/sources.ts';

export interface PathIdentity {
  readonly identity: string;
  /** What the identity is the digest of, where it was read now. */
  readonly listing?: Listing;
  /** As CacheMap.remember. */
  readonly remember?: () => void;
}

/** `path` is absolute and clean. Throws LAYER_LOST. */
export async function identityOfPath(
  options: CopyHandlerOptions,
  context: VertexContext,
  index: number,
  path: string,
): Promise<PathIdentity> {
  const input = context.inputs[index];
  if (input === undefined || input.kind === 'file')
    throw new TsbuildError('INSTRUCTION_UNSUPPORTED', 'cannot mount a fetched file');
  const source = context.vertex.inputs[index];
  if (input.kind === 'stack' && (path === '/' || (source !== undefined && isInternal(source))))
    return { identity: identityOf(input) };
  // why: a committed stack never changes, so what was read in it once need not be mounted and read again.
  const key =
    input.kind === 'stack'
      ? (digestOf(canonicalJson({ stack: identityOf(input), mounted: path })) as CacheKey)
      : undefined;
  const known = key === undefined ? undefined : options.records.getContentDigest(key);
  if (known !== undefined) return { identity: known };
  await using opened = await openSource(options, context, index);
  // A place that is not there is left to the launcher's error.
  if (opened.tree.stat(toByteString(path)) === undefined) return { identity: identityOf(input) };
  // A path, not a pattern.
  const pattern = path.replace(/[*?[\\]/g, '\\$&');
  const gathered = await gatherFrom(opened, [pattern], { parents: false, excludes: [] }, context.signal);
  await readContents(opened, gathered, context.signal);
  const listing = digestSelection(opened.tree, gathered, {}, opened);
  const { digest } = listing;
  return {
    ...{ identity: digest, listing },
    ...(key === undefined ? {} : { remember: () => options.records.putContentDigest(key, digest) }),
  };
}
