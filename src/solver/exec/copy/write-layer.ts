/**
 * Writing a planned layer here: one pass over the sorted entries, each source file read once. For small layers; what
 * encode-plan.ts has packed natively gives the same bytes.
 */
import { closeSync, createReadStream, readSync } from 'node:fs';
import type { ByteString } from '../../../base/byte-string.ts';
import { ioError } from '../../../base/errors.ts';
import type { TarEntry } from '../../../layer/tar-header.ts';
import { createTarWriter, isLarge, type TarWriter } from '../../../layer/tar-writer.ts';
import type { Directory, Tree } from '../../../layer/tree.ts';
import { CAPABILITY } from '../../../layer/pack-entry.ts';
import { checkListed } from './contents.ts';
import type { LayerPlan } from './layer-plan.ts';
import { placeOf, recordOf, type Content, type FileContent, type Planned } from './planned.ts';

const YIELD_EVERY = 512;

export interface WriteOptions {
  /** Seconds; later mtimes are clamped. */
  readonly maxMtime?: number;
  readonly signal: AbortSignal;
}

export async function writePlannedLayer(
  plan: LayerPlan,
  out: { write(bytes: Uint8Array): void },
  options: WriteOptions,
): Promise<void> {
  const writer = createTarWriter(out);
  const first = new Map<string, ByteString>();
  using directories = createDirectoryCache();
  let count = 0;
  for (const [path, planned] of plan.sorted()) {
    count += 1;
    if (count % YIELD_EVERY === 0) {
      await new Promise((resolve) => setImmediate(resolve));
      options.signal.throwIfAborted();
    }
    const original = planned.inode === undefined ? undefined : first.get(planned.inode);
    const header = headerOf(path, planned, options);
    if (original !== undefined) {
      writer.entry({ ...header, type: 'hardlink', size: 0, linkname: original });
      continue;
    }
    if (planned.inode !== undefined) first.set(planned.inode, path);
    if (planned.content === undefined || header.size === 0) writer.entry(header);
    else await writeContent(writer, header, planned.content, directories, options.signal);
  }
  writer.end();
}

function headerOf(path: ByteString, planned: Planned, { maxMtime }: WriteOptions): TarEntry {
  const { type, mode, uid, gid, size = 0, link, major, minor, capability } = planned;
  return {
    path,
    type,
    mode: type === 'symlink' ? 0o777 : mode,
    uid,
    gid,
    size: type === 'file' ? size : 0,
    mtime: maxMtime === undefined ? planned.mtime : Math.min(planned.mtime, maxMtime),
    ...(link === undefined ? {} : { linkname: link }),
    ...(major === undefined ? {} : { major }),
    ...(minor === undefined ? {} : { minor }),
    ...(capability === undefined ? {} : { xattrs: new Map([[CAPABILITY, capability]]) }),
  };
}

async function writeContent(
  writer: TarWriter,
  header: TarEntry,
  content: Content,
  directories: DirectoryCache,
  signal: AbortSignal,
): Promise<void> {
  switch (content.kind) {
    case 'bytes':
      writer.entry(header);
      writer.content(content.bytes);
      return;
    case 'file':
      await writeFile(writer, header, content, directories, signal);
      return;
    case 'range':
      writer.entry(header);
      copyRange(writer, content.fd, content.offset, header.size);
      return;
    case 'path':
      writer.entry(header);
      for await (const chunk of createReadStream(content.path, { highWaterMark: 1 << 20 }))
        writer.content(chunk as Uint8Array);
  }
}

async function writeFile(
  writer: TarWriter,
  header: TarEntry,
  content: FileContent,
  directories: DirectoryCache,
  signal: AbortSignal,
): Promise<void> {
  const bytes = content.gathered.contents.bytes.get(content.file);
  if (bytes !== undefined) {
    writer.entry(header);
    writer.content(bytes);
    return;
  }
  const { directory, name } = placeOf(content);
  const fd = openIn(directories.open(content.tree, directory), name);
  try {
    checkListed(fd, recordOf(content), content.path);
    if (isLarge(header.size)) await writer.largeFile(header, fd, signal);
    else writer.file(header, fd);
    checkListed(fd, recordOf(content), content.path);
  } finally {
    closeSync(fd);
  }
}

function openIn(directory: Directory, name: ByteString): number {
  try {
    return directory.open(name);
  } catch (error) {
    throw ioError(`read ${JSON.stringify(name)}`, error);
  }
}

const buffer = Buffer.allocUnsafe(1 << 20);

function copyRange(writer: TarWriter, fd: number, offset: number, size: number): void {
  for (let done = 0; done < size; ) {
    const n = readSync(fd, buffer, 0, Math.min(buffer.byteLength, size - done), offset + done);
    if (n === 0) throw ioError('read the unpacked archive', new Error('it is shorter than it was'));
    writer.content(buffer.subarray(0, n));
    done += n;
  }
}

interface DirectoryCache extends Disposable {
  open(tree: Tree, path: ByteString): Directory;
}

/** Neighbours in a layer mostly come from one directory: it stays open until the next one is wanted. */
function createDirectoryCache(): DirectoryCache {
  let last: { readonly tree: Tree; readonly path: ByteString; readonly directory: Directory } | undefined;
  const close = (): void => {
    last?.directory[Symbol.dispose]();
    last = undefined;
  };
  return {
    open(tree, path) {
      if (last?.tree !== tree || last.path !== path) {
        close();
        last = { tree, path, directory: tree.directory(path) };
      }
      return last.directory;
    },
    [Symbol.dispose]: close,
  };
}
