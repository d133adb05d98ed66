/**
 * Moving an image: children first, the manifest when all that it names is there, the tag last. Whatever the two
 * ends are (store, registry, layout, archive), this is the only way images travel.
 */
import pLimit from 'p-limit';
import { MEDIA_TYPES, type Descriptor } from '../oci/documents.ts';
import { MAX_DOCUMENT, parseManifestOrIndex } from '../oci/parse.ts';
import { TsbuildError } from '../base/errors.ts';
import type { BlobSink, BlobSource, IoOptions } from './roles.ts';

/** Per registry host, as its peers have it. */
const PARALLEL = 4;
const MAX_DEPTH = 4;

const MANIFESTS: ReadonlySet<string> = new Set([
  MEDIA_TYPES.manifest,
  MEDIA_TYPES.dockerManifest,
  MEDIA_TYPES.index,
  MEDIA_TYPES.dockerIndex,
]);

/** Manifests and indexes go to another place than blobs in a registry. */
export function isManifestType(mediaType: string): boolean {
  return MANIFESTS.has(mediaType);
}

export interface CopyOptions {
  readonly signal: AbortSignal;
  readonly onProgress?: (blob: Descriptor, current: number, done: boolean) => void;
}

/** Copies everything below and including `root`. Idempotent: what the sink has is not moved. */
export async function copyImage(
  root: Descriptor,
  from: BlobSource,
  to: BlobSink,
  options: CopyOptions,
): Promise<void> {
  const limit = pLimit(PARALLEL);
  await copyTree(root, from, to, options, limit, 0);
}

async function copyTree(
  node: Descriptor,
  from: BlobSource,
  to: BlobSink,
  options: CopyOptions,
  limit: ReturnType<typeof pLimit>,
  depth: number,
): Promise<void> {
  if (depth > MAX_DEPTH)
    throw new TsbuildError('IMAGE_INVALID', `indexes are nested more than ${MAX_DEPTH} deep`);
  if (!isManifestType(node.mediaType)) {
    await limit(() => copyBlob(node, from, to, options));
    return;
  }
  const bytes = await collect(from.open(node, { signal: options.signal }));
  const parsed = parseManifestOrIndex(bytes, `manifest ${node.digest}`);
  const children =
    parsed.kind === 'index' ? parsed.index.manifests : [parsed.manifest.config, ...parsed.manifest.layers];
  const unique = [...new Map(children.map((child) => [child.digest, child])).values()];
  await allOrAbort(unique, options, (child, inner) => copyTree(child, from, to, inner, limit, depth + 1));
  // why: it was read already, and registries count how often they are asked for manifests.
  await copyBlob(node, { open: () => once(bytes) }, to, options);
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}

/** All of them, or the first failure once the others have ended. */
export async function allOrAbort<T, O extends { readonly signal: AbortSignal }>(
  items: readonly T[],
  options: O,
  work: (item: T, options: O) => Promise<void>,
): Promise<void> {
  const abort = new AbortController();
  const inner = { ...options, signal: AbortSignal.any([options.signal, abort.signal]) };
  let failure: { readonly error: unknown } | undefined;
  await Promise.all(
    items.map((item) =>
      work(item, inner).catch((error: unknown) => {
        failure ??= { error };
        abort.abort();
      }),
    ),
  );
  if (failure !== undefined) throw failure.error;
}

export async function copyBlob(
  blob: Descriptor,
  from: BlobSource,
  to: BlobSink,
  { signal, onProgress }: CopyOptions,
): Promise<void> {
  signal.throwIfAborted();
  const report = (current: number): void => onProgress?.(blob, current, false);
  const io: IoOptions = onProgress === undefined ? { signal } : { signal, onProgress: report };
  if (!(await to.has(blob, { signal }))) await to.put(blob, () => from.open(blob, { signal }), io);
  onProgress?.(blob, blob.size, true);
}

export async function collect(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.byteLength;
    if (size > MAX_DOCUMENT)
      throw new TsbuildError('SIZE_MISMATCH', `a document is larger than ${MAX_DOCUMENT} bytes`);
    chunks.push(Uint8Array.from(chunk));
  }
  return Buffer.concat(chunks);
}
