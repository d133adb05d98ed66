/** A mount as data: what to put at a place, decided by whoever lays out file systems, done by the launcher. */

/** Directory on the host, as it is. */
export interface BindMount {
  readonly kind: 'bind';
  readonly source: string;
  readonly readonly: boolean;
  /** With what is mounted below it. */
  readonly recursive?: boolean;
}

/** overlayfs over directories of the host. Without `upper` it is read-only. */
export interface OverlayMount {
  readonly kind: 'overlay';
  /** Topmost first; up to 500. */
  readonly lower: readonly string[];
  readonly upper?: string;
  readonly work?: string;
  /** Skip syncing; the caller syncs what it keeps. */
  readonly volatile?: boolean;
}

export type Mount = BindMount | OverlayMount;
