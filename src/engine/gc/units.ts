/**
 * What may be evicted, in units that make sense to lose: a step's result with everything that was made of it, an
 * unpacked state, a cache mount, a mirror of a repository, an image without a name, and what nothing names.
 */
import type { ChainID, Digest, DiffID } from '../../base/digest.ts';
import { openBooks, type Books } from './books.ts';
import { groupBy } from './group-by.ts';
import {
  cacheStatePath,
  cacheUsePath,
  chainsOfLayers,
  type Inventory,
  type Item,
  type RecordItem,
} from './inventory.ts';
import { documentsOf, type ImageEntry, type Roots } from './roots.ts';

/** As BuildKit calls them, so that filters of scripts go on working; `image` and `orphan` are ours. */
export const UNIT_TYPES = [
  'regular',
  'internal',
  'exec.cachemount',
  'source.git.checkout',
  'image',
  'orphan',
] as const;
export type UnitType = (typeof UNIT_TYPES)[number];

export interface Unit {
  readonly id: string;
  readonly type: UnitType;
  readonly description: string;
  /** Of an image. */
  readonly names: readonly string[];
  /** Milliseconds since the epoch. */
  readonly used: number;
  readonly created: number;
  /** Milliseconds that it takes to have it again. */
  readonly costMs: number;
  /** Bytes of its own files, whoever else needs them. */
  readonly whole: number;
  /** An image that stays was made by it. */
  readonly isShared: boolean;
  /** A running process or a container needs it. */
  readonly isInUse: boolean;
  /** Units that must go before it does. */
  readonly dependents: Set<Unit>;
  /** Bytes that it frees as things are now. */
  size(): number;
  /** Takes it out of the books; what to move away. Once. */
  take(): readonly string[];
}

export interface UnitsInput {
  readonly root: string;
  readonly inventory: Inventory;
  readonly records: readonly RecordItem[];
  /** Files that should be records and are not. */
  readonly broken: readonly Item[];
  /** Images that may go. */
  readonly expendable: readonly ImageEntry[];
  readonly roots: Roots;
}

/** Bytes in a millisecond: of unpacking, and of fetching over a network. */
const UNPACK_RATE = 200_000;
const FETCH_RATE = 10_000;

export function findUnits(input: UnitsInput): readonly Unit[] {
  const books = openBooks(input.root, input.inventory, input.roots);
  return [
    ...resultUnits(input, books),
    ...imageUnits(input, books),
    ...stateUnits(input, books),
    ...cacheUnits(input),
    ...repositoryUnits(input),
    // Last: everybody's claims are in the books then.
    ...orphanUnits(input, books),
  ];
}

/** One per result, however many records have it. */
function resultUnits({ inventory, records, roots }: UnitsInput, books: Books): readonly Unit[] {
  const groups = groupBy(records, ({ record: { result }, chains }) =>
    result.kind === 'file' ? result.blob : (chains.at(-1) ?? 'scratch'),
  );
  const units = new Map<string, Unit>();
  for (const [id, group] of groups) units.set(id, resultUnit(id, group));
  for (const [id, group] of groups) {
    const unit = units.get(id);
    const below = group[0]?.chains.slice(0, -1).toReversed() ?? [];
    // The nearest is enough: it has its own below it.
    const parent = below.map((chain) => units.get(chain)).find((each) => each !== undefined);
    if (unit !== undefined) parent?.dependents.add(unit);
  }
  return [...units.values()];

  function resultUnit(id: string, group: readonly RecordItem[]): Unit {
    const result = group[0]?.record.result;
    const layers = result?.kind === 'stack' ? result.layers.map(({ diffID }) => diffID) : [];
    const files = result?.kind === 'file' ? [result.blob] : [];
    const chains = group[0]?.chains ?? [];
    const claim = books.claim(layers, chains, files);
    const own = group.reduce((sum, { size }) => sum + size, 0);
    const [top, chain] = [layers.at(-1), chains.at(-1)];
    return {
      id,
      type: 'regular',
      names: [],
      description: group.find(({ record }) => record.origin !== undefined)?.record.origin?.text ?? 'step',
      used: Math.max(...group.map(({ used }) => used)),
      created: Math.min(...group.map(({ record }) => record.finished)),
      costMs: Math.max(...group.map(({ record }) => record.tookMs)),
      whole: own + layerSize(inventory, top) + blobSizes(inventory, files),
      isShared: chain !== undefined && roots.imageChains.has(chain),
      isInUse:
        (top !== undefined && roots.held.layer.has(top)) || files.some((each) => roots.held.blob.has(each)),
      dependents: new Set(),
      size: () => own + claim.size(),
      take: () => [...group.map(({ path }) => path), ...claim.take()],
    };
  }
}

