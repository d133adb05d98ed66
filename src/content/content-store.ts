/**
 * The local content store: blobs by digest, verified before they are visible.
 *
 *   blobs/sha256/aa/<rest>   complete blobs
 *   partial/<owner>          being written; what killed owners left is swept before the first write
 */
import {
  closeSync,
  createReadStream,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { algorithmOf, createDigester, digestOf, hexOf, isDigest, type Digest } from '../base/digest.ts';
import { namesIn } from '../base/directory-names.ts';
import { ioError, TsbuildError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { sweepUnowned } from '../base/owner.ts';
import { noRetention, type Retention } from '../base/retention.ts';
import type { BlobSink, BlobSource, DocumentSource } from './roles.ts';

export interface Ingested {
  readonly digest: Digest;
  readonly size: number;
}

/** A blob that somebody else writes, and whose digest they compute. Disposing unpublished leaves nothing behind. */
export interface BlobDraft extends Disposable {
  /** Open for reading and writing until it is disposed. */
  readonly fd: number;
  /** Where its bytes lie now. */
  readonly path: () => string;
  /** Makes it visible; the caller vouches for digest and size. Once. */
  publish(made: Ingested): void;
}

export interface ContentStore extends BlobSource, BlobSink, DocumentSource {
  /** Path of a blob, whether it is there or not. */
  path(digest: Digest): string;
  size(digest: Digest): number | undefined;
  /** Keeps whatever arrives; with `expected`, only that (DIGEST_MISMATCH, SIZE_MISMATCH). Idempotent. */
  ingest(body: AsyncIterable<Uint8Array>, expected?: Partial<Ingested>): Promise<Ingested>;
  draft(): BlobDraft;
  /** As `read`, at once. */
  readNow(digest: Digest, maxSize: number): Uint8Array;
  /** Keeps a small document, durably; under a digest by the algorithm of `like`. */
  write(bytes: Uint8Array | string, like?: Digest): Ingested;
  remove(digest: Digest): void;
  list(): Iterable<Digest>;
}

const CHUNK = 1 << 20;

export function openContentStore(root: string, host: Host, retention: Retention = noRetention): ContentStore {
  const partial = join(root, 'partial');
  let swept = false;
  const placeOf = (digest: Digest): string =>
    join(root, 'blobs', algorithmOf(digest), hexOf(digest).slice(0, 2), hexOf(digest).slice(2));

  function begin(): { readonly fd: number; readonly temp: string } {
    if (!swept) sweepUnowned(partial);
    swept = true;
    const temp = join(partial, host.unique());
    try {
      mkdirSync(partial, { recursive: true });
      return { fd: openSync(temp, 'wx+', 0o644), temp };
    } catch (error) {
      throw ioError('create a blob', error);
    }
  }

  function publish(temp: string, digest: Digest): void {
    const place = placeOf(digest);
    retention.hold('blob', digest);
    try {
      mkdirSync(dirname(place), { recursive: true });
      renameSync(temp, place);
    } catch (error) {
      throw ioError('keep a blob', error);
    }
  }

  function size(digest: Digest): number | undefined {
    retention.hold('blob', digest);
    return statSync(placeOf(digest), { throwIfNoEntry: false })?.size;
  }

  function reserve(bytes: number): void {
    retention.reserve(() => bytes);
  }

  function readNow(digest: Digest, maxSize: number): Uint8Array {
    const length = size(digest);
    if (length === undefined) throw new TsbuildError('BLOB_NOT_FOUND', `blob ${digest} is not in the store`);
    if (length > maxSize)
      throw new TsbuildError(
        'SIZE_MISMATCH',
        `document ${digest} has ${length} bytes; at most ${maxSize} are read`,
      );
    return readFileSync(placeOf(digest));
  }

  async function ingest(
    body: AsyncIterable<Uint8Array>,
    expected: Partial<Ingested> = {},
  ): Promise<Ingested> {
    if (expected.size !== undefined) reserve(expected.size);
    const { fd, temp } = begin();
    let open = true;
    try {
      const digester = createDigester(expected.digest);
      for await (const chunk of body) {
        digester.update(chunk);
        // why: a source that sends more than it said must not fill the disk first.
        if (expected.size !== undefined && digester.size > expected.size)
          throw sizeMismatch(digester.size, expected);
        writeAll(fd, chunk);
      }
      closeSync(fd);
      open = false;
      const made = { digest: digester.digest(), size: digester.size };
      if (expected.size !== undefined && made.size !== expected.size) throw sizeMismatch(made.size, expected);
      if (expected.digest !== undefined && made.digest !== expected.digest)
        throw new TsbuildError(
          'DIGEST_MISMATCH',
          `digest mismatch: got ${made.digest}, expected ${expected.digest}`,
        );
      reserve(made.size);
      publish(temp, made.digest);
      return made;
    } catch (error) {
      if (open) closeSync(fd);
      rmSync(temp, { force: true });
      throw error;
    }
  }

  return {
    path: placeOf,
    size,
    ingest,
    draft() {
      const { fd, temp } = begin();
      let published: Digest | undefined;
      return {
        fd,
        path: () => (published === undefined ? temp : placeOf(published)),
        publish({ digest, size: bytes }) {
          reserve(bytes);
          publish(temp, digest);
          published = digest;
        },
        [Symbol.dispose]() {
          closeSync(fd);
          if (published === undefined) rmSync(temp, { force: true });
        },
      };
    },
    isVerifying: true,
    async *open(blob, { signal, onProgress, isVerifiedBySink }) {
      if (size(blob.digest) === undefined)
        throw new TsbuildError('BLOB_NOT_FOUND', `blob ${blob.digest} is not in the store`);
      const digester = isVerifiedBySink === true ? undefined : createDigester(blob.digest);
      let current = 0;
      for await (const chunk of createReadStream(placeOf(blob.digest), { highWaterMark: CHUNK, signal })) {
        digester?.update(chunk as Uint8Array);
        current += (chunk as Uint8Array).byteLength;
        onProgress?.(current);
        yield chunk as Uint8Array;
      }
      const actual = digester?.digest();
      if (actual !== undefined && actual !== blob.digest)
        throw new TsbuildError(
          'DIGEST_MISMATCH',
          `blob ${blob.digest} in the store has the digest ${actual}`,
          { hint: 'run tsbuild system check' },
        );
    },
    has: (blob) => Promise.resolve(size(blob.digest) === blob.size),
    async put(blob, open, { onProgress }) {
      if (size(blob.digest) === blob.size) return;
      await ingest(reporting(open(), onProgress), blob);
    },
    write(document, like) {
      const bytes = typeof document === 'string' ? Buffer.from(document) : document;
      const made = { digest: digestOf(bytes, like), size: bytes.byteLength };
      if (size(made.digest) === made.size) return made;
      const { fd, temp } = begin();
      try {
        writeAll(fd, bytes);
        fsyncSync(fd);
        closeSync(fd);
      } catch (error) {
        closeSync(fd);
        rmSync(temp, { force: true });
        throw ioError('write a document', error);
      }
      publish(temp, made.digest);
      return made;
    },
    read: (digest, maxSize) =>
      new Promise((resolve) => {
        resolve(readNow(digest, maxSize));
      }),
    readNow,
    remove: (digest) => rmSync(placeOf(digest), { force: true }),
    *list() {
      for (const algorithm of ['sha256', 'sha512']) {
        const shards = join(root, 'blobs', algorithm);
        for (const shard of namesIn(shards))
          for (const rest of namesIn(join(shards, shard))) {
            const digest = `${algorithm}:${shard}${rest}`;
            if (isDigest(digest)) yield digest;
          }
      }
    },
  };
}

async function* reporting(
  body: AsyncIterable<Uint8Array>,
  onProgress: ((current: number) => void) | undefined,
): AsyncGenerator<Uint8Array> {
  let current = 0;
  for await (const chunk of body) {
    current += chunk.byteLength;
    onProgress?.(current);
    yield chunk;
  }
}

function sizeMismatch(size: number, expected: Partial<Ingested>): TsbuildError {
  return new TsbuildError(
    'SIZE_MISMATCH',
    `size mismatch${expected.digest === undefined ? '' : ` of ${expected.digest}`}: got ${size} bytes, expected ${expected.size ?? 0}`,
  );
}

function writeAll(fd: number, bytes: Uint8Array): void {
  try {
    for (let at = 0; at < bytes.byteLength; ) at += writeSync(fd, bytes, at);
  } catch (error) {
    throw ioError('write a blob', error);
  }
}
