/**
 * Volumes: directories that outlive containers.
 *
 *   ROOT/volumes/<name>/_data           what containers see
 *                       volume.json     { created, labels, options, anonymous }, written last: it makes the volume
 *                       holders/<id>.<owner>   one empty file per container that has it
 *
 * A holder counts while its container exists, or while the process that made it lives. Removing begins with rmdir(2)
 * of `holders`, holding with making a file in it: the kernel decides which of two comes first. What is left is
 * renamed to ROOT/volumes/.removing/<owner> before it is deleted, so a killed process leaves nothing half.
 */
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { readJsonIfExists, writeFileAtomic } from '../base/atomic-file.ts';
import { namesIn } from '../base/directory-names.ts';
import { errnoOf, ioError, TsbuildError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { isJsonObject, type JsonObject } from '../base/json.ts';
import { isOwnerAlive, sweepUnowned } from '../base/owner.ts';
import { sizeIfThere } from '../base/usage.ts';
import { isVolumeName, VOLUME_NAME_RULE } from './volume-name.ts';
import { removeTree } from '../base/remove-tree.ts';

export interface Volume {
  readonly name: string;
  /** Absolute path of what containers see. */
  readonly mountpoint: string;
  /** RFC 3339. */
  readonly created: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, string>>;
  /** Made for one container that did not name it. */
  readonly anonymous: boolean;
}

export interface VolumeRequest {
  /** Absent: an anonymous one, named by 64 hex digits. */
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly options?: Readonly<Record<string, string>>;
}

export interface Volumes {
  /** Idempotent: a volume that is there already stays as it is. Throws USAGE, DISK_FULL, IO_FAILED. */
  create(request: VolumeRequest): Volume;
  find(name: string): Volume | undefined;
  /** As `find`; throws VOLUME_NOT_FOUND. */
  require(name: string): Volume;
  /** By name. */
  list(): readonly Volume[];
  /** Ids of the containers that have it. */
  holders(name: string): readonly string[];
  /** Makes it (as `create`) and keeps it from being removed while the container exists. */
  hold(request: VolumeRequest, containerID: string): Volume;
  /** Idempotent. */
  release(name: string, containerID: string): void;
  /** Throws VOLUME_NOT_FOUND, VOLUME_IN_USE. */
  remove(name: string): void;
  /** Removes what no container has and `selects` accepts; the names, and the bytes that they had. */
  prune(selects: (volume: Volume) => boolean): {
    readonly removed: readonly string[];
    readonly freed: number;
  };
  /** What killed processes left; returns how many things. */
  sweep(): number;
}

export interface VolumesOptions {
  /** `ROOT/volumes`. */
  readonly root: string;
  readonly host: Host;
  readonly random: (size: number) => Uint8Array;
  readonly containerExists: (id: string) => boolean;
}

export function openVolumes({ root, host, random, containerExists }: VolumesOptions): Volumes {
  const at = (name: string, ...more: readonly string[]): string => join(root, name, ...more);

  function find(name: string): Volume | undefined {
    const value = isVolumeName(name) ? readJsonIfExists(at(name, 'volume.json')) : undefined;
    if (!isJsonObject(value)) return undefined;
    return {
      name,
      mountpoint: at(name, '_data'),
      created: typeof value['created'] === 'string' ? value['created'] : '',
      labels: textsOf(value, 'labels'),
      options: textsOf(value, 'options'),
      anonymous: value['anonymous'] === true,
    };
  }

  function create(request: VolumeRequest): Volume {
    const { name = anonymousName(), labels = {}, options = {} } = request;
    const existing = find(requireName(name));
    if (existing !== undefined) return existing;
    checkOptions(options);
    const created = new Date(host.now()).toISOString();
    const anonymous = request.name === undefined;
    try {
      mkdirSync(at(name, 'holders'), { recursive: true, mode: 0o700 });
      mkdirSync(at(name, '_data'), { recursive: true, mode: 0o755 });
      const record = JSON.stringify({ created, labels, options, anonymous });
      writeFileAtomic(host, at(name, 'volume.json'), record, { durable: true });
    } catch (error) {
      throw ioError(`create volume ${JSON.stringify(name)}`, error);
    }
    return { name, mountpoint: at(name, '_data'), created, labels, options, anonymous };
  }

  function anonymousName(): string {
    return Buffer.from(random(32)).toString('hex');
  }

  function require(name: string): Volume {
    const volume = find(name);
    if (volume !== undefined) return volume;
    throw new TsbuildError('VOLUME_NOT_FOUND', `get ${name}: no such volume`, {
      hint: 'list what there is with "tsbuild volume ls"',
    });
  }

  function holders(name: string): readonly string[] {
    const living = namesIn(at(name, 'holders')).filter(isHolding);
    return [...new Set(living.map((each) => each.slice(0, each.indexOf('.'))))];
  }

  function isHolding(holder: string): boolean {
    const dot = holder.indexOf('.');
    return containerExists(holder.slice(0, dot)) || isOwnerAlive(holder.slice(dot + 1));
  }

  function remove(name: string): void {
    require(name);
    for (const holder of namesIn(at(name, 'holders')))
      if (!isHolding(holder)) rmSync(at(name, 'holders', holder), { force: true });
    try {
      rmdirSync(at(name, 'holders'));
    } catch (error) {
      if (errnoOf(error) === 'ENOTEMPTY')
        throw new TsbuildError(
          'VOLUME_IN_USE',
          `remove ${name}: volume is in use - [${holders(name).join(', ')}]`,
          { hint: 'remove those containers first' },
        );
      // Somebody else is removing it.
      if (errnoOf(error) !== 'ENOENT') throw ioError(`remove volume ${JSON.stringify(name)}`, error);
    }
    discard(name);
  }

  function discard(name: string): void {
    const away = join(root, '.removing', host.unique());
    try {
      mkdirSync(join(root, '.removing'), { recursive: true, mode: 0o700 });
      renameSync(at(name), away);
      removeTree(away);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw ioError(`remove volume ${JSON.stringify(name)}`, error);
    }
  }

  /** Somebody removes it just now, and it is made again after that; or was killed doing so, then we finish it. */
  function awaitRemoval(name: string): void {
    const clock = new Int32Array(new SharedArrayBuffer(4));
    for (let waited = 0; waited < REMOVAL_MS && existsSync(at(name)); waited += 5)
      Atomics.wait(clock, 0, 0, 5);
    if (existsSync(at(name)) && !existsSync(at(name, 'holders'))) discard(name);
  }

  return {
    create,
    find,
    require,
    holders,
    remove,
    list: () =>
      namesIn(root)
        .filter(isVolumeName)
        .sort()
        .flatMap((name) => find(name) ?? []),
    hold(request, containerID) {
      for (;;) {
        const volume = create(request);
        try {
          writeFileSync(at(volume.name, 'holders', `${containerID}.${host.unique()}`), '', { flag: 'wx' });
          return volume;
        } catch (error) {
          if (errnoOf(error) !== 'ENOENT') throw ioError(`use volume ${JSON.stringify(volume.name)}`, error);
          awaitRemoval(volume.name);
        }
      }
    },
    release(name, containerID) {
      for (const holder of namesIn(at(name, 'holders')))
        if (holder.startsWith(`${containerID}.`)) rmSync(at(name, 'holders', holder), { force: true });
    },
    prune(selects) {
      const removed: string[] = [];
      let freed = 0;
      for (const volume of this.list()) {
        if (!selects(volume) || holders(volume.name).length > 0) continue;
        const size = sizeIfThere(volume.mountpoint);
        try {
          remove(volume.name);
        } catch (error) {
          if (error instanceof TsbuildError && error.code === 'VOLUME_IN_USE') continue;
          throw error;
        }
        removed.push(volume.name);
        freed += size;
      }
      return { removed, freed };
    },
    sweep() {
      let swept = existsSync(join(root, '.removing')) ? sweepUnowned(join(root, '.removing')) : 0;
      for (const name of namesIn(root).filter(isVolumeName)) {
        const stale = namesIn(at(name, 'holders')).filter((holder) => !isHolding(holder));
        for (const holder of stale) rmSync(at(name, 'holders', holder), { force: true });
        swept += stale.length;
      }
      return swept;
    },
  };
}

/** Between rmdir(2) and rename(2) of a living process lies less. */
const REMOVAL_MS = 1000;

/** Whether nothing is in a volume yet. */
export function isEmptyVolume({ mountpoint }: Volume): boolean {
  return (
    lstatSync(mountpoint, { throwIfNoEntry: false })?.isDirectory() === true &&
    readdirSync(mountpoint).length === 0
  );
}

function requireName(name: string): string {
  if (isVolumeName(name)) return name;
  throw new TsbuildError(
    'USAGE',
    `create ${name}: ${JSON.stringify(name)} includes invalid characters for a local volume name`,
    { hint: VOLUME_NAME_RULE },
  );
}

/** docker's local driver mounts what options say; here a volume is a directory. */
function checkOptions(options: Readonly<Record<string, string>>): void {
  const [unknown] = Object.keys(options);
  if (unknown !== undefined)
    throw new TsbuildError('USAGE', `volume option ${JSON.stringify(unknown)} is not supported`, {
      hint: 'mount the file system on the host, and use its directory as a bind',
    });
}

function textsOf(value: JsonObject, key: string): Readonly<Record<string, string>> {
  const record = value[key];
  if (!isJsonObject(record)) return {};
  return Object.fromEntries(
    Object.entries(record).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}
