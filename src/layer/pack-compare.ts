/**
 * Whether an entry is as it was before. Same metadata is not enough: a content can be exchanged and the time set
 * back, so what may have been touched is compared byte by byte.
 */
import { closeSync, readSync } from 'node:fs';
import type { ByteString } from '../base/byte-string.ts';
import { CAPABILITY } from './pack-entry.ts';
import type { Directory, EntryStat } from './tree.ts';

const CHUNK = 1 << 18;

export interface Unchanged {
  /** Files whose ctime (ns) is earlier have not been touched since they were copied. */
  readonly untouchedBeforeNs?: bigint;
}

export function sameMetadata(a: EntryStat, b: EntryStat): boolean {
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

/** Whether the file has been let alone, its names included. */
export function isUntouched({ untouchedBeforeNs }: Unchanged, { ctimeNs }: EntryStat): boolean {
  return untouchedBeforeNs !== undefined && ctimeNs < untouchedBeforeNs;
}

/** For anything but directories, links apart. `below` is where the entry was before, as `was`. */
export function isUnchanged(
  options: Unchanged,
  directory: Directory,
  below: Directory,
  name: ByteString,
  stat: EntryStat,
  was: EntryStat,
): boolean {
  if (!sameMetadata(was, stat)) return false;
  if (isUntouched(options, stat)) return true;
  if (stat.type === 'symlink') return directory.readlink(name) === below.readlink(name);
  return (
    stat.type !== 'file' || (sameCapability(directory, below, name) && sameContent(directory, below, name))
  );
}

function sameCapability(a: Directory, b: Directory, name: ByteString): boolean {
  const [one, other] = [a.xattr(name, CAPABILITY), b.xattr(name, CAPABILITY)];
  return one === undefined || other === undefined ? one === other : Buffer.compare(one, other) === 0;
}

function sameContent(a: Directory, b: Directory, name: ByteString): boolean {
  const one = a.open(name);
  try {
    const other = b.open(name);
    try {
      return sameBytes(one, other);
    } finally {
      closeSync(other);
    }
  } finally {
    closeSync(one);
  }
}

/** Both are regular files of the same size on local disks, so a short read means the end. */
function sameBytes(one: number, other: number): boolean {
  const [a, b] = [Buffer.allocUnsafe(CHUNK), Buffer.allocUnsafe(CHUNK)];
  for (;;) {
    const n = readSync(one, a, 0, CHUNK, null);
    const m = readSync(other, b, 0, CHUNK, null);
    if (n !== m || a.compare(b, 0, m, 0, n) !== 0) return false;
    if (n === 0) return true;
  }
}
