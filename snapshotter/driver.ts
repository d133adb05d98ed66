/** Names of the drivers, best first. */
export const DRIVERS = ['erofs', 'overlay', 'fuse-overlayfs', 'btrfs', 'copy'] as const;

export type Driver = (typeof DRIVERS)[number];

/** Whether its snapshots are complete trees, and so are the files of a container: not only what changed. */
export function keepsWholeTrees(driver: string): boolean {
  return driver === 'copy' || driver === 'btrfs';
}

export function isDriver(name: string): name is Driver {
  return (DRIVERS as readonly string[]).includes(name);
}
