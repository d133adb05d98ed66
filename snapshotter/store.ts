/**
 * What the drivers share: one directory per snapshot, staged and renamed into place.
 *
 *   committed/<chainID hex>/fs          the files (of one layer for `overlay`, all of them for `copy`)
 *   committed/<chainID hex>/index, tar  a layer that was not unpacked (`erofs`)
 *   committed/<chainID hex>/info.json   { "parent": chainID or null, and what the driver notes }
 *   staging/<owner>/…                   being made; swept when the owner is dead
 *   unsynced/<boot>/<chainID hex>.…     see src/layer/unsynced.ts
 *
 * A snapshot exists if and only if its directory does: rename(2) is the commit.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hexOf, isDigest, type ChainID } from '../src/base/digest.ts';
import { errnoOf, ioError, TsbuildError } from '../src/base/errors.ts';
import type { Host } from '../src/base/host.ts';
import { isJsonObject, type JsonObject } from '../src/base/json.ts';
import { isOwnerAlive, sweepUnowned } from '../src/base/owner.ts';
import { noRetention, type Retention } from '../src/base/retention.ts';
import { usageOf } from '../src/base/usage.ts';
import { openUnsyncedNotes } from '../src/layer/unsynced.ts';
import type { SnapshotInfo, SnapshotName } from './snapshotter.ts';
import { removeTree } from '../src/base/remove-tree.ts';

/** What lies in a snapshot's directory: its files, or an index of a tar. */
export type SnapshotForm = 'fs' | 'index';

export interface SnapshotStore {
  /** Directory of a committed snapshot. */
  placeOf(name: SnapshotName): string;
  /** Directory with the files of a committed snapshot that has the form `fs`. */
  filesOf(name: SnapshotName): string;
  /** undefined: there is none that this store can use. */
  formOf(name: SnapshotName): SnapshotForm | undefined;
  /** What `commit` was given to note. */
  notesOf(name: SnapshotName): JsonObject;
  /** undefined: there is none that this store can use. */
  info(name: SnapshotName): SnapshotInfo | undefined;
  /** As `info`, of those too that only another driver can use. */
  recorded(name: SnapshotName): SnapshotInfo | undefined;
  /** As `info`; throws SNAPSHOT_NOT_FOUND. */
  require(name: SnapshotName): SnapshotInfo;
  /** From `name` to the lowest, topmost first. */
  chain(name: SnapshotName | undefined): readonly SnapshotName[];
  list(): readonly SnapshotName[];
  /** A new private directory; the caller commits or removes it. */
  stage(): string;
  commit(staged: string, info: SnapshotInfo, notes?: JsonObject): SnapshotInfo;
  remove(name: SnapshotName): void;
  unsynced(): readonly string[];
  check(): readonly string[];
}

/**
 * `forms`: names of which a snapshot must have one to be used. Drivers may share a root: what one of them cannot use is
 * not there for it, and is replaced where it makes the same. `clear` may take away what is in a directory that goes, where it
 * need not be removed file by file.
 */
