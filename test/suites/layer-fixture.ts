/** What tests of layers and snapshotters share: tars by hand, trees as text, and a real mount to change things in. */
import { spawnSync } from 'node:child_process';
import { closeSync, constants, existsSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createDigester, digestOf, type DiffID } from '../../src/base/digest.ts';
import type { Host } from '../../src/base/host.ts';
import { startTimeOf } from '../../src/base/owner.ts';
import type { Layer, LayerStore } from '../../src/layer/layer.ts';
import { openTree } from '../../src/layer/open-tree.ts';
import { createTarWriter } from '../../src/layer/tar-writer.ts';
import type { TarEntry } from '../../src/layer/tar-header.ts';
import type { Directory, EntryStat } from '../../src/layer/tree.ts';
import type { Mount } from '../../native/mount.ts';
import { openOverlayRoot } from '../../native/overlay.ts';
import { writeBack } from '../../native/write-back.ts';

let serial = 0;
export const testHost: Host = {
  now: () => Date.now(),
  unique: () => `${process.pid}.${startTimeOf(process.pid) ?? ''}.${(serial += 1)}`,
};

/** Until the disk has what these notes are of. */
export async function writtenBack(notes: readonly string[]): Promise<void> {
  await writeBack(notes);
  while (notes.some((note) => existsSync(note))) await sleep(5);
}

export function temporaryDirectory(): { readonly path: string; [Symbol.dispose](): void } {
  const path = mkdtempSync(join(tmpdir(), 'tsbuild-test-'));
  return {
    path,
    [Symbol.dispose]: () => {
      rmSync(path, { recursive: true, force: true });
    },
  };
}

export type Item = Partial<TarEntry> & { readonly path: string; readonly content?: string };

export function entryOf(item: Item): TarEntry {
  const { content, ...rest } = item;
  const type = item.type ?? (content === undefined ? 'directory' : 'file');
  const mode = type === 'directory' ? 0o755 : 0o644;
  const size = content === undefined ? 0 : Buffer.byteLength(content);
  return { type, mode, uid: 0, gid: 0, size, mtime: 1_600_000_000, ...rest };
}

/** Entries in the order given; text content, default attributes. */
export function tarOf(...items: readonly Item[]): Buffer {
  const chunks: Buffer[] = [];
  const writer = createTarWriter({ write: (bytes) => void chunks.push(Buffer.from(bytes)) });
  for (const item of items) {
    writer.entry(entryOf(item));
    if (item.content !== undefined && item.content !== '') writer.content(Buffer.from(item.content));
  }
  writer.end();
  return Buffer.concat(chunks);
}

export async function* chunksOf(bytes: Uint8Array, size = 4096): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size)
    yield await Promise.resolve(bytes.subarray(at, at + size));
}

export function storeLayer(layers: LayerStore, tar: Uint8Array): Layer {
  using writer = layers.create();
  writer.write(tar);
  return writer.commit();
}

/** A layer whose bytes are not what its name says. */
export function fakeLayer(tar: Uint8Array, claimed: string): Layer {
  return { diffID: digestOf(claimed) as DiffID, size: tar.byteLength, tar: () => chunksOf(tar) };
}

export async function bytesOf(layer: Layer): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of layer.tar()) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** One line per file of what `mounts` show: everything that a layer keeps, hard links by their first name. */
export function describeTree(mounts: readonly Mount[]): string[] {
  using tree = openTree(mounts);
  using root = tree.directory('');
  const lines: string[] = [];
  const links = new Map<string, string>();
  describeDirectory(root, '', links, lines);
  return lines;
}

function describeDirectory(
  directory: Directory,
  path: string,
  links: Map<string, string>,
  lines: string[],
): void {
  for (const name of directory.names()) {
    const stat = directory.lstat(name);
    const at = path === '' ? name : `${path}/${name}`;
    lines.push(`${at} ${describeStat(stat)} ${describeContent(directory, name, at, stat, links)}`.trimEnd());
    if (stat.type !== 'directory') continue;
    using child = directory.directory(name);
    describeDirectory(child, at, links, lines);
  }
}

function describeStat(stat: EntryStat): string {
  const mode = stat.type === 'symlink' ? '' : stat.mode.toString(8);
  return `${stat.type} ${mode} ${stat.uid}:${stat.gid} ${stat.mtimeNs / 1_000_000_000n}`;
}

function describeContent(
  directory: Directory,
  name: string,
  at: string,
  stat: EntryStat,
  links: Map<string, string>,
): string {
  if (stat.type === 'directory') return '';
  const inode = `${stat.dev}:${stat.ino}`;
  const first = stat.nlink > 1 ? links.get(inode) : undefined;
  if (first !== undefined) return `= ${first}`;
  links.set(inode, at);
  if (stat.type === 'symlink') return directory.readlink(name);
  if (stat.type === 'char' || stat.type === 'block') return `${stat.major},${stat.minor}`;
  if (stat.type !== 'file') return '';
  const capability = directory.xattr(name, 'security.capability');
  return `${digestOfFile(directory, name)}${capability === undefined ? '' : ` ${Buffer.from(capability).toString('hex')}`}`;
}

function digestOfFile(directory: Directory, name: string): string {
  const fd = directory.open(name);
  try {
    const digester = createDigester();
    const buffer = Buffer.alloc(1 << 16);
    for (let n = readSync(fd, buffer); n > 0; n = readSync(fd, buffer))
      digester.update(buffer.subarray(0, n));
    return digester.digest().slice(7, 19);
  } finally {
    closeSync(fd);
  }
}

/** Of what `describeTree` says, the names, each with the first one of its file. */
export function linksOf(lines: readonly string[]): string[] {
  return lines.map((line) => line.replace(/ .*?(?= = |$)/, ''));
}

/** Runs a shell script inside the root that `mounts` make, which is mounted nowhere else. */
export function changeInside(mounts: readonly Mount[], script: string): void {
  const root = mounts[0];
  if (root === undefined) throw new Error('there is nothing to change');
  const fd =
    root.kind === 'bind'
      ? openSync(root.source, constants.O_RDONLY | constants.O_DIRECTORY)
      : openOverlayRoot(root.lower, root.upper ?? '', root.work ?? '', root.program);
  const run = spawnSync('sh', ['-euc', `cd /proc/self/fd/3\numask 022\n${script}`], {
    stdio: ['ignore', 'pipe', 'pipe', fd],
    encoding: 'utf8',
  });
  closeSync(fd);
  if (run.status !== 0) throw new Error(`the script failed: ${run.stderr}`);
}
