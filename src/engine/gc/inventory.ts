/**
 * What lies in a state root that garbage collection may have to do with: read from the directories, without holding
 * anything. Sizes are allocated bytes; a layer's tar that a snapshot links to counts for the layer.
 */
import { lstatSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { readJsonIfExists } from '../../base/atomic-file.ts';
import { chainIDOf, hexOf, isDigest, type ChainID, type Digest, type DiffID } from '../../base/digest.ts';
import { namesIn } from '../../base/directory-names.ts';
import { isJsonObject } from '../../base/json.ts';
import { isOwnerAlive, ownerOfHalf } from '../../base/owner.ts';
import { parseRecord } from '../../solver/records.ts';
import type { StepRecord } from '../../solver/handler.ts';
import { readHeld } from './leases.ts';
import { sizeOfTree, type SizeNotes } from './tree-size.ts';

/** A file or a directory that can be moved away as one. */
export interface Item {
  readonly path: string;
  readonly size: number;
  /** Milliseconds since the epoch: when it was made, or last used where that is noted. */
  readonly used: number;
}

export interface SnapshotItem extends Item {
  readonly name: ChainID;
  readonly parent: ChainID | undefined;
  /** Below `snapshots/`. */
  readonly driver: string;
  /** It has the tar of its layer, which may have no other name. */
  readonly tarPath: string | undefined;
}

export interface RecordItem extends Item {
  readonly record: StepRecord;
  /** Of its result; undefined for files. */
  readonly chains: readonly ChainID[];
}

export interface Inventory {
  readonly layers: ReadonlyMap<DiffID, Item>;
  readonly blobs: ReadonlyMap<Digest, Item>;
  readonly snapshots: readonly SnapshotItem[];
  /** Cache mounts by name. */
  readonly caches: ReadonlyMap<string, Item & { readonly id: string | undefined }>;
  /** Mirrors of git repositories by name. */
  readonly repositories: ReadonlyMap<string, Item>;
  /** Blobs that a layer is kept as, compressed: by diffID. */
  readonly compressed: ReadonlyMap<DiffID, readonly Digest[]>;
}

/** Everything but records, which have to be read one by one. */
export function takeInventory(root: string, notes: SizeNotes): Inventory {
  const layers = new Map(layerItems(root));
  return {
    layers,
    blobs: new Map(blobItems(root)),
    snapshots: snapshotItems(root, notes),
    caches: new Map(cacheItems(root, notes)),
    repositories: new Map(repositoryItems(root)),
    compressed: readCompressed(root),
  };
}

/** Bytes of all of it. */
export function totalSize({ layers, blobs, snapshots, caches, repositories }: Inventory): number {
  return [layers.values(), blobs.values(), snapshots, caches.values(), repositories.values()].reduce(
    (total, items) => total + sumOf(items),
    0,
  );
}

export function sumOf(items: Iterable<Item>): number {
  let sum = 0;
  for (const { size } of items) sum += size;
  return sum;
}

function statIfThere(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

function fileItem(path: string): Item | undefined {
  const stat = statIfThere(path);
  return stat === undefined ? undefined : { path, size: stat.blocks * 512, used: stat.mtimeMs };
}

function* layerItems(root: string): Generator<[DiffID, Item]> {
  const directory = join(root, 'layers/sha256');
  for (const shard of namesIn(directory))
    for (const name of namesIn(join(directory, shard))) {
      const digest = `sha256:${shard}${name.replace(/\.tar$/, '')}`;
      const item = isDigest(digest) ? fileItem(join(directory, shard, name)) : undefined;
      if (item !== undefined) yield [digest as DiffID, item];
    }
}

function* blobItems(root: string): Generator<[Digest, Item]> {
  for (const algorithm of ['sha256', 'sha512']) {
    const directory = join(root, 'content/blobs', algorithm);
    for (const shard of namesIn(directory))
      for (const name of namesIn(join(directory, shard))) {
        const digest = `${algorithm}:${shard}${name}`;
        const item = isDigest(digest) ? fileItem(join(directory, shard, name)) : undefined;
        if (item !== undefined) yield [digest as Digest, item];
      }
  }
}

function snapshotItems(root: string, notes: SizeNotes): readonly SnapshotItem[] {
  return namesIn(join(root, 'snapshots')).flatMap((driver) => {
    const committed = join(root, 'snapshots', driver, 'committed');
    return namesIn(committed).flatMap((hex) => {
      const name = `sha256:${hex}`;
      const item = isDigest(name) ? snapshotItem(join(committed, hex), notes) : undefined;
      return item === undefined ? [] : [{ ...item, name: name as ChainID, driver }];
    });
  });
}

function snapshotItem(path: string, notes: SizeNotes): Omit<SnapshotItem, 'name' | 'driver'> | undefined {
  const info = readJsonIfExists(join(path, 'info.json'));
  const parent = isJsonObject(info) ? info['parent'] : undefined;
  const stat = statIfThere(path);
  if (stat === undefined) return undefined;
  const index = statIfThere(join(path, 'index'));
  const tar = index === undefined ? undefined : statIfThere(join(path, 'tar'));
  const size =
    index === undefined
      ? sizeOfTree(path, notes)
      : index.blocks * 512 + (tar !== undefined && tar.nlink < 2 ? tar.blocks * 512 : 0);
  return {
    path,
    size,
    used: stat.mtimeMs,
    parent: typeof parent === 'string' && isDigest(parent) ? (parent as string as ChainID) : undefined,
    tarPath: tar === undefined ? undefined : join(path, 'tar'),
  };
}

/** Where it is noted of a cache mount when it was used last, and under which id. */
export function cacheUsePath(root: string, name: string): string {
  return join(root, 'run/cache-uses', `${name}.json`);
}

/** What is remembered of one that travels. */
export function cacheStatePath(root: string, name: string): string {
  return join(root, 'run/cache-states', `${name}.json.gz`);
}

function* cacheItems(
  root: string,
  notes: SizeNotes,
): Generator<[string, Item & { readonly id: string | undefined }]> {
  const directory = join(root, 'run/caches');
  // Steps write into these: what was noted of them is over.
  const inUse = readHeld(root).cache;
  for (const name of namesIn(directory)) {
    // What is being made or removed has its owner's name behind a dot.
    if (!/^[0-9a-f]{64}(?:-\d+)?$/.test(name)) continue;
    const path = join(directory, name);
    const note = cacheUsePath(root, name);
    const used = statIfThere(note)?.mtimeMs ?? statIfThere(path)?.mtimeMs;
    const value = readJsonIfExists(note);
    const id = isJsonObject(value) && typeof value['id'] === 'string' ? value['id'] : undefined;
    if (used !== undefined)
      yield [name, { path, size: sizeOfTree(path, inUse.has(name) ? undefined : notes, used), used, id }];
  }
}

function* repositoryItems(root: string): Generator<[string, Item]> {
  const directory = join(root, 'git/repositories');
  for (const name of namesIn(directory)) {
    const path = join(directory, name);
    const used = name.endsWith('.git') ? statIfThere(path)?.mtimeMs : undefined;
    if (used !== undefined) yield [name, { path, size: sizeOfTree(path, undefined), used }];
  }
}

function readCompressed(root: string): ReadonlyMap<DiffID, readonly Digest[]> {
  const found = new Map<DiffID, Digest[]>();
  const directory = join(root, 'compressed');
  for (const shard of namesIn(directory))
    for (const name of namesIn(join(directory, shard))) {
      const diffID = `sha256:${shard}${name.split('.')[0] ?? ''}`;
      if (!isDigest(diffID)) continue;
      const known = found.get(diffID as DiffID) ?? [];
      known.push(...digestsIn(readJsonIfExists(join(directory, shard, name))));
      found.set(diffID as DiffID, known);
    }
  return found;
}

function digestsIn(value: unknown): readonly Digest[] {
  if (!isJsonObject(value)) return [];
  const all: readonly unknown[] = Array.isArray(value['blobs']) ? value['blobs'] : [value];
  return all.flatMap((each) => {
    const digest = isJsonObject(each) ? each['digest'] : undefined;
    return typeof digest === 'string' && isDigest(digest) ? [digest] : [];
  });
}

/** Records of steps; those that do not parse count for nothing, and are listed apart. */
export function readRecords(root: string): {
  readonly records: readonly RecordItem[];
  readonly broken: readonly Item[];
} {
  const records: RecordItem[] = [];
  const broken: Item[] = [];
  const directory = join(root, 'records/steps');
  for (const shard of namesIn(directory))
    for (const name of namesIn(join(directory, shard))) {
      if (!name.endsWith('.json')) continue;
      const item = fileItem(join(directory, shard, name));
      if (item === undefined) continue;
      const key = `sha256:${shard}${name.slice(0, -'.json'.length)}`;
      const record = isDigest(key) ? parseRecord(readJsonIfExists(item.path), key) : undefined;
      if (record === undefined) broken.push(item);
      else records.push({ ...item, record, chains: chainsOf(record) });
    }
  return { records, broken };
}

function chainsOf({ result }: StepRecord): readonly ChainID[] {
  if (result.kind !== 'stack') return [];
  const chains: ChainID[] = [];
  for (const { diffID } of result.layers) chains.push(chainIDOf(chains.at(-1), diffID));
  return chains;
}

/** Chains of an image's layers, lowest first. */
export function chainsOfLayers(diffIDs: readonly DiffID[]): readonly ChainID[] {
  const chains: ChainID[] = [];
  for (const diffID of diffIDs) chains.push(chainIDOf(chains.at(-1), diffID));
  return chains;
}

/**
 * Bytes of what is being written now: drafts of blobs and layers, snapshots that are not committed, cache mounts that
 * arrive, what is unpacked or packed later.
 */
export function unfinishedSize(root: string): number {
  const places = [
    join(root, 'content/partial'),
    join(root, 'layers/partial'),
    join(root, 'spool'),
    ...namesIn(join(root, 'snapshots')).map((driver) => join(root, 'snapshots', driver, 'staging')),
  ];
  let sum = 0;
  for (const place of places)
    for (const name of namesIn(place))
      if (isOwnerAlive(name)) sum += sizeOfTree(join(place, name), undefined);
  const caches = join(root, 'run/caches');
  for (const name of namesIn(caches)) {
    const owner = ownerOfHalf(name);
    if (owner !== undefined && isOwnerAlive(owner)) sum += sizeOfTree(join(caches, name), undefined);
  }
  return sum;
}

/** Where the index of a state lies that is made of many layers, if there is one. */
export function mergedPath(root: string, { driver, name }: SnapshotItem): string {
  return join(root, 'snapshots', driver, 'merged', hexOf(name));
}