export function openSnapshotStore(
  root: string,
  host: Host,
  forms: readonly SnapshotForm[] = ['fs'],
  retention: Retention = noRetention,
  clear: (directory: string) => void = () => undefined,
): SnapshotStore {
  const committed = join(root, 'committed');
  const staging = join(root, 'staging');
  mkdirSync(committed, { recursive: true, mode: 0o700 });
  mkdirSync(staging, { recursive: true, mode: 0o700 });
  sweepUnowned(staging);
  const notes = openUnsyncedNotes(
    join(root, 'unsynced'),
    host,
    (hex) => discard(join(committed, hex), join(staging, host.unique()), clear),
    (hex) => existsSync(join(committed, hex)),
  );
  const known = new Map<SnapshotName, Recorded>();
  /** Forms of what this process has looked at since it keeps it. */
  const held = new Map<SnapshotName, SnapshotForm>();
  /** Those whose parents, all of them, this store can use. */
  const whole = new Set<SnapshotName>();
  const place = (name: SnapshotName): string => join(committed, hexOf(name));

  function formOf(name: SnapshotName): SnapshotForm | undefined {
    return held.get(name) ?? seenForm(name);
  }

  function seenForm(name: SnapshotName): SnapshotForm | undefined {
    return forms.find((form) => existsSync(join(place(name), form)));
  }

  /** Whether this store can use it or not. */
  function record(name: SnapshotName): Recorded | undefined {
    // why: another process may have removed what we saw before; a stat is cheap, a mount of nothing is not.
    if (!held.has(name) && !existsSync(place(name))) known.delete(name);
    const read = known.get(name) ?? readRecord(place(name), name);
    if (read !== undefined) known.set(name, read);
    return read;
  }

  function recorded(name: SnapshotName): SnapshotInfo | undefined {
    return record(name)?.info;
  }

  function info(name: SnapshotName): SnapshotInfo | undefined {
    if (!retention.hold('snapshot', name)) held.delete(name);
    const form = formOf(name);
    const found = form === undefined ? undefined : recorded(name);
    if (form !== undefined && retention.hold('snapshot', name)) held.set(name, form);
    if (found === undefined || whole.has(name)) return found;
    if (found.parent !== undefined && info(found.parent) === undefined) return undefined;
    whole.add(name);
    return found;
  }

  function require(name: SnapshotName): SnapshotInfo {
    const found = info(name);
    if (found === undefined) throw new TsbuildError('SNAPSHOT_NOT_FOUND', `there is no snapshot ${name}`);
    return found;
  }

  function keep(staged: string, name: SnapshotName): void {
    try {
      renameSync(staged, place(name));
    } catch (error) {
      const errno = errnoOf(error);
      if (errno !== 'ENOTEMPTY' && errno !== 'EEXIST') throw error;
      // Somebody else made the same state in the meantime: theirs is as good, where we can use it.
      if (formOf(name) !== undefined) {
        removeTree(staged);
        return;
      }
      discard(place(name), join(staging, host.unique()), clear);
      renameSync(staged, place(name));
    }
  }

  function* below(name: SnapshotName | undefined): Generator<SnapshotName> {
    for (let at = name; at !== undefined; at = require(at).parent) yield at;
  }

  function list(): readonly SnapshotName[] {
    return readdirSync(committed)
      .map((hex) => `sha256:${hex}`)
      .filter(isDigest) as readonly string[] as readonly ChainID[];
  }

  return {
    placeOf: place,
    filesOf: (name) => join(place(name), 'fs'),
    formOf,
    notesOf: (name) => record(name)?.notes ?? {},
    info,
    recorded,
    require,
    chain: (name) => [...below(name)],
    list,
    stage() {
      const path = join(staging, host.unique());
      try {
        mkdirSync(path, { mode: 0o700 });
      } catch (error) {
        throw ioError('begin a snapshot', error);
      }
      return path;
    },
    commit(staged, made, noted = {}) {
      try {
        writeFileSync(join(staged, 'info.json'), JSON.stringify({ ...noted, parent: made.parent ?? null }));
        retention.hold('snapshot', made.name);
        retention.reserve(() => ownSize(staged));
        notes.note(hexOf(made.name));
        keep(staged, made.name);
      } catch (error) {
        removeTree(staged);
        throw ioError('keep a snapshot', error);
      }
      known.delete(made.name);
      held.delete(made.name);
      return made;
    },
    remove(name) {
      if (!existsSync(place(name))) return;
      const user = list().find((other) => other !== name && recorded(other)?.parent === name);
      if (user !== undefined)
        throw new TsbuildError('STORE_IN_USE', `snapshot ${name} is the parent of ${user}`);
      known.delete(name);
      held.delete(name);
      whole.delete(name);
      discard(place(name), join(staging, host.unique()), clear);
    },
    unsynced: notes.take,
    check: () => [
      ...list().flatMap((name) => problemOf(name, place(name))),
      ...readdirSync(staging)
        .filter((name) => !isOwnerAlive(name))
        .map((name) => `unfinished work ${JSON.stringify(name)} has no owner`),
    ],
  };

  function problemOf(name: SnapshotName, directory: string): readonly string[] {
    const found = readRecord(directory, name)?.info;
    if (found === undefined) return [`snapshot ${name} has no readable description`];
    if (!existsSync(join(directory, 'fs')) && !existsSync(join(directory, 'index')))
      return [`snapshot ${name} has no files`];
    const { parent } = found;
    return parent === undefined || existsSync(place(parent))
      ? []
      : [`snapshot ${name} lacks its parent ${parent}`];
  }
}

/** Bytes without the tar, which lies in the layer store, too. */
function ownSize(staged: string): number {
  return readdirSync(staged)
    .filter((name) => name !== 'tar')
    .reduce((sum, name) => sum + usageOf(join(staged, name)).size, 0);
}

/** Renamed first, so that nobody sees half of it and a crash leaves it to the sweep. */
function discard(directory: string, gone: string, clear: (directory: string) => void): void {
  try {
    renameSync(directory, gone);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return;
    throw ioError('remove a snapshot', error);
  }
  clear(gone);
  removeTree(gone);
}

function readDocument(directory: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(join(directory, 'info.json'), 'utf8'));
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

interface Recorded {
  readonly info: SnapshotInfo;
  readonly notes: JsonObject;
}

function readRecord(directory: string, name: SnapshotName): Recorded | undefined {
  const notes = readDocument(directory);
  const parent = notes?.['parent'];
  if (notes === undefined) return undefined;
  if (parent === null) return { info: { name, parent: undefined }, notes };
  return typeof parent === 'string' && isDigest(parent)
    ? { info: { name, parent: parent as string as ChainID }, notes }
    : undefined;
}
