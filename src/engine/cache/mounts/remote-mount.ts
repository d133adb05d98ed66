/** The state of a cache mount in a place: its manifest, and what its segments say. */
import { isDiffID, type Digest } from '../../../base/digest.ts';
import { collect } from '../../../content/copy-image.ts';
import type { ContentStore } from '../../../content/content-store.ts';
import type { IoOptions } from '../../../content/roles.ts';
import type { Descriptor } from '../../../oci/documents.ts';
import { parseManifestOrIndex } from '../../../oci/parse.ts';
import { documentOf, inlineData, type Document } from '../artifacts.ts';
import type { CachePlace } from '../cache-place.ts';
import { mountTag } from '../cache-spec.ts';
import { invalid, parseCacheJson } from '../step-document.ts';
import { canonicalJson } from '../../../base/json.ts';
import {
  checkTree,
  MAX_SEGMENT,
  MOUNT_TYPE,
  PACK_TYPE,
  parseSegment,
  SEGMENT_TYPE,
  type MountEntry,
} from './mount-index.ts';

const MAX_SUMMARY = 16 << 10;
/** What a cache may become here at most. */
const MAX_BYTES = 64 * 2 ** 30;

export interface RemoteMount {
  /** Of its manifest. */
  readonly digest: Digest;
  readonly segments: readonly Descriptor[];
  readonly packs: ReadonlyMap<Digest, Descriptor>;
}

/** undefined: the place has none. Throws CACHE_INVALID, REGISTRY_*. */
export async function findMount(
  place: CachePlace,
  name: string,
  io: IoOptions,
): Promise<RemoteMount | undefined> {
  const document = await place.fetch(mountTag(name), io);
  if (document === undefined) return undefined;
  const parsed = parseManifestOrIndex(document.bytes, `manifest ${document.descriptor.digest}`);
  if (parsed.kind === 'index' || parsed.manifest.config.mediaType !== MOUNT_TYPE)
    throw invalid('a cache mount is something else');
  const { config, layers } = parsed.manifest;
  if (config.size > MAX_SUMMARY) throw invalid('the summary of a cache mount is too large');
  const summary = inlineData(config) ?? (await collect(place.source.open(config, io)));
  if (parseCacheJson(summary, MAX_SUMMARY)['version'] !== 1) throw invalid('its version is not 1');
  const of = (type: string): readonly Descriptor[] => layers.filter(({ mediaType }) => mediaType === type);
  return {
    digest: document.descriptor.digest,
    segments: of(SEGMENT_TYPE),
    packs: new Map(of(PACK_TYPE).map((pack) => [pack.digest, pack])),
  };
}

/** All entries; segments that the store has are not asked for. Throws CACHE_INVALID, REGISTRY_*. */
export async function readEntries(
  place: CachePlace,
  { segments, packs }: RemoteMount,
  content: ContentStore,
  io: IoOptions,
): Promise<readonly MountEntry[]> {
  const read = await Promise.all(
    segments.map(async (segment) => {
      if (segment.size > MAX_SEGMENT || !isDiffID(segment.digest)) throw invalid('a segment is too large');
      await content.put(segment, () => place.source.open(segment, { ...io, isVerifiedBySink: true }), io);
      return parseSegment(content.readNow(segment.digest, MAX_SEGMENT));
    }),
  );
  const entries = read.flat();
  checkTree(entries);
  let bytes = 0;
  for (const entry of entries) {
    if (entry.kind !== 'file') continue;
    bytes += entry.size;
    if (entry.chunks.some(({ pack }) => !packs.has(pack)))
      throw invalid('a chunk is in a pack that is not there');
  }
  if (bytes > MAX_BYTES) throw invalid(`a cache mount has ${bytes} bytes`);
  return entries;
}

/** For people who look at the registry. */
export function mountSummary(id: string, entries: readonly MountEntry[]): Document {
  const bytes = entries.reduce((sum, entry) => sum + (entry.kind === 'file' ? entry.size : 0), 0);
  return documentOf(MOUNT_TYPE, canonicalJson({ version: 1, id, entries: entries.length, bytes }));
}
