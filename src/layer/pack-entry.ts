/**
 * One changed file as an entry of a layer. Of xattrs only security.capability is kept; hard links are kept inside
 * the layer, the first name in order carrying the content.
 */
import { closeSync } from 'node:fs';
import type { ByteString } from '../base/byte-string.ts';
import type { TarEntry } from './tar-header.ts';
import { createTarWriter, isLarge } from './tar-writer.ts';
import type { Directory, EntryStat } from './tree.ts';

export const CAPABILITY = 'security.capability';
const NS_PER_S = 1_000_000_000n;

/** Takes the entries of a layer in their order. */
export interface EntryWriter {
  /** Anything without content. */
  entry(entry: TarEntry): void;
  /** A file of `entry.size` bytes; `open` gives a descriptor of it, which is the writer's to close. */
  file(entry: TarEntry, stat: EntryStat, open: () => number): Promise<void>;
  end(): void;
}

/** Writes them as a tar. */
export function writeEntries(out: { write(bytes: Uint8Array): void }, signal: AbortSignal): EntryWriter {
  const writer = createTarWriter(out);
  return {
    entry: (entry) => writer.entry(entry),
    async file(entry, _stat, open) {
      const fd = open();
      try {
        if (isLarge(entry.size)) await writer.largeFile(entry, fd, signal);
        else writer.file(entry, fd);
      } finally {
        closeSync(fd);
      }
    },
    end: () => writer.end(),
  };
}

export interface EntryOutput {
  readonly writer: EntryWriter;
  /** First path in the layer of files with several names, by `dev:ino`. */
  readonly links: Map<string, ByteString>;
  /** How many of their names are not in the layer, by `dev:ino`. */
  readonly namesMissing?: Map<string, number>;
  /** Seconds; later mtimes are clamped. */
  readonly maxMtime?: number;
}

export function directoryEntry(output: EntryOutput, path: ByteString, stat: EntryStat): TarEntry {
  const { mode, uid, gid } = stat;
  return { path, type: 'directory', mode, uid, gid, size: 0, mtime: mtimeOf(output, stat) };
}

/** `path` ends in a whiteout's name. */
export function writeWhiteout(output: EntryOutput, path: ByteString): void {
  output.writer.entry({ path, type: 'file', mode: 0, uid: 0, gid: 0, size: 0, mtime: 0 });
}

/** Anything but a directory; a socket is not written at all. */
export async function writeEntry(
  output: EntryOutput,
  directory: Directory,
  name: ByteString,
  path: ByteString,
  stat: EntryStat,
): Promise<void> {
  if (stat.type === 'socket' || stat.type === 'directory') return;
  const { mode, uid, gid } = stat;
  const common = { path, mode, uid, gid, size: 0, mtime: mtimeOf(output, stat) };
  const inode = `${stat.dev}:${stat.ino}`;
  const first = stat.nlink > 1 ? output.links.get(inode) : undefined;
  if (stat.nlink > 1) output.namesMissing?.set(inode, (output.namesMissing.get(inode) ?? stat.nlink) - 1);
  if (first !== undefined) {
    output.writer.entry({ ...common, type: 'hardlink', linkname: first });
    return;
  }
  if (stat.nlink > 1) output.links.set(inode, path);
  if (stat.type === 'symlink')
    output.writer.entry({ ...common, type: 'symlink', mode: 0o777, linkname: directory.readlink(name) });
  else if (stat.type === 'file')
    await writeFile(output, directory, name, { ...common, type: 'file', size: stat.size }, stat);
  else output.writer.entry({ ...common, type: stat.type, major: stat.major, minor: stat.minor });
}

async function writeFile(
  output: EntryOutput,
  directory: Directory,
  name: ByteString,
  entry: TarEntry,
  stat: EntryStat,
): Promise<void> {
  const capability = directory.xattr(name, CAPABILITY);
  const full = capability === undefined ? entry : { ...entry, xattrs: new Map([[CAPABILITY, capability]]) };
  if (entry.size === 0) output.writer.entry(full);
  else await output.writer.file(full, stat, () => directory.open(name));
}

/** Whole seconds, towards the past. */
function mtimeOf(output: EntryOutput, stat: EntryStat): number {
  const rest = ((stat.mtimeNs % NS_PER_S) + NS_PER_S) % NS_PER_S;
  const seconds = Number((stat.mtimeNs - rest) / NS_PER_S);
  return output.maxMtime === undefined ? seconds : Math.min(seconds, output.maxMtime);
}
