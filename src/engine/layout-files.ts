/** Files of OCI layouts and archives, by name, whether they lie in a directory, a tar, or come as a stream. */
import { createReadStream, ftruncateSync, readFileSync, readSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { createDigester, isDigest, pathOf } from '../base/digest.ts';
import { ioError, TsbuildError } from '../base/errors.ts';
import { readDescriptor } from '../base/read-descriptor.ts';
import { openSpool } from '../layer/spool.ts';
import type { BlobSource, IoOptions } from '../content/roles.ts';
import { decompress } from '../layer/decompress.ts';
import { readTar } from '../layer/tar-reader.ts';
import type { Descriptor } from '../oci/documents.ts';
import { MAX_DOCUMENT, parseManifestOrIndex } from '../oci/parse.ts';
import type { Engine } from './engine.ts';

/** Files of an archive or a layout, by name. */
export interface LayoutFiles extends Disposable {
  has(name: string): boolean;
  open(name: string): AsyncIterable<Uint8Array>;
  read(name: string): Uint8Array;
}

export async function openFiles(
  engine: Engine,
  source: { readonly path: string } | { readonly stream: AsyncIterable<Uint8Array> },
  signal: AbortSignal,
): Promise<LayoutFiles> {
  if ('stream' in source) return spoolArchive(engine, source.stream, signal);
  let isDirectory: boolean;
  try {
    isDirectory = statSync(source.path).isDirectory();
  } catch (error) {
    throw ioError(`open ${JSON.stringify(source.path)}`, error);
  }
  return isDirectory
    ? directoryFiles(source.path)
    : spoolArchive(engine, createReadStream(source.path, { highWaterMark: 1 << 20 }), signal);
}

export function directoryFiles(root: string): LayoutFiles {
  return {
    has: (name) => statSync(join(root, name), { throwIfNoEntry: false })?.isFile() === true,
    open: (name) => createReadStream(join(root, name), { highWaterMark: 1 << 20 }),
    read: (name) => readFileSync(join(root, name)),
    [Symbol.dispose]: () => undefined,
  };
}

/** An archive's members in any order, kept in one temporary file. */
async function spoolArchive(
  engine: Engine,
  stream: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<LayoutFiles> {
  const spool = openSpool(engine.spool());
  const { fd } = spool;
  const members = new Map<string, { readonly offset: number; readonly size: number }>();
  const links = new Map<string, string>();
  let offset = 0;
  try {
    for await (const { entry, pieces } of readTar(decompress(stream))) {
      signal.throwIfAborted();
      if (entry.linkname !== undefined)
        links.set(entry.path, resolveLink(entry.path, entry.linkname, entry.type === 'hardlink'));
      if (entry.type !== 'file') continue;
      members.set(entry.path, { offset, size: entry.size });
      for await (const { offset: from, bytes } of pieces()) {
        signal.throwIfAborted();
        for (let at = 0; at < bytes.byteLength; )
          at += writeSync(fd, bytes, at, bytes.byteLength - at, offset + from + at);
      }
      offset += entry.size;
    }
    ftruncateSync(fd, offset);
  } catch (error) {
    spool[Symbol.dispose]();
    throw ioError('read the archive', error);
  }
  const find = (name: string): { readonly offset: number; readonly size: number } | undefined =>
    members.get(name) ?? members.get(links.get(name) ?? '');
  return {
    has: (name) => find(name) !== undefined,
    open(name) {
      const member = find(name);
      if (member === undefined)
        throw new TsbuildError('ARCHIVE_INVALID', `the archive has no ${JSON.stringify(name)}`);
      return member.size === 0 ? emptyBody() : readDescriptor(fd, member.offset, member.offset + member.size);
    },
    read(name) {
      const member = find(name);
      if (member === undefined)
        throw new TsbuildError('ARCHIVE_INVALID', `the archive has no ${JSON.stringify(name)}`);
      if (member.size > MAX_DOCUMENT)
        throw new TsbuildError(
          'ARCHIVE_INVALID',
          `${JSON.stringify(name)} has ${member.size} bytes; at most ${MAX_DOCUMENT} are read`,
        );
      return readRange(fd, member.offset, member.size);
    },
    [Symbol.dispose]: () => spool[Symbol.dispose](),
  };
}

async function* emptyBody(): AsyncGenerator<Uint8Array> {
  await Promise.resolve();
  yield new Uint8Array();
}

function resolveLink(path: string, target: string, isHard: boolean): string {
  if (isHard) return target;
  const parts = path.split('/').slice(0, -1);
  for (const part of target.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '.' && part !== '') parts.push(part);
  }
  return parts.join('/');
}

function readRange(fd: number, offset: number, size: number): Uint8Array {
  const bytes = Buffer.alloc(size);
  let at = 0;
  // why: readSync may give less than was asked for.
  for (let n = -1; n !== 0 && at < size; at += n) n = readSync(fd, bytes, at, size - at, offset + at);
  return bytes.subarray(0, at);
}

/** Blobs of a layout, verified as every source. */
export function layoutSource(files: LayoutFiles): BlobSource {
  return {
    open(blob, options) {
      const path = `blobs/${pathOf(blob.digest)}`;
      if (!files.has(path)) throw new TsbuildError('BLOB_NOT_FOUND', `the layout has no blob ${blob.digest}`);
      return verified(files.open(path), blob, options);
    },
  };
}

async function* verified(
  body: AsyncIterable<Uint8Array>,
  { digest, size }: Descriptor,
  { onProgress, isVerifiedBySink, signal }: IoOptions & { readonly isVerifiedBySink?: boolean },
): AsyncGenerator<Uint8Array> {
  const digester = isVerifiedBySink === true ? undefined : createDigester(digest);
  let current = 0;
  for await (const chunk of body) {
    if (signal.aborted) throw new TsbuildError('ABORTED', 'aborted while reading a layout');
    current += chunk.byteLength;
    if (current > size) break;
    digester?.update(chunk);
    onProgress?.(current);
    yield chunk;
  }
  if (current !== size)
    throw new TsbuildError('SIZE_MISMATCH', `blob ${digest} of the layout has ${current} bytes, not ${size}`);
  const actual = digester?.digest();
  if (actual !== undefined && actual !== digest)
    throw new TsbuildError('DIGEST_MISMATCH', `blob ${digest} of the layout has the digest ${actual}`);
}

/**
 * The image of a layout that `select` means: a tag, a whole name, or `@` and a digest; absent: latest, or the only
 * one. `what` is the layout, for messages. Throws IMAGE_NOT_FOUND, listing what there is.
 */
export function findInLayout(files: LayoutFiles, what: string, select: string | undefined): Descriptor {
  const parsed = parseManifestOrIndex(files.read('index.json'), `${what}/index.json`);
  if (parsed.kind !== 'index')
    throw new TsbuildError('IMAGE_INVALID', `${JSON.stringify(`${what}/index.json`)} is no index`);
  const { manifests } = parsed.index;
  const found =
    select?.startsWith('@') === true
      ? (manifests.find(({ digest }) => digest === select.slice(1)) ?? byDigest(files, select.slice(1)))
      : manifests.find((each) => namesOf(each).includes(select ?? 'latest'));
  const chosen = found ?? (select === undefined && manifests.length === 1 ? manifests[0] : undefined);
  if (chosen !== undefined) return chosen;
  throw new TsbuildError(
    'IMAGE_NOT_FOUND',
    `the layout ${JSON.stringify(what)} has no image ${JSON.stringify(select ?? 'latest')}`,
    { hint: `it has ${manifests.map((each) => namesOf(each).at(-1) ?? each.digest).join(', ')}` },
  );
}

/** Under which an image may be asked for: its whole name, what the layout calls it, and the tag alone. */
function namesOf({ annotations }: Descriptor): readonly string[] {
  const full = annotations?.['io.containerd.image.name'];
  const name = annotations?.['org.opencontainers.image.ref.name'];
  const tag = name?.includes('/') === true ? name.slice(name.lastIndexOf(':') + 1) : name;
  return [full, name, tag].filter((each) => each !== undefined);
}

/** A manifest that the index does not list, as the children of an index. */
function byDigest(files: LayoutFiles, digest: string): Descriptor | undefined {
  if (!isDigest(digest) || !files.has(`blobs/${pathOf(digest)}`)) return undefined;
  const bytes = files.read(`blobs/${pathOf(digest)}`);
  const parsed = parseManifestOrIndex(bytes, digest);
  const mediaType = parsed.kind === 'index' ? parsed.index.mediaType : parsed.manifest.mediaType;
  return { mediaType, digest, size: bytes.byteLength };
}
