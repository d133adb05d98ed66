/** A file system of btrfs in an image of its own, on a loop device that goes with its mount. */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';

/** Why there is none. */
export function mountBtrfs(image: string, mountpoint: string): string | undefined {
  mkdirSync(mountpoint);
  return (
    run('truncate', '-s', '2G', image) ??
    run('mkfs.btrfs', '-q', image) ??
    run('mount', '-o', 'loop,noatime', image, mountpoint)
  );
}

/** Lazily: what this process still looks into goes with it. */
export function unmountBtrfs(mountpoint: string): void {
  run('umount', '-l', mountpoint);
}

/** Why it failed. */
function run(program: string, ...args: readonly string[]): string | undefined {
  const { status, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
  return status === 0 ? undefined : `${program}: ${error?.message ?? stderr.trim()}`;
}
