/**
 * Who needs which layer and blob: steps' results and images claim them, and what the last claim gives up is free.
 *
 * A layer goes with everything that was made of it: its compressed forms, and the states upon it.
 */
import type { ChainID, Digest, DiffID } from '../../base/digest.ts';
import { groupBy } from './group-by.ts';
import { mergedPath, type Inventory, type SnapshotItem } from './inventory.ts';
import type { Roots } from './roots.ts';

export interface Claim {
  /** Bytes of what nobody else claims. */
  size(): number;
  /** Gives the claim up; paths of what is free then. Once. */
  take(): readonly string[];
}

export interface Books {
  /** `chains[n]` is the state with `layers[n]` on top. */
  claim(layers: readonly DiffID[], chains: readonly ChainID[], blobs: readonly Digest[]): Claim;
  isFree(state: SnapshotItem): boolean;
  /** Marks a state as gone; what to move away. */
  takeState(state: SnapshotItem): readonly string[];
  /** Somebody claims it, or claims the layer that travels as it. */
  isClaimed(blob: Digest): boolean;
  isLayerClaimed(diffID: DiffID): boolean;
}

export function openBooks(root: string, inventory: Inventory, roots: Roots): Books {
  const layerClaims = new Map<DiffID, number>();
  const blobClaims = new Map<Digest, number>();
  const gone = new Set<string>();
  const statesOf = groupBy(inventory.snapshots, ({ name }) => name);
  const upon = groupBy(inventory.snapshots, ({ parent, driver }) => `${driver} ${parent ?? ''}`);

  const isFree = (state: SnapshotItem): boolean => !roots.snapshots.has(state.name) && !gone.has(state.path);

  function takeState(state: SnapshotItem): readonly string[] {
    if (!isFree(state)) return [];
    gone.add(state.path);
    return [state.path, mergedPath(root, state)];
  }

  /** A state and all upon it, topmost first. */
  function withStatesUpon(state: SnapshotItem): readonly SnapshotItem[] {
    const above = upon.get(`${state.driver} ${state.name}`) ?? [];
    return [...above.flatMap(withStatesUpon), state];
  }

  const travellingAs = (diffID: DiffID): readonly Digest[] =>
    (inventory.compressed.get(diffID) ?? []).filter((blob) => !roots.blobs.has(blob));

  function claim(all: readonly DiffID[], chains: readonly ChainID[], files: readonly Digest[]): Claim {
    const layers = [...new Set(all)];
    for (const diffID of layers) add(layerClaims, diffID, 1);
    for (const blob of files) add(blobClaims, blob, 1);

    function free(): Free {
      const freeLayers = layers.filter(
        (diffID) => (layerClaims.get(diffID) ?? 0) <= 1 && !roots.layers.has(diffID),
      );
      const lowest = all.findIndex((diffID) => freeLayers.includes(diffID));
      const chain = chains[lowest];
      const states = chain === undefined ? [] : (statesOf.get(chain) ?? []).flatMap(withStatesUpon);
      const freeFiles = files.filter((blob) => (blobClaims.get(blob) ?? 0) <= 1 && !roots.blobs.has(blob));
      return {
        layers: freeLayers,
        blobs: [...freeFiles, ...freeLayers.flatMap(travellingAs)],
        states: states.filter(isFree),
      };
    }

    return {
      size: () => sizeOf(free(), inventory),
      take() {
        const { layers: freeLayers, blobs, states } = free();
        for (const diffID of layers) add(layerClaims, diffID, -1);
        for (const blob of files) add(blobClaims, blob, -1);
        return [
          ...states.flatMap(takeState),
          ...freeLayers.flatMap((diffID) => inventory.layers.get(diffID)?.path ?? []),
          ...blobs.flatMap((blob) => inventory.blobs.get(blob)?.path ?? []),
        ];
      },
    };
  }

  let travelling: ReadonlySet<Digest> | undefined;
  return {
    claim,
    isFree,
    takeState,
    isClaimed(blob) {
      travelling ??= new Set([...layerClaims.keys()].flatMap((each) => inventory.compressed.get(each) ?? []));
      return blobClaims.has(blob) || travelling.has(blob);
    },
    isLayerClaimed: (diffID) => layerClaims.has(diffID),
  };
}

interface Free {
  readonly layers: readonly DiffID[];
  readonly blobs: readonly Digest[];
  readonly states: readonly SnapshotItem[];
}

function sizeOf({ layers, blobs, states }: Free, inventory: Inventory): number {
  let sum = 0;
  for (const diffID of layers) sum += inventory.layers.get(diffID)?.size ?? 0;
  for (const blob of blobs) sum += inventory.blobs.get(blob)?.size ?? 0;
  for (const state of states) sum += state.size;
  return sum;
}

function add<T>(counts: Map<T, number>, key: T, by: number): void {
  counts.set(key, (counts.get(key) ?? 0) + by);
}
