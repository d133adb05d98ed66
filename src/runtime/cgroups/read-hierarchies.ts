/** The hierarchies of this machine, as this process sees them (see hierarchies.ts). */
import { readFileSync } from 'node:fs';
import { parseHierarchies, type Hierarchies } from './hierarchies.ts';

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
