/** A repository of a registry as a place of cache artifacts (contract in cache-place.ts). */
import { isTsbuildError } from '../../base/errors.ts';
import type { BlobSink } from '../../content/roles.ts';
import type { Descriptor } from '../../oci/documents.ts';
import { familiarName, parseReference, type Reference } from '../../oci/reference.ts';
import type { Registry } from '../../registry/registry.ts';
import type { CachePlace } from './cache-place.ts';

/** `holdersOf`: repositories (`registry/repository`) that are known to hold a blob. */
export function createRegistryPlace(
  registry: Registry,
  reference: Reference,
  holdersOf: (blob: Descriptor) => readonly string[],
): CachePlace {
  const source = registry.source(reference);
  const remote = registry.sink(reference);
  const sink: BlobSink = {
    ...remote,
    put(blob, open, io) {
      const origin = holdersOf(blob)
        .filter((each) => each.startsWith(`${reference.registry}/`))
        .map(parseReference)[0];
      return remote.put(blob, open, { ...io, ...(origin === undefined ? {} : { origin }) });
    },
  };
  return {
    name: familiarName(reference),
    repository: `${reference.registry}/${reference.repository}`,
    tag: reference.tag ?? 'latest',
    source,
    sink,
    openRange: (blob, range, io) => source.openRange(blob, range, io),
    async fetch(tag, io) {
      try {
        const { registry: host, repository } = reference;
        const { descriptor, bytes } = await source.get({ registry: host, repository, tag }, io);
        return { descriptor, bytes };
      } catch (error) {
        if (isTsbuildError(error, 'REGISTRY_NOT_FOUND')) return undefined;
        throw error;
      }
    },
    publish: (tag, { descriptor, bytes }, io) => remote.publish(tag, descriptor, bytes, io),
  };
}
