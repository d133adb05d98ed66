/**
 * A directory as a place of cache artifacts (contract in cache-place.ts): an OCI layout, in which any number of
 * builds may write at a time.
 *
 *   blobs/sha256/…      as layouts have them
 *   tags/<tag>.json     one descriptor each, by rename: writers of different tags do not meet
 *   index.json          all of them, for other tools; written with every plan, and what others named in it stays
 *
 * `tidy` removes what no tag leads to, so that a directory that CI keeps does not grow for ever; nothing where others
 * keep something too.
 *
 * Spec: OCI image-spec v1.1.1, image-layout.md.
 */
import { closeSync, existsSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { readJsonIfExists, writeFileAtomic } from '../../base/atomic-file.ts';
import { createDigester, pathOf, type Digest } from '../../base/digest.ts';
import { namesIn } from '../../base/directory-names.ts';
import { ioError, TsbuildError } from '../../base/errors.ts';
import type { Host } from '../../base/host.ts';
import { collect } from '../../content/copy-image.ts';
import { layoutRepository } from '../../content/lazy-blobs.ts';
import { layoutSink, LAYOUT_VERSION } from '../../exporter/oci-layout.ts';
import { MEDIA_TYPES, type Descriptor } from '../../oci/documents.ts';
import { MAX_DOCUMENT, parseDescriptor } from '../../oci/parse.ts';
import { directoryFiles, layoutSource } from '../layout-files.ts';
import type { CachePlace } from './cache-place.ts';
import {
  checkDirectories,
  foreignEntries,
  nameOfEntry,
  sweepLayout,
  type IndexEntry,
} from './shared-layout.ts';
import { invalid } from './step-document.ts';

const RANGE_READ = 1 << 20;
/** A descriptor has some hundred bytes. */
const MAX_TAG = 1 << 20;

export function createDirectoryPlace(directory: string, tag: string, host: Host): CachePlace {
  const tags = join(directory, 'tags');
  const source = layoutSource(directoryFiles(directory));
  const pathOfBlob = (digest: Digest): string => join(directory, 'blobs', pathOf(digest));
  let sink: ReturnType<typeof layoutSink> | undefined;

  function opened(): ReturnType<typeof layoutSink> {
    if (sink === undefined) checkDirectories(directory);
    return (sink ??= layoutSink(directory, host));
  }

  function tagged(name: string): Descriptor | undefined {
    const path = join(tags, `${name}.json`);
    // What is no file may keep whoever opens it waiting for ever.
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat?.isFile() !== true) return undefined;
    if (stat.size > MAX_TAG) throw invalid(`tag ${name} has ${stat.size} bytes`);
    const value = readJsonIfExists(path);
    return value === undefined ? undefined : parseDescriptor(value, `tag ${name}`, invalid);
  }

  /** why only documents: those that a build reads first decide whether it finds anything, and layers are large. */
  function isWhole({ digest, size }: Descriptor): boolean {
    if (size > MAX_DOCUMENT) return true;
    const digester = createDigester(digest);
    digester.update(readFileSync(pathOfBlob(digest)));
    return digester.digest() === digest;
  }

  function writeIndex(foreign: readonly IndexEntry[]): void {
    const own = tagNames().flatMap((name): readonly Descriptor[] => {
      const descriptor = tagged(name);
      if (descriptor === undefined) return [];
      return [{ ...descriptor, annotations: { 'org.opencontainers.image.ref.name': name } }];
    });
    const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests: [...foreign, ...own] };
    writeFileAtomic(host, join(directory, 'index.json'), JSON.stringify(index));
  }

  /** What the user named may be an image in somebody's layout: it is found, as in a registry, and stays. */
  function named(name: string): Descriptor | undefined {
    const own = tagged(name);
    if (own !== undefined || name !== tag) return own;
    const entry = foreignEntries(directory, []).find((each) => nameOfEntry(each) === name);
    return entry === undefined ? undefined : parseDescriptor(entry, `${name} of index.json`, invalid);
  }

  function tagNames(): readonly string[] {
    return namesIn(tags)
      .filter((name) => name.endsWith('.json'))
      .map((name) => name.slice(0, -'.json'.length))
      .sort();
  }

  return {
    name: directory,
    repository: layoutRepository(directory),
    tag,
    source,
    sink: {
      isVerifying: true,
      has: async (blob, io) => (await opened().has(blob, io)) && isWhole(blob),
      put: (blob, open, io) => opened().put(blob, open, io),
    },
    async fetch(name, { signal }) {
      const descriptor = named(name);
      if (descriptor === undefined || !existsSync(pathOfBlob(descriptor.digest))) return undefined;
      if (descriptor.size > MAX_DOCUMENT) throw invalid(`a manifest has ${descriptor.size} bytes`);
      return { descriptor, bytes: await collect(source.open(descriptor, { signal })) };
    },
    async *openRange(blob, { from, size }) {
      const fd = openSync(pathOfBlob(blob.digest), 'r');
      try {
        for (let at = 0; at < size; ) {
          const bytes = Buffer.alloc(Math.min(RANGE_READ, size - at));
          const got = readSync(fd, bytes, 0, bytes.byteLength, from + at);
          if (got === 0) throw new TsbuildError('SIZE_MISMATCH', `blob ${blob.digest} ends too early`);
          at += got;
          yield await Promise.resolve(bytes.subarray(0, got));
        }
      } finally {
        closeSync(fd);
      }
    },
    async publish(name, { descriptor, bytes }, io) {
      await opened().put(descriptor, () => once(bytes), io);
      writeFileAtomic(host, join(tags, `${name}.json`), JSON.stringify(descriptor));
      if (!existsSync(join(directory, 'oci-layout')))
        writeFileAtomic(host, join(directory, 'oci-layout'), LAYOUT_VERSION);
    },
    tidy() {
      try {
        const names = tagNames();
        const foreign = foreignEntries(directory, names);
        // What others keep here leads to blobs that only they know of.
        if (foreign.length === 0) sweepLayout(directory, { names, tagged, now: host.now() });
        writeIndex(foreign);
      } catch (error) {
        throw ioError(`tidy ${JSON.stringify(directory)}`, error);
      }
    },
  };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}
