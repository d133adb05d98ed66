/**
 * `tsbuild copy`: an image from one place to another, without building. Between registries and layouts everything
 * goes as it is, all platforms included, unless one is chosen or another format wanted; the store and docker's
 * archives hold one platform.
 */
import type { Digest } from '../base/digest.ts';
import { TsbuildError } from '../base/errors.ts';
import { copyImage } from '../content/copy-image.ts';
import type { BlobSource } from '../content/roles.ts';
import type { Family } from '../oci/convert.ts';
import type { Descriptor, Platform } from '../oci/documents.ts';
import { isForeignLayer } from '../oci/media-types.ts';
import { formatReference, withDefaultTag, parseReference, type Reference } from '../oci/reference.ts';
import type { StoredImage } from '../image/image-store.ts';
import { convertImage } from './convert-image.ts';
import type { Engine } from './engine.ts';
import { findInLayout, layoutSource, openFiles } from './layout-files.ts';
import type { Place } from './places.ts';
import { chooseManifest, storeImage } from './pull.ts';
import { transferOptions } from './transfer-progress.ts';
import { withVertex, type CallOptions } from './with-vertex.ts';

export interface CopyRequest {
  readonly from: Place;
  readonly to: Place;
  /** One image of an index; absent: all of them, where the destination can hold them. */
  readonly platform?: Platform;
  readonly format?: Family;
  /** More tags at the destination, a registry. */
  readonly tags?: readonly string[];
}

/** An image that can be read. */
interface Opened extends Disposable {
  readonly root: Descriptor;
  readonly source: BlobSource;
  /** Where its blobs lie, if that is a registry. */
  readonly origin?: Reference;
}

/** The digest of what arrived; for docker's archives, that of the image's config. */
export async function copyBetweenPlaces(
  engine: Engine,
  { from, to, platform, format, tags = [] }: CopyRequest,
  options: CallOptions,
): Promise<Digest> {
  using _lease = engine.leases.enter();
  const vertex = 'copy';
  const io = transferOptions(vertex, 'copying', engine.host, options);
  const asking = { signal: io.signal, onNotice: io.onNotice };
  return await withVertex(
    options.sink,
    engine.host,
    vertex,
    `copying ${describe(from)} to ${describe(to)}`,
    async () => {
      using opened = await open(engine, from, platform, options);
      const { source } = opened;
      const chosen =
        platform === undefined ? opened.root : await chooseManifest(source, opened.root, platform, asking);
      const image =
        format === undefined ? { root: chosen, source } : await convertImage(chosen, source, format, asking);
      switch (to.kind) {
        case 'registry': {
          const sink = (await engine.registry()).sink(to.reference);
          const isLeftOut = isForeignLayer;
          const { origin } = opened;
          const mounting =
            origin === undefined
              ? sink
              : {
                  ...sink,
                  put: (...[blob, read, more]: Parameters<typeof sink.put>) =>
                    sink.put(blob, read, { ...more, origin }),
                };
          await copyImage(image.root, image.source, mounting, { ...io, isLeftOut });
          for (const tag of [to.reference.tag, ...tags])
            if (tag !== undefined) await sink.tag({ ...to.reference, tag }, image.root, asking);
          return image.root.digest;
        }
        case 'oci': {
          const { exportLayoutDirectory } = await import('../exporter/oci-layout.ts');
          await exportLayoutDirectory(
            image.root,
            namesFor(to.select),
            image.source,
            to.path,
            engine.host,
            io,
          );
          return image.root.digest;
        }
        case 'oci-archive': {
          const { exportLayoutArchive } = await import('../exporter/archive.ts');
          await exportLayoutArchive(image.root, namesFor(to.select), image.source, to.path, engine.host, io);
          return image.root.digest;
        }
        case 'docker-archive': {
          const { exportDockerArchive } = await import('../exporter/archive.ts');
          const stored = await intoStore(engine, opened, image, platform, vertex, options);
          const references = to.reference === undefined ? [] : [to.reference];
          const { images, content, host } = engine;
          await exportDockerArchive([{ image: stored, references }], images, content, to.path, host, io);
          return stored.id;
        }
        case 'store': {
          const stored = await intoStore(engine, opened, image, platform, vertex, options);
          engine.images.tag(withDefaultTag(parseReference(to.name)), stored.id);
          return stored.manifest?.digest ?? stored.id;
        }
      }
    },
  );
}

