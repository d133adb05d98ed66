/**
 * Indexes from parts that were built apart (`tsbuild manifest`): images of several platforms, pushed by digest from
 * as many machines, under one name. Attestations of the parts come along.
 *
 *   lists/<digest of the name>.json   { reference, index, origins }: made by create, until it is pushed
 */
import { join } from 'node:path';
import { readJsonIfExists, writeFileAtomic } from '../base/atomic-file.ts';
import { digestOf, hexOf, type Digest } from '../base/digest.ts';
import { TsbuildError } from '../base/errors.ts';
import { isJsonObject } from '../base/json.ts';
import { collect, copyImage } from '../content/copy-image.ts';
import type { BlobSource, IoOptions } from '../content/roles.ts';
import { MEDIA_TYPES, type Descriptor, type Index, type Platform } from '../oci/documents.ts';
import { isForeignLayer } from '../oci/media-types.ts';
import { parseImageConfig, parseManifestOrIndex } from '../oci/parse.ts';
import { familiarName, formatReference, parseReference, type Reference } from '../oci/reference.ts';
import type { Registry } from '../registry/registry.ts';
import type { Engine } from './engine.ts';
import { transferOptions } from './transfer-progress.ts';
import { withVertex, type CallOptions } from './with-vertex.ts';

export interface ManifestList {
  readonly index: Index;
  /** Repository of each entry, by its digest. */
  readonly origins: ReadonlyMap<string, Reference>;
}

/** Makes an index of images in registries. Entries of members that are indexes themselves are taken over. */
export async function createManifestList(
  engine: Engine,
  name: Reference,
  members: readonly Reference[],
  options: CallOptions,
): Promise<Descriptor> {
  const vertex = `manifest ${familiarName(name)}`;
  const { signal, onNotice } = transferOptions(vertex, 'copying', engine.host, options);
  const registry = await engine.registry();
  return withVertex(options.sink, engine.host, vertex, `creating ${familiarName(name)}`, async () => {
    const entries = new Map<string, Descriptor>();
    const origins = new Map<string, Reference>();
    for (const member of members)
      for (const entry of await entriesOf(registry, member, { signal, onNotice })) {
        entries.set(entry.digest, entry);
        origins.set(entry.digest, member);
      }
    const manifests = [...entries.values()];
    checkPlatforms(manifests);
    const isDocker = manifests.every(({ mediaType }) => mediaType === MEDIA_TYPES.dockerManifest);
    const mediaType = isDocker ? MEDIA_TYPES.dockerIndex : MEDIA_TYPES.index;
    const list: ManifestList = { index: { schemaVersion: 2, mediaType, manifests }, origins };
    save(engine, name, list);
    const bytes = Buffer.from(JSON.stringify(list.index));
    return { mediaType, digest: digestOf(bytes), size: bytes.byteLength };
  });
}

async function entriesOf(
  registry: Registry,
  member: Reference,
  io: IoOptions,
): Promise<readonly Descriptor[]> {
  const source = registry.source(member);
  const root = await source.resolve(member, io);
  const parsed = parseManifestOrIndex(await collect(source.open(root, io)), familiarName(member));
  if (parsed.kind === 'index') return parsed.index.manifests;
  const { mediaType, digest, size } = root;
  const platform = await platformOf(source, parsed.manifest.config, io);
  return [{ mediaType, digest, size, ...(platform === undefined ? {} : { platform }) }];
}

/** An artifact's config says nothing of a platform. */
async function platformOf(
  source: BlobSource,
  config: Descriptor,
  io: IoOptions,
): Promise<Platform | undefined> {
  if (config.mediaType !== MEDIA_TYPES.config && config.mediaType !== MEDIA_TYPES.dockerConfig)
    return undefined;
  const parsed = parseImageConfig(await collect(source.open(config, io)), `config ${config.digest}`);
  const { os, architecture, variant } = parsed;
  const version = parsed['os.version'];
  return {
    os,
    architecture,
    ...(variant === undefined ? {} : { variant }),
    ...(version === undefined ? {} : { 'os.version': version }),
  };
}

