/**
 * Blobs that the store may not hold and registries are known to: a base image whose files nobody looked into, a layer
 * that a remote cache names. What is known is where to ask; the bytes come when somebody wants them.
 *
 *   <root>/<algorithm>/aa/<rest>.json   { repositories: ["registry/repository", "oci:/directory", …], lost: […] }, the
 *                                       newest first; `lost`: those of them that said that they do not have it
 *
 * A layer is made available without its bytes by `addLayer(diffID, descriptor, repository)`: it can then be opened,
 * applied, mounted and pushed as any other, and counts as present when records are looked up.
 */
import { join } from 'node:path';
import pLimit from 'p-limit';
import { readJsonIfExists, writeFileAtomic } from '../base/atomic-file.ts';
import { algorithmOf, hexOf, type Digest, type DiffID } from '../base/digest.ts';
import { isTsbuildError, TsbuildError, type ErrorCode } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { isJsonObject } from '../base/json.ts';
import { createSharedSignal, type SharedSignal } from '../base/shared-signal.ts';
import type { Descriptor } from '../oci/documents.ts';
import type { CompressedBlob, CompressedBlobs } from './compressed-blobs.ts';
import type { ContentStore } from './content-store.ts';
import { copyBlob, isDamage } from './copy-image.ts';
import type { BlobSource, IoOptions } from './roles.ts';

const DIRECTORY = 'oci:';

/** How an OCI layout is called where repositories are. `path` is absolute. */
export function layoutRepository(path: string): string {
  return `${DIRECTORY}${path}`;
}

/** The path of an OCI layout; undefined for repositories of registries. */
export function layoutPath(repository: string): string | undefined {
  return repository.startsWith(DIRECTORY) ? repository.slice(DIRECTORY.length) : undefined;
}

/** What a registry, and a layout, says of a blob that it does not have. */
const LOST: readonly ErrorCode[] = ['REGISTRY_NOT_FOUND', 'BLOB_NOT_FOUND'];

interface Holders {
  readonly repositories: readonly string[];
  readonly lost: readonly string[];
}

/** Per blob; the oldest are forgotten. */
const MAX_REPOSITORIES = 8;
const PARALLEL = 4;

export interface LazyBlobs extends BlobSource {
  /** That a layer can be had as `blob`, which the store or `repository` (`registry/repository`) holds. Idempotent. */
  addLayer(diffID: DiffID, blob: CompressedBlob, repository?: string): void;
  /** That what a layer was known as is gone, or is something else. */
  dropLayer(diffID: DiffID): void;
  /** The blob that a layer came as: one that is here, else the newest that a repository is known to hold. */
  ofLayer(diffID: DiffID): CompressedBlob | undefined;
  /** That a repository (`registry/repository`) holds a blob. Idempotent; the newest is asked first. */
  remember(digest: Digest, repository: string): void;
  repositoriesOf(digest: Digest): readonly string[];
  /** That a layer is here as a blob, or a repository holds it that has not said otherwise. */
  hasLayer(diffID: DiffID): boolean;
  /** The store has it, or a repository is known to hold it that has not said otherwise. */
  isKnown(blob: Pick<Descriptor, 'digest' | 'size'>): boolean;
  isHere(blob: Pick<Descriptor, 'digest' | 'size'>): boolean;
  /** From the store, else straight from a repository: nothing is kept. */
  open: BlobSource['open'];
  distrust(blob: Descriptor): string;
  /**
   * Brings it into the store, verified; once, however many ask at a time: it goes on as long as one of
   * them wants it, and the first one is told of its progress. Throws
   * BLOB_NOT_FOUND where nobody is known to hold it, REGISTRY_*, DIGEST_MISMATCH, SIZE_MISMATCH, ABORTED.
   */
  fetch(blob: Descriptor, options: IoOptions): Promise<void>;
}

export interface LazyBlobsOptions {
  readonly root: string;
  readonly host: Host;
  readonly content: ContentStore;
  readonly compressed: CompressedBlobs;
  readonly sourceOf: (repository: string) => Promise<BlobSource>;
}

