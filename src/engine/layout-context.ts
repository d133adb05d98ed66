/** `oci-layout://PATH[:TAG|@DIGEST]`: an image of a layout on disk, without a name in the store. */
import { hexOf } from '../base/digest.ts';
import { TsbuildError } from '../base/errors.ts';
import type { BlobSource } from '../content/roles.ts';
import type { StoredImage } from '../image/image-store.ts';
import type { Descriptor, Platform } from '../oci/documents.ts';
import { parseManifestOrIndex } from '../oci/parse.ts';
import type { Engine } from './engine.ts';
import { directoryFiles, type LayoutFiles } from './load.ts';
import { storeImage } from './pull.ts';
import type { CallOptions } from './with-vertex.ts';

export interface LayoutSpec {
  readonly path: string;
  /** A tag, or `@` and a digest; absent: latest, or the only one. */
  readonly select?: string;
}

/** Throws CONTEXT_NOT_FOUND, IMAGE_NOT_FOUND. */
export async function openLayoutImage(
  engine: Engine,
  { path, select }: LayoutSpec,
  platform: Platform,
  options: CallOptions,
): Promise<StoredImage> {
  using files = directoryFiles(path);
  if (!files.has('index.json') || !files.has('oci-layout'))
    throw new TsbuildError('CONTEXT_NOT_FOUND', `${JSON.stringify(path)} is not an OCI layout`, {
      hint: 'give the directory that holds index.json and oci-layout',
    });
  const parsed = parseManifestOrIndex(files.read('index.json'), `${path}/index.json`);
  if (parsed.kind !== 'index')
    throw new TsbuildError('IMAGE_INVALID', `${JSON.stringify(`${path}/index.json`)} is no index`);
  const { manifests } = parsed.index;
  const found =
    select?.startsWith('@') === true
      ? (manifests.find(({ digest }) => digest === select.slice(1)) ?? byDigest(files, select.slice(1)))
      : manifests.find((each) => tagOf(each) === (select ?? 'latest'));
  const chosen = found ?? (select === undefined && manifests.length === 1 ? manifests[0] : undefined);
  if (chosen === undefined)
    throw new TsbuildError(
      'IMAGE_NOT_FOUND',
      `the layout ${JSON.stringify(path)} has no image ${JSON.stringify(select ?? 'latest')}`,
      { hint: `it has ${manifests.map((each) => tagOf(each) ?? each.digest).join(', ')}` },
    );
  const source: BlobSource = { open: (blob) => files.open(`blobs/sha256/${hexOf(blob.digest)}`) };
  return await storeImage(engine, source, chosen, platform, `layout ${path}`, options);
}

function tagOf({ annotations }: Descriptor): string | undefined {
  const name = annotations?.['org.opencontainers.image.ref.name'];
  return name?.includes('/') === true ? name.slice(name.lastIndexOf(':') + 1) : name;
}

/** A manifest that the index does not list, as the children of an index. */
function byDigest(files: LayoutFiles, digest: string): Descriptor | undefined {
  const path = `blobs/sha256/${digest.replace(/^sha256:/, '')}`;
  if (!/^sha256:[0-9a-f]{64}$/.test(digest) || !files.has(path)) return undefined;
  const bytes = files.read(path);
  const parsed = parseManifestOrIndex(bytes, digest);
  const mediaType = parsed.kind === 'index' ? parsed.index.mediaType : parsed.manifest.mediaType;
  return { mediaType, digest: digest as Descriptor['digest'], size: bytes.byteLength };
}
