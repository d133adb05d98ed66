/** `tsbuild load`: docker archives, OCI archives and OCI layouts into the store. All of it is from outside. */
import {
  closeSync,
  createReadStream,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { createDigester, hexOf, type DiffID } from '../base/digest.ts';
import { errnoOf, ioError, TsbuildError } from '../base/errors.ts';
import { isJsonObject } from '../base/json.ts';
import type { BlobSource } from '../content/roles.ts';
import type { StoredImage } from '../image/image-store.ts';
import { decompress } from '../layer/decompress.ts';
import { readTar } from '../layer/tar-reader.ts';
import type { Descriptor, Platform } from '../oci/documents.ts';
import { MAX_DOCUMENT, parseImageConfig, parseManifestOrIndex } from '../oci/parse.ts';
import { parseReference } from '../oci/reference.ts';
import type { Engine } from './engine.ts';
import { storeImage } from './pull.ts';
import { withVertex, type CallOptions } from './with-vertex.ts';

export interface LoadedImage {
  readonly image: StoredImage;
  readonly names: readonly string[];
}

/** Files of an archive or a layout, by name. */
export interface LayoutFiles extends Disposable {
  has(name: string): boolean;
  open(name: string): AsyncIterable<Uint8Array>;
  read(name: string): Uint8Array;
}

export async function loadImages(
  engine: Engine,
  source: { readonly path: string } | { readonly stream: AsyncIterable<Uint8Array> },
  platform: Platform,
  options: CallOptions,
): Promise<readonly LoadedImage[]> {
  return withVertex(options.sink, engine.host, 'load', 'load images', async () => {
    using files = await openFiles(engine, source, options.signal);
    if (files.has('manifest.json')) return await loadDocker(engine, files, options.signal);
    if (files.has('index.json') && files.has('oci-layout'))
      return await loadLayout(engine, files, platform, options);
    throw new TsbuildError('ARCHIVE_INVALID', 'this is neither a docker archive nor an OCI layout', {
      hint: 'a root file system goes with "tsbuild import"',
    });
  });
}

async function openFiles(
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
  const path = engine.spool();
  const fd = openSync(path, 'wx+', 0o600);
  rmSync(path);
  const members = new Map<string, { readonly offset: number; readonly size: number }>();
  const links = new Map<string, string>();
  let offset = 0;
  try {
    for await (const { entry, body } of readTar(decompress(stream))) {
      signal.throwIfAborted();
      if (entry.linkname !== undefined)
        links.set(entry.path, resolveLink(entry.path, entry.linkname, entry.type === 'hardlink'));
      if (entry.type !== 'file') continue;
      members.set(entry.path, { offset, size: entry.size });
      for await (const chunk of body())
        for (let at = 0; at < chunk.byteLength; ) at += writeSync(fd, chunk, at);
      offset += entry.size;
    }
  } catch (error) {
    closeSync(fd);
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
      return member.size === 0
        ? emptyBody()
        : createReadStream('', {
            fd,
            autoClose: false,
            start: member.offset,
            end: member.offset + member.size - 1,
            highWaterMark: 1 << 20,
          });
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
    [Symbol.dispose]: () => closeSync(fd),
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

function parseJson(bytes: Uint8Array, what: string): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (error) {
    throw new TsbuildError('ARCHIVE_INVALID', `${what} is not JSON`, { cause: error });
  }
}

async function loadDocker(
  engine: Engine,
  files: LayoutFiles,
  signal: AbortSignal,
): Promise<readonly LoadedImage[]> {
  const list = parseJson(files.read('manifest.json'), 'manifest.json');
  if (!Array.isArray(list)) throw new TsbuildError('ARCHIVE_INVALID', 'manifest.json is not an array');
  const loaded: LoadedImage[] = [];
  for (const entry of list as readonly unknown[]) {
    if (!isJsonObject(entry) || typeof entry['Config'] !== 'string' || !Array.isArray(entry['Layers']))
      throw new TsbuildError('ARCHIVE_INVALID', 'manifest.json has an entry without Config or Layers');
    const bytes = files.read(entry['Config']);
    const config = parseImageConfig(bytes, entry['Config']);
    const { diff_ids } = config.rootfs;
    const paths = entry['Layers'] as readonly unknown[];
    if (paths.length !== diff_ids.length)
      throw new TsbuildError(
        'IMAGE_INVALID',
        `the archive names ${paths.length} layers, the config ${diff_ids.length}`,
      );
    for (const [index, diffID] of diff_ids.entries())
      await keepLayer(engine, files, String(paths[index]), diffID, signal);
    engine.layers.sync();
    const image = await engine.images.putBytes(bytes);
    const names = Array.isArray(entry['RepoTags'])
      ? (entry['RepoTags'] as readonly unknown[]).filter((tag) => typeof tag === 'string')
      : [];
    for (const name of names) engine.images.tag(parseReference(name), image.id);
    loaded.push({ image, names });
  }
  return loaded;
}

async function keepLayer(
  engine: Engine,
  files: LayoutFiles,
  path: string,
  diffID: DiffID,
  signal: AbortSignal,
): Promise<void> {
  if (engine.images.hasLayer(diffID)) return;
  using writer = engine.layers.create();
  const digester = createDigester();
  for await (const chunk of decompress(files.open(path))) {
    signal.throwIfAborted();
    digester.update(chunk);
    writer.write(chunk);
  }
  const actual = digester.digest();
  if (actual !== diffID)
    throw new TsbuildError(
      'DIGEST_MISMATCH',
      `layer ${JSON.stringify(path)} has the digest ${actual}, the config says ${diffID}`,
    );
  writer.commit();
}

async function loadLayout(
  engine: Engine,
  files: LayoutFiles,
  platform: Platform,
  options: CallOptions,
): Promise<readonly LoadedImage[]> {
  const parsed = parseManifestOrIndex(files.read('index.json'), 'index.json');
  if (parsed.kind !== 'index') throw new TsbuildError('ARCHIVE_INVALID', 'index.json is no index');
  const source: BlobSource = { open: (blob) => files.open(`blobs/sha256/${hexOf(blob.digest)}`) };
  const loaded: LoadedImage[] = [];
  for (const descriptor of parsed.index.manifests) {
    const image = await storeImage(engine, source, descriptor, platform, 'load', options);
    const names = namesOf(descriptor);
    for (const name of names) engine.images.tag(parseReference(name), image.id);
    loaded.push({ image, names });
  }
  return loaded;
}

function namesOf({ annotations }: Descriptor): readonly string[] {
  const full =
    annotations?.['io.containerd.image.name'] ?? annotations?.['org.opencontainers.image.ref.name'];
  if (full === undefined) return [];
  try {
    parseReference(full);
    return full.includes('/') || full.includes(':') ? [full] : [];
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return [];
  }
}
