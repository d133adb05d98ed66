/**
 * What the drivers share: one directory per snapshot, staged and renamed into place.
 *
 *   committed/<chainID hex>/fs          the files (of one layer for `overlay`, all of them for `copy`)
 *   committed/<chainID hex>/info.json   { "parent": chainID or null }
 *   staging/<owner>/…                   being made; swept when the owner is dead
 *   unsynced/<boot>/<chainID hex>       see src/layer/unsynced.ts
 *
 * A snapshot exists if and only if its directory does: rename(2) is the commit.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hexOf, isDigest, type ChainID } from '../src/base/digest.ts';
import { errnoOf, ioError, TsbuildError } from '../src/base/errors.ts';
import type { Host } from '../src/base/host.ts';
import { isJsonObject } from '../src/base/json.ts';
import { isOwnerAlive, sweepUnowned } from '../src/base/owner.ts';
import { openUnsyncedNotes } from '../src/layer/unsynced.ts';
import type { SnapshotInfo, SnapshotName } from './snapshotter.ts';

export interface SnapshotStore {
  /** Directory with the files of a committed snapshot. */
  filesOf(name: SnapshotName): string;
  info(name: SnapshotName): SnapshotInfo | undefined;
  /** As `info`; throws SNAPSHOT_NOT_FOUND. */
  require(name: SnapshotName): SnapshotInfo;
  /** From `name` to the lowest, topmost first. */
  chain(name: SnapshotName | undefined): readonly SnapshotName[];
  list(): readonly SnapshotName[];
  /** A new private directory; the caller commits or removes it. */
  stage(): string;
  commit(staged: string, info: SnapshotInfo): SnapshotInfo;
  remove(name: SnapshotName): void;
  sync(): void;
  check(): readonly string[];
}

export function openSnapshotStore(root: string, host: Host): SnapshotStore {
  const committed = join(root, 'committed');
  const staging = join(root, 'staging');
  mkdirSync(committed, { recursive: true, mode: 0o700 });
  mkdirSync(staging, { recursive: true, mode: 0o700 });
  sweepUnowned(staging);
  const notes = openUnsyncedNotes(join(root, 'unsynced'), (hex) => {
    discard(join(committed, hex), join(staging, host.unique()));
  });
  const known = new Map<SnapshotName, SnapshotInfo>();
  const place = (name: SnapshotName): string => join(committed, hexOf(name));

  function info(name: SnapshotName): SnapshotInfo | undefined {
    // why: another process may have removed what we saw before; a stat is cheap, a mount of nothing is not.
    if (!existsSync(place(name))) known.delete(name);
    const before = known.get(name);
    if (before !== undefined) return before;
    const read = readInfo(place(name), name);
    if (read !== undefined) known.set(name, read);
    return read;
  }

  function require(name: SnapshotName): SnapshotInfo {
    const found = info(name);
    if (found === undefined) throw new TsbuildError('SNAPSHOT_NOT_FOUND', `there is no snapshot ${name}`);
    return found;
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
    filesOf: (name) => join(place(name), 'fs'),
    info,
    require,
    chain: (name) => [...below(name)],
    list,
    stage() {
      const path = join(staging, host.unique());
      mkdirSync(path, { mode: 0o700 });
      return path;
    },
    commit(staged, made) {
      try {
        writeFileSync(join(staged, 'info.json'), JSON.stringify({ parent: made.parent ?? null }));
        notes.note(hexOf(made.name));
        renameSync(staged, place(made.name));
      } catch (error) {
        rmSync(staged, { recursive: true, force: true });
        const errno = errnoOf(error);
        // Somebody else made the same state in the meantime: theirs is as good.
        if (errno !== 'ENOTEMPTY' && errno !== 'EEXIST') throw ioError('keep a snapshot', error);
      }
      known.set(made.name, made);
      return made;
    },
    remove(name) {
      if (!existsSync(place(name))) return;
      const user = list().find((other) => other !== name && info(other)?.parent === name);
      if (user !== undefined)
        throw new TsbuildError('STORE_IN_USE', `snapshot ${name} is the parent of ${user}`);
      known.delete(name);
      discard(place(name), join(staging, host.unique()));
    },
    sync: () => {
      notes.sync();
    },
    check: () => [
      ...list().flatMap((name) => problemOf(name, place(name))),
      ...readdirSync(staging)
        .filter((name) => !isOwnerAlive(name))
        .map((name) => `unfinished work ${JSON.stringify(name)} has no owner`),
    ],
  };

  function problemOf(name: SnapshotName, directory: string): readonly string[] {
    const found = readInfo(directory, name);
    if (found === undefined) return [`snapshot ${name} has no readable description`];
    if (!existsSync(join(directory, 'fs'))) return [`snapshot ${name} has no files`];
    const { parent } = found;
    return parent === undefined || existsSync(place(parent))
      ? []
      : [`snapshot ${name} lacks its parent ${parent}`];
  }
}

/** Renamed first, so that nobody sees half of it and a crash leaves it to the sweep. */
function discard(directory: string, gone: string): void {
  try {
    renameSync(directory, gone);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return;
    throw ioError('remove a snapshot', error);
  }
  rmSync(gone, { recursive: true, force: true });
}

function readInfo(directory: string, name: SnapshotName): SnapshotInfo | undefined {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(join(directory, 'info.json'), 'utf8'));
  } catch {
    return undefined;
  }
  const parent = isJsonObject(value) ? value['parent'] : undefined;
  if (parent === null) return { name, parent: undefined };
  return typeof parent === 'string' && isDigest(parent)
    ? { name, parent: parent as string as ChainID }
    : undefined;
}