function imageUnits({ root, inventory, expendable, roots }: UnitsInput, books: Books): readonly Unit[] {
  return expendable.map((image) => {
    const layers = image.config.rootfs.diff_ids;
    const documents = documentsOf(root, image);
    const claim = books.claim(layers, chainsOfLayers(layers), documents);
    const whole = layers.reduce((sum, diffID) => sum + layerSize(inventory, diffID), 0);
    return {
      ...{ id: image.id, type: 'image', description: 'image', names: image.tags.map(({ name }) => name) },
      ...{ used: image.used, created: image.used, costMs: whole / FETCH_RATE, whole },
      isShared: false,
      isInUse: roots.held.blob.has(image.id),
      dependents: new Set(),
      size: () => claim.size(),
      take: () => [...image.tags.map(({ path }) => path), image.path, ...claim.take()],
    };
  });
}

/** They can be made again from their layers; those upon them go first. */
function stateUnits({ inventory, roots }: UnitsInput, books: Books): readonly Unit[] {
  const keyOf = (driver: string, name: ChainID | undefined): string => `${driver} ${name ?? ''}`;
  const units = new Map<string, Unit>();
  for (const state of inventory.snapshots)
    units.set(keyOf(state.driver, state.name), {
      ...unitOf(state, state.name, 'internal', 'layers, ready to be mounted'),
      costMs: state.size / UNPACK_RATE,
      size: () => (books.isFree(state) ? state.size : 0),
      isShared: roots.imageChains.has(state.name),
      isInUse: roots.snapshots.has(state.name),
      take: () => books.takeState(state),
    });
  for (const { driver, name, parent } of inventory.snapshots) {
    const unit = units.get(keyOf(driver, name));
    if (unit !== undefined && parent !== undefined) units.get(keyOf(driver, parent))?.dependents.add(unit);
  }
  return [...units.values()];
}

function cacheUnits({ root, inventory, roots }: UnitsInput): readonly Unit[] {
  return [...inventory.caches].map(([name, cache]) => ({
    ...unitOf(cache, name, 'exec.cachemount', `cache mount ${cache.id ?? ''}`.trim()),
    isInUse: roots.held.cache.has(name),
    take: () => [cache.path, cacheUsePath(root, name), cacheStatePath(root, name)],
  }));
}

function repositoryUnits({ inventory, roots }: UnitsInput): readonly Unit[] {
  return [...inventory.repositories].map(([name, mirror]) => ({
    ...unitOf(mirror, name, 'source.git.checkout', 'mirror of a git repository'),
    isInUse: roots.held.repository.has(name),
    take: () => [mirror.path],
  }));
}

function orphanUnits({ inventory, broken, roots }: UnitsInput, books: Books): readonly Unit[] {
  const layers = [...inventory.layers].filter(
    ([diffID]) => !roots.layers.has(diffID) && !books.isLayerClaimed(diffID),
  );
  const blobs = [...inventory.blobs].filter(
    ([digest]) => !roots.blobs.has(digest) && !books.isClaimed(digest),
  );
  const files = broken.map((item) => [item.path, item] as const);
  return [...layers, ...blobs, ...files].map(([id, item]) => ({
    ...unitOf(item, id, 'orphan', 'named by nothing'),
    costMs: 0,
    take: () => [item.path],
  }));
}

function unitOf(item: Item, id: string, type: UnitType, description: string): Omit<Unit, 'take'> {
  return {
    ...{ id, type, description, names: [], used: item.used, created: item.used, whole: item.size },
    costMs: item.size / FETCH_RATE,
    isShared: false,
    isInUse: false,
    dependents: new Set(),
    size: () => item.size,
  };
}

function layerSize({ layers }: Inventory, diffID: DiffID | undefined): number {
  return diffID === undefined ? 0 : (layers.get(diffID)?.size ?? 0);
}

function blobSizes({ blobs }: Inventory, digests: readonly Digest[]): number {
  return digests.reduce((sum, digest) => sum + (blobs.get(digest)?.size ?? 0), 0);
}
