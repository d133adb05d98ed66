/**
 * Moving an image: its documents are read first, then blobs are moved side by side, then manifests are put, children
 * before parents and subjects before what refers to them; the tag comes last. Whatever the two ends are (store,
 * registry, layout, archive), this is the only way images travel.
 */
import pLimit from 'p-limit';
import { MEDIA_TYPES, type Descriptor } from '../oci/documents.ts';
import { MAX_DOCUMENT, parseManifestOrIndex } from '../oci/parse.ts';
import { isTsbuildError, TsbuildError } from '../base/errors.ts';
import type { BlobSink, BlobSource, IoOptions, Notice } from './roles.ts';

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
  readonly onNotice?: ((notice: Notice) => void) | undefined;
  /** Blobs that stay where they are: layers that must not be distributed. */
  readonly isLeftOut?: (blob: Descriptor) => boolean;
}

/** A manifest or an index, read. */
interface Document {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
  /** Digest of what it refers to. */
  readonly subject: string | undefined;
  readonly blobs: readonly Descriptor[];
  readonly children: readonly Document[];
  /** Entries of an index that are no manifests. */
  readonly others: readonly Descriptor[];
}

/** Copies everything below and including `root`. Idempotent: what the sink has is not moved. */
export async function copyImage(
  root: Descriptor,
  from: BlobSource,
  to: BlobSink,
  options: CopyOptions,
): Promise<void> {
  const limit = pLimit(PARALLEL);
  const document = await readTree(root, from, options, limit, 0);
  const documents = inOrder(document);
  const blobs = unique(documents.flatMap((each) => each.blobs)).filter(
    (blob) => options.isLeftOut?.(blob) !== true,
  );
  await allOrAbort(blobs, options, (blob, inner) => limit(() => copyBlob(blob, from, to, inner)));
  const others = unique(documents.flatMap((each) => each.others));
  await allOrAbort(others, options, (blob, inner) => limit(() => copyIfThere(blob, from, to, inner)));
  for (const each of documents) await putDocument(each, from, to, options);
}

async function readTree(
  node: Descriptor,
  from: BlobSource,
  options: CopyOptions,
  limit: ReturnType<typeof pLimit>,
  depth: number,
): Promise<Document> {
  if (depth > MAX_DEPTH)
    throw new TsbuildError('IMAGE_INVALID', `indexes are nested more than ${MAX_DEPTH} deep`);
  const { signal, onNotice } = options;
  const bytes = await limit(() => collect(from.open(node, { signal, onNotice })));
  const parsed = parseManifestOrIndex(bytes, `manifest ${node.digest}`);
  if (parsed.kind === 'manifest') {
    const { config, layers, subject } = parsed.manifest;
    const blobs = [config, ...layers];
    return { descriptor: node, bytes, subject: subject?.digest, blobs, children: [], others: [] };
  }
  const entries = unique(parsed.index.manifests);
  const listed = entries.filter(({ mediaType }) => isManifestType(mediaType));
  const others = entries.filter(({ mediaType }) => !isManifestType(mediaType));
  const children: Document[] = [];
  await allOrAbort([...listed.keys()], options, async (at, inner) => {
    const child = listed[at];
    if (child !== undefined)
      children[at] = await readTree(child, from, { ...options, ...inner }, limit, depth + 1);
  });
  return { descriptor: node, bytes, subject: parsed.index.subject?.digest, blobs: [], children, others };
}

/**
 * What an index lists of kinds that nobody knows is moved as bytes, without what it may refer to in turn. Where the
 * source does not hold it, the copy does not either.
 */
async function copyIfThere(
  blob: Descriptor,
  from: BlobSource,
  to: BlobSink,
  options: CopyOptions,
): Promise<void> {
  try {
    await copyBlob(blob, from, to, options);
  } catch (error) {
    if (!isTsbuildError(error, 'BLOB_NOT_FOUND') && !isTsbuildError(error, 'REGISTRY_NOT_FOUND')) throw error;
  }
}

function unique(descriptors: readonly Descriptor[]): readonly Descriptor[] {
  return [...new Map(descriptors.map((each) => [each.digest, each])).values()];
}

/** Children before parents; what has a subject after everything else of its index. */
function inOrder(root: Document): readonly Document[] {
  const ordered = new Map<string, Document>();
  function visit(document: Document): void {
    const plain = document.children.filter(({ subject }) => subject === undefined);
    const referring = document.children.filter(({ subject }) => subject !== undefined);
    for (const child of [...plain, ...referring]) visit(child);
    if (!ordered.has(document.descriptor.digest)) ordered.set(document.descriptor.digest, document);
  }
  visit(root);
  return [...ordered.values()];
}

/** The bytes were read already, and registries count how often they are asked for manifests. */
async function putDocument(
  { descriptor, bytes, blobs }: Document,
  from: BlobSource,
  to: BlobSink,
  options: CopyOptions,
): Promise<void> {
  const source: BlobSource = { open: () => once(bytes) };
  try {
    await copyBlob(descriptor, source, to, options);
  } catch (error) {
    if (to.isIncomplete?.(error) !== true) throw error;
    // What was there a moment ago may be gone (garbage collection, a slow replica): once more.
    const kept = blobs.filter((blob) => options.isLeftOut?.(blob) !== true);
    for (const blob of kept) await copyBlob(blob, from, to, options);
    await copyBlob(descriptor, source, to, options);
  }
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
  options: CopyOptions & Pick<Parameters<BlobSink['put']>[2], 'origin'>,
): Promise<void> {
  const { signal, onProgress, onNotice, origin } = options;
  if (signal.aborted) throw new TsbuildError('ABORTED', 'the transfer was aborted');
  const io: IoOptions = {
    signal,
    onNotice,
    ...(onProgress === undefined ? {} : { onProgress: (current) => onProgress(blob, current, false) }),
  };
  const reading = { signal, onNotice, isVerifiedBySink: to.isVerifying === true };
  const put = (): Promise<void> =>
    to.put(blob, () => from.open(blob, reading), { ...io, ...(origin === undefined ? {} : { origin }) });
  if (!(await to.has(blob, { signal, onNotice }))) {
    try {
      await put();
    } catch (error) {
      const where = isDamage(error) ? from.distrust?.(blob) : undefined;
      if (where === undefined) throw error;
      // Damaged on its way: once more, from another place if there is one.
      onNotice?.({ kind: 'retry', host: where, reason: `blob ${blob.digest} came damaged`, waitMs: 0 });
      try {
        await put();
      } catch (again) {
        throw isDamage(again) ? damagedTwice(again, blob, from.distrust?.(blob) ?? where) : again;
      }
    }
  }
  onProgress?.(blob, blob.size, true);
}

/** What came is not what was asked for. */
export function isDamage(error: unknown): error is TsbuildError {
  return isTsbuildError(error, 'DIGEST_MISMATCH') || isTsbuildError(error, 'SIZE_MISMATCH');
}

function damagedTwice(error: TsbuildError, { digest, size }: Descriptor, where: string): TsbuildError {
  return new TsbuildError(
    error.code,
    `cannot pull from ${where}: blob ${digest} (${size} bytes) came damaged twice: ${error.message}`,
    { cause: error, hint: 'the registry, or something before it, damages it' },
  );
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
