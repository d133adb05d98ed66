/** What FROM and --from mean: an image of the local store first, else one that a registry has. */
import { TsbuildError } from '../base/errors.ts';
import type { ImageStore, StoredImage } from '../image/image-store.ts';
import type { Platform } from '../oci/documents.ts';
import { formatPlatform, isCompatible } from '../oci/platform.ts';
import {
  familiarName,
  formatReference,
  parseReference,
  withDefaultTag,
  type Reference,
} from '../oci/reference.ts';
import type { ProgressSink } from '../progress/progress.ts';
import type { ResolvedImage } from '../../frontend/request.ts';
import type { Engine } from './engine.ts';
import { pullImage } from './pull.ts';

export interface ResolveOptions {
  readonly engine: Engine;
  readonly sink: ProgressSink;
  readonly signal: AbortSignal;
  /** Ask the registry even where the store has the name. */
  readonly pull: boolean;
}

export async function resolveImage(
  text: string,
  platform: Platform,
  options: ResolveOptions,
): Promise<ResolvedImage> {
  const reference = withDefaultTag(parseBase(text));
  const image = await findOrPull(reference, platform, options);
  return { reference: formatReference(reference), manifest: image.id, config: image.config };
}

function parseBase(text: string): Reference {
  try {
    return parseReference(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new TsbuildError('REFERENCE_INVALID', `cannot use ${JSON.stringify(text)} as base: ${reason}`, {
      cause: error,
      hint: 'write FROM [registry/]repository[:tag], or the name of an earlier stage',
    });
  }
}

async function findOrPull(
  reference: Reference,
  platform: Platform,
  options: ResolveOptions,
): Promise<StoredImage> {
  const local = await options.engine.images.byReference(reference);
  const fits =
    local !== undefined && isCompatible(local.config, platform) && isComplete(local, options.engine.images);
  if (fits && !options.pull) return local;
  try {
    return await pullImage(options.engine, reference, platform, { ...options, isLazy: true });
  } catch (error) {
    // --pull of a name that only this machine has (import, an earlier build) is no reason to fail.
    if (
      fits &&
      error instanceof TsbuildError &&
      (error.code === 'REGISTRY_NOT_FOUND' ||
        error.code === 'REGISTRY_UNREACHABLE' ||
        error.code === 'REGISTRY_AUTH')
    )
      return local;
    if (local !== undefined && !isCompatible(local.config, platform))
      throw new TsbuildError(
        'PLATFORM_NOT_FOUND',
        `the local image ${JSON.stringify(familiarName(reference))} is for ${formatPlatform(local.config)}, not ${formatPlatform(platform)}`,
        { cause: error, hint: `choose another base, or build for ${formatPlatform(local.config)}` },
      );
    throw error;
  }
}

function isComplete(image: StoredImage, images: ImageStore): boolean {
  return image.config.rootfs.diff_ids.every((diffID) => images.hasLayer(diffID));
}
