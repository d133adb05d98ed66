/** The caches that a request names. */
import { TsbuildError } from '../base/errors.ts';
import { familiarName, parseReference } from '../oci/reference.ts';
import type { BuildRequest } from './build-request.ts';
import type { BuildCache } from './cache/build-cache.ts';
import type { Engine } from './engine.ts';
import type { PreparedBuild } from './prepare-build.ts';
import type { CallOptions } from './with-vertex.ts';

/** Throws USAGE where the cache is to go into an image that goes nowhere, or in a form that has no place for it. */
export function checkInlineCache({ cacheTo = [], push, outputs, format }: BuildRequest): void {
  if (!cacheTo.some(({ kind }) => kind === 'inline')) return;
  const isExported = outputs.some(({ kind }) => kind === 'oci-directory' || kind === 'oci-archive');
  if (!push && !isExported)
    throw new TsbuildError('USAGE', '--cache-to type=inline is written with the image, which goes nowhere', {
      hint: 'add --push or --output type=oci,dest=PATH, or use type=registry or local',
    });
  if (push && format === 'docker')
    throw new TsbuildError('USAGE', "docker's manifests have no place for a cache (--cache-to type=inline)", {
      hint: 'leave --format docker out, or use type=registry',
    });
}

/** undefined where none is named. */
export async function openCache(
  engine: Engine,
  { cacheFrom = [], cacheTo = [], platforms, tags, target }: BuildRequest,
  { sources, loss }: PreparedBuild,
  options: CallOptions,
): Promise<BuildCache | undefined> {
  if (cacheFrom.length === 0 && cacheTo.length === 0) return undefined;
  const { openBuildCache } = await import('./cache/build-cache.ts');
  const { file } = sources.dockerfile;
  const repositories = tags.map((tag) => familiarName({ ...parseReference(tag), tag: 'x' })).sort();
  return openBuildCache(
    engine,
    {
      from: cacheFrom,
      to: cacheTo,
      identity: { file, repositories, target: target ?? null },
      title: target === undefined ? file : `${file} ${target}`,
      platforms: platforms.length === 0 ? [engine.options.platform] : platforms,
      isBase: (diffID) => loss.isBase(diffID),
      wasLost: (diffID) => loss.wasLost(diffID),
      openLayer: (diffID) => loss.openLayer(diffID),
    },
    options,
  );
}
