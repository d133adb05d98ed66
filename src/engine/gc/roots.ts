/**
 * What must stay: what images of the caller's choice, containers, fetched lists and running processes name.
 *
 * Read without holding anything, so that looking does not keep.
 */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { readJsonIfExists } from '../../base/atomic-file.ts';
import { algorithmOf, hexOf, isDigest, type ChainID, type Digest, type DiffID } from '../../base/digest.ts';
import { namesIn } from '../../base/directory-names.ts';
import { isJsonObject } from '../../base/json.ts';
import type { ImageConfig } from '../../oci/documents.ts';
import { MAX_DOCUMENT, parseImageConfig, parseManifestOrIndex } from '../../oci/parse.ts';
import { familiarName } from '../../oci/reference.ts';
import type { ContainerStore } from '../../runtime/container-store.ts';
import { groupBy } from './group-by.ts';
import { chainsOfLayers, type Inventory } from './inventory.ts';
import { readHeld, type Held } from './leases.ts';

export interface ImageTag {
  /** As people write it. */
  readonly name: string;
  readonly path: string;
}

/** An image as the store has it on disk. */
export interface ImageEntry {
  readonly id: Digest;
  readonly path: string;
  /** When it was stored or used last. */
  readonly used: number;
  readonly config: ImageConfig;
  readonly manifest: Digest | undefined;
  /** Its names, and the files that give them. */
  readonly tags: readonly ImageTag[];
  /** Containers made of it. */
  readonly containers: number;
}

export interface Roots {
  readonly layers: ReadonlySet<DiffID>;
  readonly blobs: ReadonlySet<Digest>;
  readonly snapshots: ReadonlySet<ChainID>;
  /** What running processes hold: part of the above, and cache mounts and mirrors. */
  readonly held: Held;
  /** Chains of the images that stay: steps that made them are the cache of an image. */
  readonly imageChains: ReadonlySet<ChainID>;
}

export function blobPath(root: string, digest: Digest): string {
  const hex = hexOf(digest);
  return join(root, 'content/blobs', algorithmOf(digest), hex.slice(0, 2), hex.slice(2));
}

export function readImages(root: string, containers: ContainerStore): readonly ImageEntry[] {
  const tags = groupBy(readTags(root), ({ id }) => id);
  const counts = new Map<string, number>();
  for (const { config } of containers.list())
    counts.set(config.image.id, (counts.get(config.image.id) ?? 0) + 1);
  return namesIn(join(root, 'images/ids')).flatMap((name) => {
    const id = `sha256:${name.replace(/\.json$/, '')}`;
    if (!name.endsWith('.json') || !isDigest(id)) return [];
    const path = join(root, 'images/ids', name);
    const config = readConfig(root, id);
    const used = statSync(path, { throwIfNoEntry: false })?.mtimeMs;
    if (config === undefined || used === undefined) return [];
    const note = readJsonIfExists(path);
    const manifest =
      isJsonObject(note) && isJsonObject(note['manifest']) ? note['manifest']['digest'] : undefined;
    return [
      {
        ...{ id, path, used, config, tags: tags.get(id) ?? [], containers: counts.get(id) ?? 0 },
        manifest: typeof manifest === 'string' && isDigest(manifest) ? manifest : undefined,
      },
    ];
  });
}

export function readTags(root: string): readonly (ImageTag & { readonly id: string })[] {
  const directory = join(root, 'images/tags');
  return namesIn(directory).flatMap((file) => {
    const tag = file.endsWith('.json') ? readJsonIfExists(join(directory, file)) : undefined;
    if (!isJsonObject(tag) || typeof tag['id'] !== 'string' || !isJsonObject(tag['reference'])) return [];
    const { registry, repository, tag: word } = tag['reference'];
    if (typeof registry !== 'string' || typeof repository !== 'string') return [];
    const reference = { registry, repository, ...(typeof word === 'string' ? { tag: word } : {}) };
    return [{ id: tag['id'], name: familiarName(reference), path: join(directory, file) }];
  });
}

function readDocument(root: string, digest: Digest): Uint8Array | undefined {
  const path = blobPath(root, digest);
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined || stat.size > MAX_DOCUMENT ? undefined : readFileSync(path);
}

function readConfig(root: string, id: Digest): ImageConfig | undefined {
  try {
    const bytes = readDocument(root, id);
    return bytes === undefined ? undefined : parseImageConfig(bytes, `image ${id}`);
  } catch {
    // What does not parse is no image, and `system check` says so.
    return undefined;
  }
}

/** Documents of an image: its config, under each digest that it goes by, and its manifest. */
export function documentsOf(root: string, { id, manifest }: ImageEntry): readonly Digest[] {
  if (manifest === undefined) return [id];
  try {
    const bytes = readDocument(root, manifest);
    const parsed = bytes === undefined ? undefined : parseManifestOrIndex(bytes, manifest);
    // An image that came by sha512 has its config under that name too.
    return parsed?.kind === 'manifest' ? [id, manifest, parsed.manifest.config.digest] : [id, manifest];
  } catch {
    return [id, manifest];
  }
}

export interface RootsInput {
  readonly root: string;
  readonly images: readonly ImageEntry[];
  readonly containers: ContainerStore;
  readonly inventory: Inventory;
  readonly held?: Held;
}

/** `images`: those that stay. */
export function rootsOf({ root, images, containers, inventory, held = readHeld(root) }: RootsInput): Roots {
  const layers = new Set<DiffID>([...held.layer] as DiffID[]);
  const blobs = new Set<Digest>([...held.blob] as Digest[]);
  const imageChains = new Set<ChainID>();
  for (const image of images) {
    for (const digest of documentsOf(root, image)) blobs.add(digest);
    for (const diffID of image.config.rootfs.diff_ids) layers.add(diffID);
    for (const chain of chainsOfLayers(image.config.rootfs.diff_ids)) imageChains.add(chain);
  }
  // How a layer travels belongs to it.
  for (const diffID of layers) for (const digest of inventory.compressed.get(diffID) ?? []) blobs.add(digest);
  const parents = new Map(inventory.snapshots.map(({ name, parent }) => [name, parent]));
  const snapshots = new Set<ChainID>();
  const used = [
    ...(held.snapshot as ReadonlySet<ChainID>),
    ...containers.list().map(({ config }) => config.image.snapshot),
  ];
  for (const name of used)
    for (let at: ChainID | undefined = name; at !== undefined && !snapshots.has(at); at = parents.get(at))
      snapshots.add(at);
  return { layers, blobs, snapshots, held, imageChains };
}
