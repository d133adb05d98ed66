/**
 * The image store: which images there are, by id and by name.
 *
 * An image is its config (the id is the config's digest) and the layers that the config names. Layers are tars in
 * the layer store, or the compressed blobs that they came as, which may still lie in a registry (lazy-blobs.ts). Tags are small files, one per name.
 *
 *   images/tags/<digest of the name>.json   { reference, id }
 *   images/ids/<hex>.json                   { manifest? }: what was pulled, as it was
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { readJsonIfExists, updateFile } from '../base/atomic-file.ts';
import { digestOf, hexOf, isDigest, type Digest, type DiffID } from '../base/digest.ts';
import { namesIn } from '../base/directory-names.ts';
import { TsbuildError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { noRetention, type Retention } from '../base/retention.ts';
import { isJsonObject } from '../base/json.ts';
import type { ContentStore } from '../content/content-store.ts';
import type { LazyBlobs } from '../content/lazy-blobs.ts';
import type { IoOptions } from '../content/roles.ts';
import { decompress } from '../layer/decompress.ts';
import type { Layer, LayerStore } from '../layer/layer.ts';
import type { Descriptor, ImageConfig } from '../oci/documents.ts';
import { MAX_DOCUMENT, parseImageConfig, serializeConfig } from '../oci/parse.ts';
import {
  familiarName,
  formatReference,
  parseReference,
  withDefaultTag,
  type Reference,
} from '../oci/reference.ts';

export interface StoredImage {
  /** Digest of the config. */
  readonly id: Digest;
  readonly config: ImageConfig;
  /** Names, as people write them. */
  readonly tags: readonly string[];
  /** The manifest that it was pulled with. */
  readonly manifest: Descriptor | undefined;
}

export interface ImageStore {
  put(config: ImageConfig, manifest?: Descriptor): StoredImage;
  /** Keeps config bytes as they are (a pulled image's id depends on them). */
  putBytes(config: Uint8Array, manifest?: Descriptor): Promise<StoredImage>;
  tag(reference: Reference, id: Digest): void;
  /** Whether there was such a tag. */
  untag(reference: Reference): boolean;
  /** By name, by id or by a unique beginning of an id. */
  find(name: string): Promise<StoredImage | undefined>;
  /** As `find`; throws IMAGE_NOT_FOUND. */
  require(name: string): Promise<StoredImage>;
  byReference(reference: Reference): Promise<StoredImage | undefined>;
  byID(id: Digest): Promise<StoredImage | undefined>;
  list(): Promise<readonly StoredImage[]>;
  /** Forgets an image without tags, and its config; layers are shared and stay until they are pruned. */
  remove(id: Digest, options?: { readonly keepsConfig: boolean }): void;
  /** undefined where no bytes of it can be had. What lies in a registry is fetched when the tar is read. */
  openLayer(diffID: DiffID, options?: IoOptions): Layer | undefined;
  /** Its bytes are here, or a registry is known to hold them, and has not said otherwise. */
  hasLayer(diffID: DiffID): boolean;
  /** Bytes of all its layers, uncompressed where known. */
  sizeOf(image: StoredImage): number;
}

export interface ImageStoreOptions {
  readonly root: string;
  readonly host: Host;
  readonly content: ContentStore;
  readonly layers: LayerStore;
  readonly blobs: LazyBlobs;
  readonly retention?: Retention;
}

interface Tag {
  readonly reference: Reference;
  readonly id: Digest;
}

