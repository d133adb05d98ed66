/** `tsbuild load`: docker archives, OCI archives and OCI layouts into the store. All of it is from outside. */
import { createDigester, type DiffID } from '../base/digest.ts';
import { errnoOf, TsbuildError } from '../base/errors.ts';
import { isJsonObject } from '../base/json.ts';
import type { StoredImage } from '../image/image-store.ts';
import { decompress } from '../layer/decompress.ts';
import type { Descriptor, Platform } from '../oci/documents.ts';
import { parseImageConfig, parseManifestOrIndex } from '../oci/parse.ts';
import { parseReference } from '../oci/reference.ts';
import type { Engine } from './engine.ts';
import { namingFullDisk } from './full-disk.ts';
import { withinBudget } from './gc/within-budget.ts';
import { layoutSource, openFiles, type LayoutFiles } from './layout-files.ts';
import { storeImage } from './pull.ts';
import { withVertex, type CallOptions } from './with-vertex.ts';

export interface LoadedImage {
  readonly image: StoredImage;
  readonly names: readonly string[];
}

export async function loadImages(
  engine: Engine,
  source: { readonly path: string } | { readonly stream: AsyncIterable<Uint8Array> },
  platform: Platform,
  options: CallOptions,
): Promise<readonly LoadedImage[]> {
  using _lease = engine.leases.enter();
  return await namingFullDisk(engine.options.root, () =>
    withVertex(options.sink, engine.host, 'load', 'load images', () =>
      withinBudget(engine.budget, options.signal, (signal) =>
        loadFrom(engine, source, platform, { ...options, signal }),
      ),
    ),
  );
}

async function loadFrom(
  engine: Engine,
  source: { readonly path: string } | { readonly stream: AsyncIterable<Uint8Array> },
  platform: Platform,
  options: CallOptions,
): Promise<readonly LoadedImage[]> {
  using files = await openFiles(engine, source, options.signal);
  if (files.has('manifest.json')) return await loadDocker(engine, files, options.signal);
  if (files.has('index.json') && files.has('oci-layout'))
    return await loadLayout(engine, files, platform, options);
  throw new TsbuildError('ARCHIVE_INVALID', 'this is neither a docker archive nor an OCI layout', {
    hint: 'a root file system goes with "tsbuild import"',
  });
}

function parseJson(bytes: Uint8Array, what: string): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (error) {
    throw new TsbuildError('ARCHIVE_INVALID', `${what} is not JSON`, { cause: error });
  }
}

async function loadDocker(
  engine: Engine,
  files: LayoutFiles,
  signal: AbortSignal,
): Promise<readonly LoadedImage[]> {
  const list = parseJson(files.read('manifest.json'), 'manifest.json');
  if (!Array.isArray(list)) throw new TsbuildError('ARCHIVE_INVALID', 'manifest.json is not an array');
  const loaded: LoadedImage[] = [];
  for (const entry of list as readonly unknown[]) {
    if (!isJsonObject(entry) || typeof entry['Config'] !== 'string' || !Array.isArray(entry['Layers']))
      throw new TsbuildError('ARCHIVE_INVALID', 'manifest.json has an entry without Config or Layers');
    const bytes = files.read(entry['Config']);
    const config = parseImageConfig(bytes, entry['Config']);
    const { diff_ids } = config.rootfs;
    const paths = entry['Layers'] as readonly unknown[];
    if (paths.length !== diff_ids.length)
      throw new TsbuildError(
        'IMAGE_INVALID',
        `the archive names ${paths.length} layers, the config ${diff_ids.length}`,
      );
    for (const [index, diffID] of diff_ids.entries())
      await keepLayer(engine, files, String(paths[index]), diffID, signal);
    const image = await engine.images.putBytes(bytes);
    const names = Array.isArray(entry['RepoTags'])
      ? (entry['RepoTags'] as readonly unknown[]).filter((tag) => typeof tag === 'string')
      : [];
    for (const name of names) engine.images.tag(parseReference(name), image.id);
    loaded.push({ image, names });
  }
  return loaded;
}

async function keepLayer(
  engine: Engine,
  files: LayoutFiles,
  path: string,
  diffID: DiffID,
  signal: AbortSignal,
): Promise<void> {
  if (engine.images.hasLayer(diffID)) return;
  using writer = engine.layers.create();
  const digester = createDigester();
  for await (const chunk of decompress(files.open(path))) {
    signal.throwIfAborted();
    digester.update(chunk);
    writer.write(chunk);
  }
  const actual = digester.digest();
  if (actual !== diffID)
    throw new TsbuildError(
      'DIGEST_MISMATCH',
      `layer ${JSON.stringify(path)} has the digest ${actual}, the config says ${diffID}`,
    );
  writer.commit();
}

async function loadLayout(
  engine: Engine,
  files: LayoutFiles,
  platform: Platform,
  options: CallOptions,
): Promise<readonly LoadedImage[]> {
  const parsed = parseManifestOrIndex(files.read('index.json'), 'index.json');
  if (parsed.kind !== 'index') throw new TsbuildError('ARCHIVE_INVALID', 'index.json is no index');
  const source = layoutSource(files);
  const loaded: LoadedImage[] = [];
  for (const descriptor of parsed.index.manifests) {
    const image = await storeImage(engine, source, descriptor, platform, 'load', options);
    const names = namesOf(descriptor);
    for (const name of names) engine.images.tag(parseReference(name), image.id);
    loaded.push({ image, names });
  }
  return loaded;
}

function namesOf({ annotations }: Descriptor): readonly string[] {
  const full =
    annotations?.['io.containerd.image.name'] ?? annotations?.['org.opencontainers.image.ref.name'];
  if (full === undefined) return [];
  try {
    parseReference(full);
    return full.includes('/') || full.includes(':') ? [full] : [];
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return [];
  }
}