/** Two images for one platform would make it a matter of luck which one runs. */
function checkPlatforms(manifests: readonly Descriptor[]): void {
  const seen = new Set<string>();
  for (const { platform, annotations } of manifests) {
    if (
      platform === undefined ||
      platform.os === 'unknown' ||
      annotations?.['vnd.docker.reference.type'] !== undefined
    )
      continue;
    const key = JSON.stringify([
      platform.os,
      platform.architecture,
      platform.variant,
      platform['os.version'],
    ]);
    if (seen.has(key))
      throw new TsbuildError(
        'IMAGE_INVALID',
        `two members are for ${platform.os}/${platform.architecture}${platform.variant === undefined ? '' : `/${platform.variant}`}`,
        { hint: 'name each platform once' },
      );
    seen.add(key);
  }
}

function placeOf(engine: Engine, name: Reference): string {
  return join(engine.options.root, 'lists', `${hexOf(digestOf(formatReference(name)))}.json`);
}

function save(engine: Engine, name: Reference, { index, origins }: ManifestList): void {
  const record = {
    reference: formatReference(name),
    index,
    origins: Object.fromEntries(
      [...origins].map(([digest, { registry, repository }]) => [digest, `${registry}/${repository}`]),
    ),
  };
  writeFileAtomic(engine.host, placeOf(engine, name), JSON.stringify(record), { durable: true });
}

/** A list that was made here; undefined where there is none of this name. */
export function findManifestList(engine: Engine, name: Reference): ManifestList | undefined {
  const record = readJsonIfExists(placeOf(engine, name));
  if (!isJsonObject(record) || !isJsonObject(record['origins'])) return undefined;
  const parsed = parseManifestOrIndex(Buffer.from(JSON.stringify(record['index'])), familiarName(name));
  if (parsed.kind !== 'index') return undefined;
  const origins = Object.entries(record['origins']).flatMap(([digest, place]) =>
    typeof place === 'string' ? [[digest, parseReference(place)] as const] : [],
  );
  return { index: parsed.index, origins: new Map(origins) };
}

/** Pushes a list, and what it names where the destination lacks it. */
export async function pushManifestList(
  engine: Engine,
  name: Reference,
  destinations: readonly Reference[],
  options: CallOptions,
): Promise<Digest> {
  const list = findManifestList(engine, name);
  if (list === undefined)
    throw new TsbuildError('IMAGE_NOT_FOUND', `there is no list ${JSON.stringify(familiarName(name))}`, {
      hint: 'make it with "tsbuild manifest create"',
    });
  const vertex = `push ${destinations.map(familiarName).join(', ')}`;
  const io = transferOptions(vertex, 'pushing', engine.host, options);
  const asking = { signal: io.signal, onNotice: io.onNotice };
  const registry = await engine.registry();
  const bytes = Buffer.from(JSON.stringify(list.index));
  const root = { mediaType: list.index.mediaType, digest: digestOf(bytes), size: bytes.byteLength };
  return withVertex(options.sink, engine.host, vertex, vertex, async () => {
    for (const destination of destinations) {
      const sink = registry.sink(destination);
      // Attestations name the images that they are about, so those go first.
      for (const entry of inOrder(list.index.manifests)) {
        const origin = list.origins.get(entry.digest) ?? destination;
        const mounting = {
          ...sink,
          put: (...[blob, read, more]: Parameters<typeof sink.put>) =>
            sink.put(blob, read, { ...more, origin }),
        };
        await copyImage(entry, registry.source(origin), mounting, { ...io, isLeftOut: isForeignLayer });
      }
      await sink.put(root, () => once(bytes), asking);
      await sink.tag(destination, root, asking);
    }
    return root.digest;
  });
}

function inOrder(manifests: readonly Descriptor[]): readonly Descriptor[] {
  const refers = (each: Descriptor): number =>
    each.annotations?.['vnd.docker.reference.type'] === undefined ? 0 : 1;
  return [...manifests].sort((a, b) => refers(a) - refers(b));
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}