export function openImageStore({
  root,
  host,
  content,
  layers,
  blobs,
  retention = noRetention,
}: ImageStoreOptions): ImageStore {
  const tagPath = (reference: Reference): string =>
    join(root, 'tags', `${hexOf(digestOf(formatReference(reference)))}.json`);
  const idPath = (id: Digest): string => join(root, 'ids', `${hexOf(id)}.json`);

  function tags(): readonly Tag[] {
    return jsonNamesIn(join(root, 'tags')).flatMap(
      (name) => parseTag(readJsonIfExists(join(root, 'tags', name))) ?? [],
    );
  }

  async function byID(id: Digest, all = tags()): Promise<StoredImage | undefined> {
    const record = readJsonIfExists(idPath(id));
    if (!isJsonObject(record) || content.size(id) === undefined) return undefined;
    const config = parseImageConfig(await content.read(id, MAX_DOCUMENT), `image ${id}`);
    const names = all.filter((tag) => tag.id === id).map((tag) => familiarName(tag.reference));
    return { id, config, tags: names.sort(), manifest: parseStoredDescriptor(record['manifest']) };
  }

  /** Everything of it stays as long as whoever asked for it works. */
  function inUse(image: StoredImage | undefined): StoredImage | undefined {
    if (image === undefined) return undefined;
    for (const diffID of image.config.rootfs.diff_ids) retention.hold('layer', diffID);
    if (image.manifest !== undefined) retention.hold('blob', image.manifest.digest);
    retention.touch(idPath(image.id));
    return image;
  }

  async function byReference(reference: Reference): Promise<StoredImage | undefined> {
    const full = withDefaultTag(reference);
    if (full.digest === undefined) {
      const tag = parseTag(readJsonIfExists(tagPath(full)));
      return tag === undefined ? undefined : inUse(await byID(tag.id, [tag]));
    }
    for (const id of ids()) {
      const image = await byID(id);
      if (image?.manifest?.digest === full.digest || id === full.digest) return inUse(image);
    }
    return undefined;
  }

  function ids(): readonly Digest[] {
    return jsonNamesIn(join(root, 'ids'))
      .map((name) => `sha256:${name.replace(/\.json$/, '')}`)
      .filter(isDigest);
  }

  async function find(name: string): Promise<StoredImage | undefined> {
    const hex = /^(?:sha256:)?([0-9a-f]{4,64})$/.exec(name)?.[1];
    const named = hex?.length === 64 ? undefined : await tryReference(name);
    if (named !== undefined || hex === undefined) return named;
    const matching = ids().filter((id) => hexOf(id).startsWith(hex));
    if (matching.length > 1)
      throw new TsbuildError(
        'IMAGE_NOT_FOUND',
        `${JSON.stringify(name)} is the beginning of ${matching.length} image ids`,
        { hint: 'write more of it' },
      );
    const [only] = matching;
    return only === undefined ? undefined : inUse(await byID(only));
  }

  async function tryReference(name: string): Promise<StoredImage | undefined> {
    const image = await byReference(parseReference(name));
    // A name leads to one tag; whoever asks by name may want to see the others.
    return image === undefined ? undefined : byID(image.id);
  }

  function save(id: Digest, manifest: Descriptor | undefined): void {
    updateFile(host, idPath(id), JSON.stringify(manifest === undefined ? {} : { manifest }));
  }

  function openLayer(diffID: DiffID, options = patient()): Layer | undefined {
    const tar = layers.get(diffID);
    if (tar !== undefined) return tar;
    const blob = blobs.ofLayer(diffID);
    if (blob === undefined) return undefined;
    async function* compressed(from: Descriptor): AsyncGenerator<Uint8Array> {
      await blobs.fetch(from, options);
      yield* content.open(from, { signal: options.signal });
    }
    return { diffID, size: blob.size, tar: () => decompress(compressed(blob)) };
  }

  return {
    put(config, manifest) {
      const { digest: id } = content.write(serializeConfig(config));
      save(id, manifest);
      return { id, config, tags: [], manifest };
    },
    async putBytes(bytes, manifest) {
      const config = parseImageConfig(bytes, 'image config');
      const { digest: id } = content.write(bytes);
      save(id, manifest);
      return Promise.resolve({ id, config, tags: [], manifest });
    },
    tag(reference, id) {
      const full = withDefaultTag(reference);
      updateFile(host, tagPath(full), JSON.stringify({ reference: full, id }));
    },
    untag(reference) {
      const path = tagPath(withDefaultTag(reference));
      const was = readJsonIfExists(path) !== undefined;
      rmSync(path, { force: true });
      return was;
    },
    find,
    async require(name) {
      const image = await find(name);
      if (image !== undefined) return image;
      throw new TsbuildError('IMAGE_NOT_FOUND', `no such image: ${JSON.stringify(name)}`, {
        hint: 'list what there is with "tsbuild images"',
      });
    },
    byReference,
    byID: async (id) => inUse(await byID(id)),
    async list() {
      const all = tags();
      const images: StoredImage[] = [];
      for (const id of ids()) {
        const image = await byID(id, all);
        if (image !== undefined) images.push(image);
      }
      return images;
    },
    remove(id, { keepsConfig } = { keepsConfig: false }) {
      rmSync(idPath(id), { force: true });
      if (!keepsConfig) content.remove(id);
    },
    openLayer,
    hasLayer: (diffID) => layers.get(diffID) !== undefined || blobs.hasLayer(diffID),
    sizeOf: ({ config }) =>
      config.rootfs.diff_ids.reduce(
        (sum, diffID) => sum + (layers.get(diffID)?.size ?? blobs.ofLayer(diffID)?.size ?? 0),
        0,
      ),
  };
}

function patient(): IoOptions {
  return { signal: new AbortController().signal };
}

function parseTag(value: unknown): Tag | undefined {
  if (!isJsonObject(value) || !isJsonObject(value['reference'])) return undefined;
  const { id } = value;
  const { registry, repository, tag } = value['reference'];
  if (
    typeof id !== 'string' ||
    !isDigest(id) ||
    typeof registry !== 'string' ||
    typeof repository !== 'string'
  )
    return undefined;
  return { id, reference: { registry, repository, ...(typeof tag === 'string' ? { tag } : {}) } };
}

function parseStoredDescriptor(value: unknown): Descriptor | undefined {
  if (!isJsonObject(value)) return undefined;
  const { mediaType, digest, size } = value;
  if (
    typeof mediaType !== 'string' ||
    typeof digest !== 'string' ||
    !isDigest(digest) ||
    typeof size !== 'number'
  )
    return undefined;
  return { mediaType, digest, size };
}

function jsonNamesIn(directory: string): readonly string[] {
  return namesIn(directory).filter((name) => name.endsWith('.json'));
}
