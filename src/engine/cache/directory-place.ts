/**
 * A directory as a place of cache artifacts (contract in cache-place.ts): an OCI layout, in which any number of
 * builds may write at a time.
 *
 *   blobs/sha256/…      as layouts have them
 *   tags/<tag>.json     one descriptor each, by rename: writers of different tags do not meet
 *   index.json          all of them, for other tools; written with every plan
 *
 * `tidy` removes what no tag leads to, so that a directory that CI keeps does not grow for ever.
 *
 * Spec: OCI image-spec v1.1.1, image-layout.md.
 */
import { closeSync, existsSync, openSync, readFileSync, readSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { readJsonIfExists, writeFileAtomic } from '../../base/atomic-file.ts';
import { createDigester, isDigest, pathOf, type Digest } from '../../base/digest.ts';
import { namesIn } from '../../base/directory-names.ts';
import { ioError, TsbuildError } from '../../base/errors.ts';
import type { Host } from '../../base/host.ts';
import { collect } from '../../content/copy-image.ts';
import { layoutRepository } from '../../content/lazy-blobs.ts';
import { layoutSink, LAYOUT_VERSION } from '../../exporter/oci-layout.ts';
import { MEDIA_TYPES, type Descriptor, type Index } from '../../oci/documents.ts';
import { MAX_DOCUMENT, parseDescriptor, parseManifestOrIndex } from '../../oci/parse.ts';
import { directoryFiles, layoutSource } from '../layout-files.ts';
import type { CachePlace } from './cache-place.ts';
import { invalid } from './step-document.ts';

/** Blobs this young may belong to a tag that is about to be written. */
const YOUNG_MS = 3_600_000;
const RANGE_READ = 1 << 20;
/** A descriptor has some hundred bytes. */
const MAX_TAG = 1 << 20;

/** Steps stay so long beyond the plans that have them: builds that were killed leave no plan. */
const KEEP_STEPS_MS = 7 * 86_400_000;

export function createDirectoryPlace(directory: string, tag: string, host: Host): CachePlace {
  const tags = join(directory, 'tags');
  const source = layoutSource(directoryFiles(directory));
  const pathOfBlob = (digest: Digest): string => join(directory, 'blobs', pathOf(digest));
  let sink: ReturnType<typeof layoutSink> | undefined;
  const opened = (): ReturnType<typeof layoutSink> => (sink ??= layoutSink(directory, host));

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

  function writeIndex(): void {
    const manifests = tagNames().flatMap((name): readonly Descriptor[] => {
      const descriptor = tagged(name);
      if (descriptor === undefined) return [];
      return [{ ...descriptor, annotations: { 'org.opencontainers.image.ref.name': name } }];
    });
    const index: Index = { schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests };
    writeFileAtomic(host, join(directory, 'index.json'), JSON.stringify(index));
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
      const descriptor = tagged(name);
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
      if (name === tag) writeIndex();
    },
    tidy() {
      try {
        sweep(directory, { names: tagNames(), tagged, now: host.now() });
        writeIndex();
      } catch (error) {
        throw ioError(`tidy ${JSON.stringify(directory)}`, error);
      }
    },
  };
}

interface Sweep {
  readonly names: readonly string[];
  readonly tagged: (name: string) => Descriptor | undefined;
  readonly now: number;
}

function sweep(directory: string, { names, tagged, now }: Sweep): void {
  const live = new Set<string>();
  for (const name of names) {
    const path = join(directory, 'tags', `${name}.json`);
    const isOld = now - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0) > KEEP_STEPS_MS;
    if (isOld && name.startsWith('tsb-')) rmSync(path, { force: true });
    else for (const digest of digestsBelow(directory, tagged(name))) live.add(digest);
  }
  for (const name of namesIn(join(directory, 'blobs/sha256'))) {
    const path = join(directory, 'blobs/sha256', name);
    const isYoung = now - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0) < YOUNG_MS;
    if (!isYoung && !live.has(`sha256:${name}`)) rmSync(path, { force: true });
  }
}

/** The manifest and what it names; what cannot be read leads to nothing. */
function digestsBelow(directory: string, manifest: Descriptor | undefined): readonly string[] {
  if (manifest === undefined || !isDigest(manifest.digest)) return [];
  try {
    const bytes = directoryFiles(directory).read(`blobs/${pathOf(manifest.digest)}`);
    const parsed = parseManifestOrIndex(bytes, manifest.digest);
    const named =
      parsed.kind === 'index' ? parsed.index.manifests : [parsed.manifest.config, ...parsed.manifest.layers];
    return [manifest.digest, ...named.map(({ digest }) => digest)];
  } catch {
    return [manifest.digest];
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}
