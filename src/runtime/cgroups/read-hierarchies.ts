/** The hierarchies of this machine, as this process sees them (see hierarchies.ts). */
import { accessSync, constants, readFileSync } from 'node:fs';
import { parseHierarchies, type Hierarchies, type Hierarchy } from './hierarchies.ts';

export function readHierarchies(): Hierarchies {
  return parseHierarchies(
    readFileSync('/proc/self/mountinfo', 'utf8'),
    readFileSync('/proc/self/cgroup', 'utf8'),
    (mountPoint) => {
      try {
        return readFileSync(`${mountPoint}/cgroup.controllers`, 'latin1');
      } catch {
        return '';
      }
    },
  );
}

/** Those that cgroups can be made in: inside of a container they are often mounted read-only. */
export function readWritableHierarchies(): Hierarchies {
  const { v1, unified } = readHierarchies();
  return {
    v1: v1.filter(isWritable),
    ...(unified === undefined || !isWritable(unified) ? {} : { unified }),
  };
}

function isWritable({ mountPoint }: Hierarchy): boolean {
  try {
    accessSync(mountPoint, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
