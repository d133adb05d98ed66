/**
 * What a crash of the machine may have torn.
 *
 * Steps of a build are renamed into place without fsync: after a power cut the name may be there and the content
 * not. So each name is noted under the id of this boot before it becomes visible, and its note is removed once the file
 * system has written everything (native/write-back.ts), with those of killed processes. Notes of an earlier boot name what must
 * not be trusted.
 *
 *   <directory>/<boot id>/<name>.<unique>
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Host } from '../base/host.ts';
import { namesIn } from '../base/directory-names.ts';
import { isOwnerAlive } from '../base/owner.ts';

export interface UnsyncedNotes {
  /** To be called before `name` becomes visible; it has no dot. */
  readonly note: (name: string) => void;
  /**
   * Paths of the notes of what is visible by now, each to be removed when the file system has written everything that it
   * holds now; none where this process noted nothing since it was asked last.
   */
  readonly take: () => readonly string[];
}

/**
 * `distrust` removes a thing that an earlier boot left unsynced; it is called before this returns. `isThere`: whether a thing
 * is visible.
 */
export function openUnsyncedNotes(
  directory: string,
  host: Host,
  distrust: (name: string) => void,
  isThere: (name: string) => boolean,
): UnsyncedNotes {
  const boot = bootID();
  const own = join(directory, boot);
  mkdirSync(own, { recursive: true, mode: 0o700 });
  for (const other of readdirSync(directory)) {
    if (other === boot) continue;
    for (const note of namesIn(join(directory, other))) distrust(subjectOf(note));
    rmSync(join(directory, other), { recursive: true, force: true });
  }
  const noted = new Set<string>();

  /** Notes that processes left which were killed: of what is there, and will be written now, and of what has gone. */
  function settled(): readonly string[] {
    const others = namesIn(own).filter((note) => !noted.has(note));
    return others.filter((note) => isThere(subjectOf(note)) || !isOwnerAlive(ownerOf(note)));
  }

  return {
    note(name) {
      // why unique: another process may be having the same thing written back that was removed and is made again here.
      const note = `${name}.${host.unique()}`;
      writeFileSync(join(own, note), '');
      noted.add(note);
    },
    take() {
      if (noted.size === 0) return [];
      const taken = [...noted, ...settled()].map((note) => join(own, note));
      noted.clear();
      return taken;
    },
  };
}

/**
 * Paths of the notes below `directory` that processes of this boot left which are no more, for `system check`; while such a
 * process has them written back, they are among these.
 */
export function leftNotes(directory: string): readonly string[] {
  const own = join(directory, bootID());
  return namesIn(own)
    .filter((note) => !isOwnerAlive(ownerOf(note)))
    .map((note) => join(own, note));
}

function bootID(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

function ownerOf(note: string): string {
  return note.slice(note.indexOf('.') + 1);
}

function subjectOf(note: string): string {
  return note.split('.', 1)[0] ?? note;
}
