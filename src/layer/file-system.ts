/**
 * Which file system something lies on, and what its times are worth.
 *
 * A device number alone says little: those of tmpfs, overlay, NFS and of loop devices are given to others later.
 */
import { statfsSync } from 'node:fs';
import { readFileSystem } from '../../native/sys.ts';

/** As statx(2) and statfs(2) say. */
export interface FileSystem {
  readonly major: number;
  readonly minor: number;
  /** f_type. */
  readonly type: number;
  /** f_fsid, hexadecimal. */
  readonly id: string;
  /** Id of the mount; `mountIsUnique`: no other mount has or had it since the machine started (Linux 6.8). */
  readonly mount: string;
  readonly mountIsUnique: boolean;
}

/**
 * What changes of a file can be seen by.
 *
 * `disk`: the kernel sets ctime at every change, and the file system keeps its device number, or nobody else's inode
 * with the same ctime takes it. `memory`: the same, for as long as it is mounted. `remote`: a server sets ctime, by
 * its own clock. `none`: ctime is made up, or inode numbers are.
 */
export type Trust = 'disk' | 'memory' | 'remote' | 'none';

/** Of linux/magic.h and the file systems' own headers. */
const EXT = 0xef53;
const XFS = 0x58465342;
const BTRFS = 0x9123683e;
const F2FS = 0xf2f52010;
const ZFS = 0x2fc12fc1;
const BCACHEFS = 0xca451a4e;
const TMPFS = 0x01021994;
const RAMFS = 0x858458f6;
const OVERLAY = 0x794c7630;
const FUSE = 0x65735546;
const MSDOS = 0x4d44;
const EXFAT = 0x2011bab0;
const NTFS = 0x5346544e;
const NTFS3 = 0x7366746e;
const HFS = 0x4244;
const HFSPLUS = 0x482b;
const VBOXSF = 0x786f4256;
const ISO9660 = 0x9660;
const SQUASHFS = 0x73717368;
const EROFS = 0xe0f5e1e2;

const TRUST: ReadonlyMap<number, Trust> = new Map<number, Trust>([
  ...[EXT, XFS, BTRFS, F2FS, ZFS, BCACHEFS].map((type) => [type, 'disk'] as const),
  // Read-only images keep the times that they were made with, but cannot change while they are mounted.
  ...[TMPFS, RAMFS, OVERLAY, ISO9660, SQUASHFS, EROFS].map((type) => [type, 'memory'] as const),
  ...[FUSE, MSDOS, EXFAT, NTFS, NTFS3, HFS, HFSPLUS, VBOXSF].map((type) => [type, 'none'] as const),
]);

/** What is not known is taken for a server's: NFS, SMB, Ceph, 9P and others. */
export function trustOf({ type }: Pick<FileSystem, 'type'>): Trust {
  return TRUST.get(type) ?? 'remote';
}

/** Of what lies on the device major:minor in the directory `fd`. */
export function describeFileSystem(fd: number, major: number, minor: number): FileSystem {
  const type = statfsSync(`/proc/self/fd/${fd}`).type;
  // why: Node cannot ask for more, and what can takes 3 ms to load.
  if (trustOf({ type }) === 'disk') return { major, minor, type, id: '', mount: '', mountIsUnique: false };
  return parseFileSystem(readFileSystem(fd, major, minor), 0);
}

export const FILE_SYSTEM_SIZE = 40;

/** Reads struct file_system of native/tree/walk.h. */
export function parseFileSystem(bytes: Buffer, at: number): FileSystem {
  return {
    major: bytes.readUInt32LE(at),
    minor: bytes.readUInt32LE(at + 4),
    type: Number(bytes.readBigUInt64LE(at + 8)),
    id: bytes.toString('hex', at + 16, at + 24),
    mount: bytes.readBigUInt64LE(at + 24).toString(),
    mountIsUnique: bytes.readUInt32LE(at + 32) !== 0,
  };
}
