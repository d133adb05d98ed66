/** What the runtime must know of the machine, looked up once. */
import { mkdirSync, readFileSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import type { Platform } from '../oci/documents.ts';
import type { Machine } from '../runtime/layout.ts';

/** CGROUP2_SUPER_MAGIC, include/uapi/linux/magic.h. */
const CGROUP2_MAGIC = 0x63677270;

export function probeMachine(root: string, platform: Platform): Machine {
  const mountPoint = join(root, 'mnt');
  mkdirSync(mountPoint, { recursive: true, mode: 0o700 });
  return {
    arch: platform.architecture,
    cgroup2: isCgroup2('/sys/fs/cgroup'),
    bounding: boundingSet(),
    mountPoint,
  };
}

/** CapBnd of proc(5), /proc/pid/status. */
function boundingSet(): bigint {
  const bits = /^CapBnd:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1];
  return BigInt(`0x${bits ?? '0'}`);
}

function isCgroup2(path: string): boolean {
  try {
    return statfsSync(path).type === CGROUP2_MAGIC;
  } catch {
    return false;
  }
}
