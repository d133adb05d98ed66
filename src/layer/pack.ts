/**
 * From what a process changed to a layer tar.
 *
 * `packUpper` reads the upper directory of an overlay, which (with metacopy and redirect_dir off) is the change
 * itself; `packDifference` compares two trees and gives the same bytes for the same change.
 *
 * Order is that of the stored names' bytes (directories carry their `/`), parents come before what is in them,
 * the root itself is left out, sockets are dropped, of xattrs only security.capability is kept.
 */
import { closeSync } from 'node:fs';
import { compareBytes, type ByteString } from '../base/byte-string.ts';
import type { TarEntry } from './tar-header.ts';
import { createTarWriter, isLarge, type TarWriter } from './tar-writer.ts';
import type { Directory, EntryStat, Tree } from './tree.ts';
import { OPAQUE_XATTR, whiteoutName } from './whiteout.ts';

const CAPABILITY = 'security.capability';
const YIELD_EVERY_MS = 20;

export interface PackOptions {
  /** Seconds; later mtimes are clamped. */
  readonly maxMtime?: number;
  readonly signal: AbortSignal;
  /** Milliseconds, monotonic or not; for giving way to the event loop. */
  readonly now: () => number;
}

interface Packing extends PackOptions {
  readonly writer: TarWriter;
  readonly links: Map<string, ByteString>;
  /** Directories above what is being written that have no entry yet. */
  readonly pending: TarEntry[];
  rested: number;
}

type Out = { write(bytes: Uint8Array): void };

/** Packs an upper directory; `parent` is what lies below it. */
export async function packUpper(upper: Tree, parent: Tree, out: Out, options: PackOptions): Promise<void> {
  const packing = begin(out, options);
  using directory = upper.directory('');
  await packChanged(packing, directory, '', parent);
  packing.writer.end();
}

/** Packs what makes `after` out of `before`. */
export async function packDifference(
  before: Tree,
  after: Tree,
  out: Out,
  options: PackOptions,
): Promise<void> {
  const packing = begin(out, options);
  using directory = after.directory('');
  await packCompared(packing, directory, '', before);
  packing.writer.end();
}

function begin(out: Out, options: PackOptions): Packing {
  return { ...options, writer: createTarWriter(out), links: new Map(), pending: [], rested: options.now() };
}

/** Siblings in the order of their stored names. */
export function inStoredOrder<T extends { readonly name: ByteString; readonly isDirectory: boolean }>(
  items: T[],
): T[] {
  const key = (item: T): ByteString => (item.isDirectory ? `${item.name}/` : item.name);
  return items.sort((a, b) => compareBytes(key(a), key(b)));
}

interface Child {
  readonly name: ByteString;
  readonly isDirectory: boolean;
  /** undefined: deleted. */
  readonly stat: EntryStat | undefined;
}

function isWhiteout(stat: EntryStat): boolean {
  return stat.type === 'char' && stat.major === 0 && stat.minor === 0;
}

async function packChanged(
  packing: Packing,
  directory: Directory,
  path: ByteString,
  parent: Tree,
): Promise<void> {
  const children: Child[] = directory.names().map((name) => {
    const stat = directory.lstat(name);
    return isWhiteout(stat)
      ? { name: whiteoutName(name), isDirectory: false, stat: undefined }
      : { name, isDirectory: stat.type === 'directory', stat };
  });
  for (const { name, stat } of inStoredOrder(children)) {
    const childPath = path === '' ? name : `${path}/${name}`;
    await rest(packing);
    if (stat === undefined) writeWhiteout(packing, childPath);
    else if (stat.type === 'directory') {
      using child = directory.directory(name);
      await packChangedDirectory(packing, directory, child, name, childPath, stat, parent);
    } else await writeEntry(packing, directory, name, childPath, stat);
  }
}

async function packChangedDirectory(
  packing: Packing,
  holder: Directory,
  child: Directory,
  name: ByteString,
  path: ByteString,
  stat: EntryStat,
  parent: Tree,
): Promise<void> {
  const opaque = holder.xattr(name, OPAQUE_XATTR) !== undefined;
  const below = parent.lstat(path);
  const changed = below?.type !== 'directory' || !sameMetadata(below, stat);
  packing.pending.push(directoryEntry(packing, path, stat));
  if (changed || opaque) writePending(packing);
  if (opaque && below?.type === 'directory') writeHidden(packing, path, child, parent);
  await packChanged(packing, child, path, parent);
  // What is still pending had nothing below it: a directory that was copied up and left as it was.
  if (packing.pending.at(-1)?.path === path) packing.pending.pop();
}

/**
 * An opaque directory as whiteouts of the parent's entries, so that the tar does not depend on how the change was
 * made. They come first in their directory, `.wh.` sorting before almost every name.
 */
function writeHidden(packing: Packing, path: ByteString, child: Directory, parent: Tree): void {
  const kept = new Set(child.names());
  using hidden = parent.directory(path);
  for (const name of hidden.names())
    if (!kept.has(name)) writeWhiteout(packing, `${path}/${whiteoutName(name)}`);
}