function intoStore(
  engine: Engine,
  { origin }: Opened,
  { root, source }: { readonly root: Descriptor; readonly source: BlobSource },
  platform: Platform | undefined,
  vertex: string,
  options: CallOptions,
): Promise<StoredImage> {
  return storeImage(engine, source, root, platform ?? engine.options.platform, vertex, {
    ...options,
    ...(origin === undefined ? {} : { repository: `${origin.registry}/${origin.repository}` }),
  });
}

/** How a layout calls what it gets: a tag, or a whole name. */
function namesFor(select: string | undefined): {
  readonly full: readonly string[];
  readonly tags: readonly string[];
} {
  if (select === undefined) return { full: [], tags: [] };
  if (select.startsWith('@'))
    throw new TsbuildError('USAGE', 'a destination is named by a tag, not by a digest');
  if (!select.includes('/') && !select.includes(':')) return { full: [select], tags: [select] };
  const reference = withDefaultTag(parseReference(select));
  return { full: [formatReference(reference)], tags: [reference.tag ?? 'latest'] };
}

async function open(
  engine: Engine,
  place: Place,
  platform: Platform | undefined,
  options: CallOptions,
): Promise<Opened> {
  switch (place.kind) {
    case 'registry': {
      const source = (await engine.registry()).source(place.reference);
      const { onNotice } = transferOptions('copy', 'copying', engine.host, options);
      const root = await source.resolve(place.reference, { signal: options.signal, onNotice });
      return { root, source, origin: place.reference, [Symbol.dispose]: () => undefined };
    }
    case 'oci':
    case 'oci-archive': {
      const files = await openFiles(engine, place, options.signal);
      try {
        const root = findInLayout(files, place.path, place.select);
        return { root, source: layoutSource(files), [Symbol.dispose]: () => files[Symbol.dispose]() };
      } catch (error) {
        files[Symbol.dispose]();
        throw error;
      }
    }
    case 'docker-archive': {
      const { loadImages } = await import('./load.ts');
      const wanted = platform ?? engine.options.platform;
      const loaded = await loadImages(engine, { path: place.path }, wanted, options);
      const name = place.reference === undefined ? undefined : formatReference(place.reference);
      const found = loaded.filter(
        ({ names }) =>
          name === undefined ||
          names.some((each) => formatReference(withDefaultTag(parseReference(each))) === name),
      );
      const [only] = found;
      if (only === undefined || found.length > 1)
        throw new TsbuildError(
          'IMAGE_NOT_FOUND',
          `${JSON.stringify(place.path)} has ${loaded.length} images, ${found.length} of which are meant`,
          { hint: `it has ${loaded.flatMap(({ names }) => names).join(', ')}` },
        );
      return fromStored(engine, only.image, options);
    }
    case 'store':
      return fromStored(engine, await engine.images.require(place.name), options);
  }
}

async function fromStored(engine: Engine, image: StoredImage, { signal }: CallOptions): Promise<Opened> {
  const { pulledManifest } = await import('./push.ts');
  const root =
    pulledManifest(engine, [image]) ??
    (await engine.forms.createRoot([image], { form: { compression: 'gzip' }, format: 'oci', signal }));
  return { root, source: engine.forms.source, [Symbol.dispose]: () => undefined };
}

function describe(place: Place): string {
  switch (place.kind) {
    case 'registry':
      return formatReference(place.reference);
    case 'store':
      return `store:${place.name}`;
    case 'docker-archive':
      return `docker-archive:${place.path}`;
    case 'oci':
    case 'oci-archive':
      return `${place.kind}:${place.path}${place.select === undefined ? '' : `:${place.select}`}`;
  }
}
