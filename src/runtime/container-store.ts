/**
 * The container store: which containers there are, by id, by name and by a unique beginning of an id.
 *
 * A container exists if and only if `ROOT/containers/<id>` does: it is made beside and renamed into place, and
 * renamed away before its files are removed. A name is a file that is created exclusively; it counts while the
 * container that it names bears that name, or while the process that made it lives.
 */
import { linkSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { claimFile, readTextIfExists, writeFileAtomic } from '../base/atomic-file.ts';
import { namesIn } from '../base/directory-names.ts';
import { errnoOf, ioError, TsbuildError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { isOwnerAlive, sweepUnowned } from '../base/owner.ts';
import {
  shortID,
  type ContainerConfig,
  type ContainerID,
  type ContainerState,
  type StoredContainer,
} from './container.ts';
import { readConfig, readState } from './container-files.ts';
import { randomName } from './container-name.ts';
import { removeTree } from '../base/remove-tree.ts';

export interface ContainerStore {
  /** The directory of all of them. */
  readonly root: string;
  /**
   * A new container; `make` gets its id and its name (`name`, or a free random one). Throws
   * CONTAINER_NAME_IN_USE, USAGE (a malformed name), DISK_FULL, IO_FAILED; nothing is left then.
   */
  create(
    name: string | undefined,
    make: (identity: { readonly id: ContainerID; readonly name: string }) => ContainerConfig,
  ): StoredContainer;
  /** By id, name or unique beginning of an id; throws CONTAINER_NOT_FOUND where the beginning is ambiguous. */
  find(reference: string): StoredContainer | undefined;
  /** As `find`; throws CONTAINER_NOT_FOUND. */
  require(reference: string): StoredContainer;
  get(id: ContainerID): StoredContainer | undefined;
  /** Newest first. */
  list(): readonly StoredContainer[];
  /** Puts `config` in the place of the stored one. */
  save(config: ContainerConfig): void;
  /** For a container without a monitor only: whoever holds it writes its state. */
  saveState(id: ContainerID, state: ContainerState): void;
  rename(id: ContainerID, name: string): void;
  /** Idempotent. Nothing of it may run. */
  remove(id: ContainerID): void;
  /** Removes what killed processes left half made or half removed; returns how many things. */
  sweep(): number;
  directoryOf(id: ContainerID): string;
}

export interface ContainerStoreOptions {
  /** `ROOT/containers`. */
  readonly root: string;
  readonly host: Host;
  readonly random: (size: number) => Uint8Array;
}

const ID = /^[0-9a-f]{64}$/;
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;
/** Longer ones do not fit into a host name or a file name with a suffix. */
const MAX_NAME = 200;

export function openContainerStore({ root, host, random }: ContainerStoreOptions): ContainerStore {
  const directoryOf = (id: ContainerID): string => join(root, id);
  const nameFile = (name: string): string => join(root, 'names', name);

  function get(id: ContainerID): StoredContainer | undefined {
    const directory = directoryOf(id);
    const config = readConfig(directory);
    return config === undefined ? undefined : { id, config, state: readState(directory), directory };
  }

  function byName(name: string): StoredContainer | undefined {
    if (!NAME.test(name)) return undefined;
    const [id = ''] = (readTextIfExists(nameFile(name)) ?? '').split('\n');
    const found = ID.test(id) ? get(id) : undefined;
    return found?.config.name === name ? found : undefined;
  }

  const ids = (): readonly ContainerID[] => namesIn(root).filter((name) => ID.test(name));

  function byPrefix(prefix: string): StoredContainer | undefined {
    if (!/^[0-9a-f]{1,64}$/.test(prefix)) return undefined;
    const matching = ids().filter((id) => id.startsWith(prefix));
    if (matching.length > 1)
      throw new TsbuildError(
        'CONTAINER_NOT_FOUND',
        `${JSON.stringify(prefix)} is the beginning of ${matching.length} container ids`,
        { hint: 'write more of it' },
      );
    const [only] = matching;
    return only === undefined ? undefined : get(only);
  }

  function find(reference: string): StoredContainer | undefined {
    const name = reference.replace(/^\//, '');
    return (ID.test(name) ? get(name) : undefined) ?? byName(name) ?? byPrefix(name);
  }

  /** Whether the name is ours now. */
  function claim(name: string, id: ContainerID): boolean {
    const claimed = `${id}\n${host.unique()}\n`;
    for (;;)
      try {
        if (claimFile(host, nameFile(name), claimed, 0o600)) return true;
        if (!freeStale(name)) return false;
      } catch (error) {
        if (errnoOf(error) !== 'ENOENT') throw ioError(`claim the name ${JSON.stringify(name)}`, error);
        mkdirSync(join(root, 'names'), { recursive: true, mode: 0o700 });
      }
  }

  /** Takes a name away that counts no more. */
  function freeStale(name: string): boolean {
    const text = readTextIfExists(nameFile(name));
    if (text === undefined) return true;
    if (!isStale(name, text)) return false;
    // why: renamed and looked at again, since somebody may have claimed it between the look and the removal.
    const away = join(make('removing'), host.unique());
    try {
      renameSync(nameFile(name), away);
      if (readTextIfExists(away) !== text) linkSync(away, nameFile(name));
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'EEXIST')
        throw ioError(`free the name ${JSON.stringify(name)}`, error);
    }
    rmSync(away, { force: true });
    return true;
  }

  function isStale(name: string, text: string): boolean {
    const [id = '', owner = ''] = text.split('\n');
    return get(id)?.config.name !== name && !isOwnerAlive(owner);
  }

  function make(directory: 'creating' | 'removing'): string {
    const path = join(root, directory);
    mkdirSync(path, { recursive: true, mode: 0o700 });
    return path;
  }

  function claimSome(name: string | undefined, id: ContainerID): string {
    if (name === undefined)
      for (let tried = 0; ; tried += 1) {
        const given = randomName(random(4), tried);
        if (claim(given, id)) return given;
      }
    requireName(name);
    if (!claim(name, id)) throw inUse(name, byName(name));
    return name;
  }

  return {
    root,
    directoryOf,
    get,
    find,
    require(reference) {
      const found = find(reference);
      if (found !== undefined) return found;
      throw new TsbuildError('CONTAINER_NOT_FOUND', `no such container: ${JSON.stringify(reference)}`, {
        hint: 'list what there is with "tsbuild ps -a"',
      });
    },
    list: () =>
      ids()
        .flatMap((id) => get(id) ?? [])
        .sort((a, b) => (a.config.created < b.config.created ? 1 : -1)),
    create(wanted, describe) {
      const id = Buffer.from(random(32)).toString('hex');
      const name = claimSome(wanted, id);
      const staged = join(make('creating'), host.unique());
      try {
        const config = describe({ id, name });
        mkdirSync(staged, { mode: 0o700 });
        writeFileSync(join(staged, 'config.json'), JSON.stringify(config), { mode: 0o600 });
        renameSync(staged, directoryOf(id));
        return { id, config, state: readState(directoryOf(id)), directory: directoryOf(id) };
      } catch (error) {
        removeTree(staged);
        rmSync(nameFile(name), { force: true });
        throw ioError('create a container', error);
      }
    },
    save(config) {
      writeFileAtomic(host, join(directoryOf(config.id), 'config.json'), JSON.stringify(config), {
        mode: 0o600,
      });
    },
    saveState(id, state) {
      // What health.json says is the monitor's alone.
      const text = `${JSON.stringify({ ...state, health: undefined })}\n`;
      writeFileAtomic(host, join(directoryOf(id), 'state.json'), text, { mode: 0o600 });
    },
    rename(id, name) {
      const found = get(id);
      if (found === undefined || found.config.name === name) return;
      requireName(name);
      if (!claim(name, id)) throw inUse(name, byName(name));
      this.save({ ...found.config, name });
      rmSync(nameFile(found.config.name), { force: true });
    },
    remove(id) {
      const gone = join(make('removing'), host.unique());
      const name = get(id)?.config.name;
      try {
        renameSync(directoryOf(id), gone);
      } catch (error) {
        if (errnoOf(error) !== 'ENOENT') throw ioError(`remove container ${shortID(id)}`, error);
      }
      if (name !== undefined && readTextIfExists(nameFile(name))?.startsWith(id) === true)
        rmSync(nameFile(name), { force: true });
      removeTree(gone);
    },
    sweep() {
      const stale = namesIn(join(root, 'names')).filter((name) => {
        const text = readTextIfExists(nameFile(name));
        return text !== undefined && isStale(name, text) && freeStale(name);
      });
      return stale.length + sweepUnowned(join(root, 'creating')) + sweepUnowned(join(root, 'removing'));
    },
  };
}

function requireName(name: string): void {
  if (NAME.test(name) && name.length <= MAX_NAME) return;
  throw new TsbuildError('USAGE', `invalid container name ${JSON.stringify(name)}`, {
    hint: 'begin with a letter or digit, go on with letters, digits, "_", "." and "-"',
  });
}

function inUse(name: string, owner: StoredContainer | undefined): TsbuildError {
  const by = owner === undefined ? '' : ` by container ${shortID(owner.id)}`;
  return new TsbuildError(
    'CONTAINER_NAME_IN_USE',
    `the container name ${JSON.stringify(name)} is already in use${by}`,
    { hint: 'remove or rename that container, or choose another name' },
  );
}