async function packCompared(
  packing: Packing,
  directory: Directory,
  path: ByteString,
  before: Tree,
): Promise<void> {
  const old = new Map<ByteString, EntryStat>();
  if (before.lstat(path)?.type === 'directory') {
    using oldDirectory = before.directory(path);
    for (const name of oldDirectory.names()) old.set(name, oldDirectory.lstat(name));
  }
  const children: Child[] = [];
  for (const name of directory.names()) {
    const stat = directory.lstat(name);
    children.push({ name, isDirectory: stat.type === 'directory', stat });
    old.delete(name);
  }
  for (const name of old.keys())
    children.push({ name: whiteoutName(name), isDirectory: false, stat: undefined });
  for (const { name, stat } of inStoredOrder(children)) {
    const childPath = path === '' ? name : `${path}/${name}`;
    await rest(packing);
    if (stat === undefined) {
      writeWhiteout(packing, childPath);
      continue;
    }
    const was = before.lstat(childPath);
    const same = was !== undefined && sameMetadata(was, stat);
    if (stat.type === 'directory') {
      packing.pending.push(directoryEntry(packing, childPath, stat));
      if (!same) writePending(packing);
      using child = directory.directory(name);
      await packCompared(packing, child, childPath, before);
      if (packing.pending.at(-1)?.path === childPath) packing.pending.pop();
    } else if (!same) await writeEntry(packing, directory, name, childPath, stat);
  }
}

function sameMetadata(a: EntryStat, b: EntryStat): boolean {
  return (
    a.type === b.type &&
    a.mode === b.mode &&
    a.uid === b.uid &&
    a.gid === b.gid &&
    a.mtimeNs === b.mtimeNs &&
    (a.type === 'directory' || a.size === b.size) &&
    a.major === b.major &&
    a.minor === b.minor
  );
}

function mtimeOf(packing: PackOptions, stat: EntryStat): number {
  const seconds =
    Number(stat.mtimeNs / 1_000_000_000n) -
    (stat.mtimeNs < 0n && stat.mtimeNs % 1_000_000_000n !== 0n ? 1 : 0);
  return packing.maxMtime === undefined ? seconds : Math.min(seconds, packing.maxMtime);
}

function directoryEntry(packing: Packing, path: ByteString, stat: EntryStat): TarEntry {
  const { mode, uid, gid } = stat;
  return { path, type: 'directory', mode, uid, gid, size: 0, mtime: mtimeOf(packing, stat) };
}

function writePending(packing: Packing): void {
  for (const entry of packing.pending.splice(0)) packing.writer.entry(entry);
}

function writeWhiteout(packing: Packing, path: ByteString): void {
  writePending(packing);
  packing.writer.entry({ path, type: 'file', mode: 0, uid: 0, gid: 0, size: 0, mtime: 0 });
}

async function writeEntry(
  packing: Packing,
  directory: Directory,
  name: ByteString,
  path: ByteString,
  stat: EntryStat,
): Promise<void> {
  if (stat.type === 'socket' || stat.type === 'directory') return;
  writePending(packing);
  const { mode, uid, gid } = stat;
  const common = { path, mode, uid, gid, size: 0, mtime: mtimeOf(packing, stat) };
  const inode = `${stat.dev}:${stat.ino}`;
  const first = stat.nlink > 1 ? packing.links.get(inode) : undefined;
  if (first !== undefined) {
    packing.writer.entry({ ...common, type: 'hardlink', linkname: first });
    return;
  }
  if (stat.nlink > 1) packing.links.set(inode, path);
  if (stat.type === 'symlink')
    packing.writer.entry({ ...common, type: 'symlink', mode: 0o777, linkname: directory.readlink(name) });
  else if (stat.type === 'file')
    await writeFile(packing, directory, name, { ...common, type: 'file', size: stat.size });
  else packing.writer.entry({ ...common, type: stat.type, major: stat.major, minor: stat.minor });
}

async function writeFile(
  packing: Packing,
  directory: Directory,
  name: ByteString,
  entry: TarEntry,
): Promise<void> {
  const capability = directory.xattr(name, CAPABILITY);
  const full = capability === undefined ? entry : { ...entry, xattrs: new Map([[CAPABILITY, capability]]) };
  if (entry.size === 0) {
    packing.writer.entry(full);
    return;
  }
  const fd = directory.open(name);
  try {
    if (isLarge(entry.size)) await packing.writer.largeFile(full, fd, packing.signal);
    else packing.writer.file(full, fd);
  } finally {
    closeSync(fd);
  }
}

/** Gives way to the event loop now and then, and notices an abort. */
async function rest(packing: Packing): Promise<void> {
  if (packing.now() - packing.rested < YIELD_EVERY_MS) return;
  await new Promise((resolve) => setImmediate(resolve));
  packing.signal.throwIfAborted();
  packing.rested = packing.now();
}