export function openLazyBlobs({ root, host, content, compressed, sourceOf }: LazyBlobsOptions): LazyBlobs {
  const limit = pLimit(PARALLEL);
  const sources = new Map<string, Promise<BlobSource>>();
  /** Who served a blob last, and whose bytes were bad. */
  const served = new Map<Digest, { readonly repository: string; readonly source: BlobSource }>();
  const distrusted = new Map<Digest, Set<string>>();
  const fetching = new Map<Digest, { readonly done: Promise<void>; readonly shared: SharedSignal }>();
  const place = (digest: Digest): string => {
    const hex = hexOf(digest);
    return join(root, algorithmOf(digest), hex.slice(0, 2), `${hex.slice(2)}.json`);
  };

  function holdersOf(digest: Digest): Holders {
    const value = readJsonIfExists(place(digest));
    const list = (name: string): readonly string[] => {
      const all = isJsonObject(value) ? value[name] : undefined;
      return Array.isArray(all) ? all.filter((each): each is string => typeof each === 'string') : [];
    };
    return { repositories: list('repositories'), lost: list('lost') };
  }

  function write(digest: Digest, { repositories, lost }: Holders): void {
    const text = JSON.stringify(lost.length === 0 ? { repositories } : { repositories, lost });
    writeFileAtomic(host, place(digest), text);
  }

  const repositoriesOf = (digest: Digest): readonly string[] => holdersOf(digest).repositories;

  /** It is asked again all the same, when somebody needs the bytes. */
  function noteLost(digest: Digest, repository: string): void {
    const { repositories, lost } = holdersOf(digest);
    if (!lost.includes(repository)) write(digest, { repositories, lost: [...lost, repository] });
  }

  const isHere = ({ digest, size }: Pick<Descriptor, 'digest' | 'size'>): boolean =>
    content.size(digest) === size;

  async function* open(
    blob: Descriptor,
    options: Parameters<BlobSource['open']>[1],
  ): AsyncGenerator<Uint8Array> {
    if (isHere(blob)) {
      yield* content.open(blob, options);
      return;
    }
    let failure: unknown;
    for (const repository of trusted(blob.digest)) {
      let isBegun = false;
      try {
        const source = await openSource(repository);
        served.set(blob.digest, { repository, source });
        for await (const chunk of source.open(blob, options)) {
          isBegun = true;
          yield chunk;
        }
        return;
      } catch (error) {
        // why: what was given away already cannot be taken back, so another place could only confuse.
        if (options.signal.aborted) throw error;
        if (isBegun) throw noted(error);
        if (LOST.some((code) => isTsbuildError(error, code))) noteLost(blob.digest, repository);
        failure ??= error;
      }
    }
    throw noted(failure === undefined ? unknown(blob) : explained(failure));
  }

  function openSource(repository: string): Promise<BlobSource> {
    const known = sources.get(repository) ?? sourceOf(repository);
    sources.set(repository, known);
    return known;
  }

  /** Those whose bytes were bad come last. */
  function trusted(digest: Digest): readonly string[] {
    const bad = distrusted.get(digest);
    const all = repositoriesOf(digest);
    if (bad === undefined) return all;
    return [...all.filter((each) => !bad.has(each)), ...all.filter((each) => bad.has(each))];
  }

  function distrust(blob: Descriptor): string {
    const from = served.get(blob.digest);
    if (from === undefined) return 'the store';
    distrusted.set(blob.digest, (distrusted.get(blob.digest) ?? new Set()).add(from.repository));
    return from.source.distrust?.(blob) ?? from.repository;
  }

  async function fetch(blob: Descriptor, { signal, onNotice, onProgress }: IoOptions): Promise<void> {
    if (isHere(blob)) return;
    const told =
      onProgress === undefined ? {} : { onProgress: (_: Descriptor, at: number) => onProgress(at) };
    try {
      await copyBlob(blob, { open, distrust }, content, { signal, onNotice, ...told });
    } catch (error) {
      throw isDamage(error) ? noted(error) : error;
    }
  }

  function remember(digest: Digest, repository: string): void {
    const { repositories: before, lost } = holdersOf(digest);
    if (before[0] === repository && !lost.includes(repository)) return;
    const all = [repository, ...before.filter((each) => each !== repository)];
    const repositories = all.slice(0, MAX_REPOSITORIES);
    write(digest, { repositories, lost: lost.filter((each) => each !== repository && all.includes(each)) });
  }

  function isKnown(blob: Pick<Descriptor, 'digest' | 'size'>): boolean {
    if (isHere(blob)) return true;
    const { repositories, lost } = holdersOf(blob.digest);
    return repositories.some((each) => !lost.includes(each));
  }

  const isNamed = ({ digest }: Pick<Descriptor, 'digest'>): boolean => repositoriesOf(digest).length > 0;

  return {
    addLayer(diffID, blob, repository) {
      compressed.addOrigin(diffID, blob);
      if (repository !== undefined) remember(blob.digest, repository);
    },
    dropLayer: (diffID) => compressed.dropOrigins(diffID),
    ofLayer(diffID) {
      const origins = compressed.origins(diffID);
      return origins.find(isHere) ?? origins.find(isKnown) ?? origins.find(isNamed);
    },
    hasLayer: (diffID) => compressed.origins(diffID).some(isKnown),
    remember,
    repositoriesOf,
    isHere,
    isKnown,
    open,
    distrust,
    fetch(blob, options) {
      const running = fetching.get(blob.digest);
      if (running !== undefined) {
        running.shared.join(options.signal);
        return running.done;
      }
      const shared = createSharedSignal();
      shared.join(options.signal);
      const done = limit(() => fetch(blob, { ...options, signal: shared.signal })).finally(() =>
        fetching.delete(blob.digest),
      );
      fetching.set(blob.digest, { done, shared });
      return done;
    },
  };
}

const failures = new WeakSet();

function noted(error: unknown): unknown {
  if (typeof error === 'object' && error !== null) failures.add(error);
  return error;
}

/** Whether an error, or one that caused it, says that a blob could not be had from where it is known to be. */
export function isFetchFailure(error: unknown): boolean {
  for (let each = error, depth = 0; each instanceof Error && depth < 8; each = each.cause, depth += 1)
    if (failures.has(each)) return true;
  return false;
}

function unknown({ digest, size }: Descriptor): TsbuildError {
  return new TsbuildError('BLOB_NOT_FOUND', `cannot find blob ${digest} (${size} bytes)`, {
    hint: 'build or pull the image again',
  });
}

/** The registry's refusal, with what the user could not know: that the layer was never fetched. */
function explained(error: unknown): unknown {
  if (!(error instanceof TsbuildError) || error.code === 'ABORTED') return error;
  return new TsbuildError(error.code, error.message, {
    cause: error,
    hint: 'the image was known here by its manifest and config alone, and its files are needed now; "tsbuild pull" brings them all beforehand, and what was built from a cache can be built again',
  });
}
