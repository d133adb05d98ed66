/**
 * What a crash of the machine may have torn.
 *
 * Steps of a build are renamed into place without fsync: after a power cut the name may be there and the content
 * not. So each name is noted under the id of this boot before it becomes visible, and `sync` takes the notes back
 * once the file system has written everything, with those of killed processes. Notes of an earlier boot name what must not
 * be trusted.
 *
 *   <directory>/<boot id>/<name>
 */
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { ioError } from '../base/errors.ts';
import { namesIn } from '../base/directory-names.ts';
import { syncFileSystem } from '../../native/sys.ts';

export interface UnsyncedNotes {
  /** To be called before `name` becomes visible. */
  readonly note: (name: string) => void;
  /** One syncfs for all that this process noted, none where it noted nothing. Throws DISK_FULL or IO_FAILED. */
  readonly sync: () => Promise<void>;
}

/** Nobody takes so long between a note and what it is of. */
const ABANDONED_MS = 3_600_000;

/**
 * `distrust` removes a thing that an earlier boot left unsynced; it is called before this returns. `isThere`: whether a thing
 * is visible.
 */
export function openUnsyncedNotes(
  directory: string,
  distrust: (name: string) => void,
  isThere: (name: string) => boolean,
): UnsyncedNotes {
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  const own = join(directory, boot);
  mkdirSync(own, { recursive: true, mode: 0o700 });
  for (const other of readdirSync(directory)) {
    if (other === boot) continue;
    for (const name of namesIn(join(directory, other))) distrust(name);
    rmSync(join(directory, other), { recursive: true, force: true });
  }
  const noted = new Set<string>();

  /** Notes that processes left which were killed: of what is there, and will be written now, and of what has gone. */
  function settled(): readonly string[] {
    const others = namesIn(own).filter((name) => !noted.has(name));
    const timeOf = (name: string): number =>
      statSync(join(own, name), { throwIfNoEntry: false })?.mtimeMs ?? 0;
    const latest = Math.max(...[...noted].map(timeOf));
    return others.filter((name) => isThere(name) || latest - timeOf(name) > ABANDONED_MS);
  }

  return {
    note(name) {
      writeFileSync(join(own, name), '');
      noted.add(name);
    },
    async sync() {
      const written = [...noted];
      if (written.length === 0) return;
      const left = settled();
      try {
        const fd = openSync(directory, 'r');
        try {
          await syncFileSystem(fd);
        } finally {
          closeSync(fd);
        }
      } catch (error) {
        throw ioError('write back what was built', error);
      }
      for (const name of written) {
        rmSync(join(own, name), { force: true });
        noted.delete(name);
      }
      for (const name of left) rmSync(join(own, name), { force: true });
    },
  };
}
