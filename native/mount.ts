/** A mount as data: what to put at a place, decided by whoever lays out file systems, done by the launcher. */

/** Directory on the host, as it is. */
export interface BindMount {
  readonly kind: 'bind';
  readonly source: string;
  readonly readonly: boolean;
  /** With what is mounted below it. */
  readonly recursive?: boolean;
}

/** An EROFS image whose files' contents are blocks of tars (tree/index.c). */
export interface LayerImage {
  readonly index: string;
  /** Paths, in the order in which the index knows them. */
  readonly tars: readonly string[];
  /** What the kernel mounts: the files themselves (Linux 6.12), or loop devices of them. */
  readonly device: 'file' | 'loop';
  /** Before Linux 6.15 overlayfs takes nothing that is attached nowhere. */
  readonly attached: boolean;
}

/** Path of a directory of the host, or an image. */
export type Lower = string | LayerImage;

/** overlayfs. Without `upper` it is read-only; one lower directory alone is shown as it is. */
export interface OverlayMount {
  readonly kind: 'overlay';
  /** Topmost first; up to 500. */
  readonly lower: readonly Lower[];
  readonly upper?: string;
  readonly work?: string;
  /** Skip syncing; the caller syncs what it keeps. */
  readonly volatile?: boolean;
  /** Path of fuse-overlayfs, where that shows it and not the kernel. All of `lower` are directories then. */
  readonly program?: string;
}

export type Mount = BindMount | OverlayMount;

/** Characters that fuse-overlayfs takes for its own in paths. */
export const RESERVED_IN_PATHS = /[,:\\]/;

/** What fuse-overlayfs is told of an overlay, none of whose paths has a reserved character. */
export function programOptions({ lower, upper, work }: OverlayMount): string {
  const lowers = lower.filter((each) => typeof each === 'string').join(':');
  // why: what a process wrote is in the upper directory when it has ended, and not on its way there.
  const writing = upper === undefined ? '' : `,upperdir=${upper},workdir=${work ?? ''},writeback=0`;
  return `lowerdir=${lowers}${writing}`;
}

/** A lower directory as native code reads it in lists of strings (erofs-mount.h). */
export function lowerStrings(lower: Lower): readonly string[] {
  if (typeof lower === 'string') return [lower];
  const how = `${lower.device === 'file' ? 'f' : 'l'}${lower.attached ? 'a' : ''}`;
  return ['', how, lower.index, ...lower.tars, ''];
}
