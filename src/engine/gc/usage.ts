/** What the state root holds, by what people know: images, containers, volumes, the build cache. */
import { join } from 'node:path';
import type { Digest, DiffID } from '../../base/digest.ts';
import { isActive, isHeld, type StoredContainer } from '../../runtime/container.ts';
import type { Engine } from '../engine.ts';
import type { Volume } from '../volumes.ts';
import { collectorOf, measureCache } from './prune.ts';
import { survey } from './collect.ts';
import type { Inventory } from './inventory.ts';
import { documentsOf, type ImageEntry } from './roots.ts';
import { sizeOfTree } from './tree-size.ts';
import type { Unit } from './units.ts';

export interface ImageUsage {
  readonly image: ImageEntry;
  /** Bytes of its layers, as they lie here. */
  readonly size: number;
  /** Of that, what other images have too. */
  readonly shared: number;
}

export interface UsageReport {
  readonly images: readonly ImageUsage[];
  /** Bytes of all images, each layer once. */
  readonly imageSize: number;
  /** Of that, what goes with images that no container is made of. */
  readonly imageReclaimable: number;
  readonly containers: readonly { readonly container: StoredContainer; readonly size: number }[];
  readonly volumes: readonly { readonly volume: Volume; readonly size: number; readonly links: number }[];
  /** The build cache, without what nothing names. */
  readonly cache: readonly CacheUsage[];
  readonly cacheSize: number;
  readonly cacheReclaimable: number;
}

export interface CacheUsage
  extends Pick<Unit, 'id' | 'type' | 'description' | 'created' | 'used' | 'isShared' | 'isInUse'> {
  /** Bytes of its own files, whoever else needs them. */
  readonly size: number;
}

export function readUsage(engine: Engine): UsageReport {
  const { root } = engine.options;
  const { inventory, images, units } = survey(collectorOf(engine), () => true);
  const cache = units.map(
    ({ id, type, description, created, used, isShared, isInUse, whole: size }): CacheUsage => ({
      ...{ id, type, description, created, used, isShared, isInUse, size },
    }),
  );
  const { size, reclaimable } = measureCache(units, engine.host.now());
  return {
    ...usageOfImages(root, inventory, images),
    containers: engine.containers.list().map((container) => ({
      container,
      size: sizeOfTree(join(container.directory, 'layer'), undefined),
    })),
    volumes: engine.volumes.list().map((volume) => ({
      volume,
      size: sizeOfTree(volume.mountpoint, undefined),
      links: engine.volumes.holders(volume.name).length,
    })),
    cache,
    cacheSize: size,
    cacheReclaimable: reclaimable,
  };
}

export function isRunning({ state }: StoredContainer): boolean {
  return isActive(state) || isHeld(state);
}

function usageOfImages(
  root: string,
  inventory: Inventory,
  images: readonly ImageEntry[],
): Pick<UsageReport, 'images' | 'imageSize' | 'imageReclaimable'> {
  const sizes = new Map<DiffID, number>();
  const users = new Map<DiffID, number>();
  for (const { config } of images)
    for (const diffID of new Set(config.rootfs.diff_ids)) {
      users.set(diffID, (users.get(diffID) ?? 0) + 1);
      sizes.set(diffID, layerFootprint(inventory, diffID));
    }
  const sizeOf = (layers: Iterable<DiffID>): number => {
    let sum = 0;
    for (const diffID of layers) sum += sizes.get(diffID) ?? 0;
    return sum;
  };
  const needed = new Set(
    images.filter(({ containers }) => containers > 0).flatMap(({ config }) => config.rootfs.diff_ids),
  );
  const documents = (each: ImageEntry): number => blobSizes(inventory, documentsOf(root, each));
  const imageSize = sizeOf(sizes.keys()) + images.reduce((sum, each) => sum + documents(each), 0);
  const stays =
    sizeOf(needed) +
    images.filter((each) => each.containers > 0).reduce((sum, each) => sum + documents(each), 0);
  return {
    images: images.map((image) => {
      const layers = [...new Set(image.config.rootfs.diff_ids)];
      return {
        image,
        size: sizeOf(layers) + documents(image),
        shared: sizeOf(layers.filter((diffID) => (users.get(diffID) ?? 0) > 1)),
      };
    }),
    imageSize,
    imageReclaimable: imageSize - stays,
  };
}

/** Its tar, and what it travels as. */
function layerFootprint(inventory: Inventory, diffID: DiffID): number {
  const blobs = new Set(inventory.compressed.get(diffID) ?? []);
  return (inventory.layers.get(diffID)?.size ?? 0) + blobSizes(inventory, [...blobs]);
}

function blobSizes({ blobs }: Inventory, digests: readonly Digest[]): number {
  return [...new Set(digests)].reduce((sum, digest) => sum + (blobs.get(digest)?.size ?? 0), 0);
}
