/**
 * OCI image layout as a directory: blobs/sha256/…, index.json, oci-layout.
 *
 * A new directory appears complete. An existing layout is added to, as skopeo does: blobs first, index.json by
 * rename last.
 *
 * Spec: OCI image-spec v1.1.1, image-layout.md.
 */
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { makeDirectories } from '../base/make-directories.ts';
import { createDigester, pathOf, type Digest } from '../base/digest.ts';
import { ioError, TsbuildError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { copyImage, type CopyOptions } from '../content/copy-image.ts';
import type { BlobSink, BlobSource } from '../content/roles.ts';
import { MEDIA_TYPES, type Descriptor, type Index } from '../oci/documents.ts';
import { parseManifestOrIndex } from '../oci/parse.ts';
import { checkEmptyDirectory, makeParent, stage } from './staged.ts';

export const LAYOUT_VERSION = '{"imageLayoutVersion":"1.0.0"}';

/** How an image is named in a layout's index. */
export function layoutIndex(manifest: Descriptor, names: readonly string[], tags: readonly string[]): Index {
  const entries =
    names.length === 0
      ? [manifest]
      : names.map((name, index) => ({
          ...manifest,
          annotations: {
            'io.containerd.image.name': name,
            'org.opencontainers.image.ref.name': tags[index] ?? 'latest',
          },
        }));
  return { schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests: entries };
}

export async function exportLayoutDirectory(
  manifest: Descriptor,
  names: { readonly full: readonly string[]; readonly tags: readonly string[] },
  source: BlobSource,
  destination: string,
  host: Host,
  options: CopyOptions,
): Promise<void> {
  makeParent(destination);
  checkEmptyDirectory(destination, (found) => found.includes('oci-layout'));
  const isNew = !existsSync(join(destination, 'oci-layout'));
  if (!isNew) {
    await writeLayout(manifest, names, source, destination, host, options);
    return;
  }
  using staged = stage(destination, host);
  mkdirSync(staged.path);
  await writeLayout(manifest, names, source, staged.path, host, options);
  if (existsSync(destination)) rmSync(destination, { recursive: true });
  staged.commit();
}

async function writeLayout(
  manifest: Descriptor,
  names: { readonly full: readonly string[]; readonly tags: readonly string[] },
  source: BlobSource,
  root: string,
  host: Host,
  options: CopyOptions,
): Promise<void> {
  await copyImage(manifest, source, layoutSink(root, host), options);
  const added = layoutIndex(manifest, names.full, names.tags);
  const before = readIndex(root);
  const replaced = new Set(
    added.manifests.map((each) => each.annotations?.['org.opencontainers.image.ref.name']),
  );
  const kept = before.filter(
    (each) => !replaced.has(each.annotations?.['org.opencontainers.image.ref.name']),
  );
  writeReplacing(
    join(root, 'index.json'),
    JSON.stringify({ ...added, manifests: [...kept, ...added.manifests] }),
    host,
  );
  writeReplacing(join(root, 'oci-layout'), LAYOUT_VERSION, host);
}

function readIndex(root: string): readonly Descriptor[] {
  const path = join(root, 'index.json');
  if (!existsSync(path)) return [];
  const parsed = parseManifestOrIndex(readFileSync(path), path);
  return parsed.kind === 'index' ? parsed.index.manifests : [];
}

function writeReplacing(path: string, text: string, host: Host): void {
  const temp = `${path}.${host.unique()}`;
  try {
    writeFileSync(temp, text);
    renameSync(temp, path);
  } catch (error) {
    rmSync(temp, { force: true });
    throw ioError(`write ${JSON.stringify(path)}`, error);
  }
}

/** Blobs of a layout; its `blobs` directory is made. */
export function layoutSink(root: string, host: Host): BlobSink {
  const place = (digest: Digest): string => join(root, 'blobs', pathOf(digest));
  makeDirectories(join(root, 'blobs', 'sha256'));
  return {
    isVerifying: true,
    has: (blob) =>
      Promise.resolve(statSync(place(blob.digest), { throwIfNoEntry: false })?.size === blob.size),
    async put(blob, open, { onProgress }) {
      makeDirectories(dirname(place(blob.digest)));
      const temp = `${place(blob.digest)}.${host.unique()}`;
      try {
        await writeVerified(temp, blob, open(), onProgress);
        renameSync(temp, place(blob.digest));
      } catch (error) {
        rmSync(temp, { force: true });
        throw ioError(`write ${JSON.stringify(place(blob.digest))}`, error);
      }
    },
  };
}

async function writeVerified(
  path: string,
  blob: Descriptor,
  body: AsyncIterable<Uint8Array>,
  onProgress: ((current: number) => void) | undefined,
): Promise<void> {
  const fd = openSync(path, 'wx', 0o644);
  const digester = createDigester(blob.digest);
  try {
    for await (const chunk of body) {
      digester.update(chunk);
      for (let at = 0; at < chunk.byteLength; ) at += writeSync(fd, chunk, at);
      onProgress?.(digester.size);
    }
  } finally {
    closeSync(fd);
  }
  if (digester.size !== blob.size)
    throw new TsbuildError(
      'SIZE_MISMATCH',
      `blob ${blob.digest} has ${digester.size} bytes, expected ${blob.size}`,
    );
  const actual = digester.digest();
  if (actual !== blob.digest)
    throw new TsbuildError('DIGEST_MISMATCH', `blob ${blob.digest} has the digest ${actual}`);
}
