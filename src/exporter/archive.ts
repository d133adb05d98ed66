/**
 * Archives: an OCI layout as one tar, and what `docker save` writes (manifest.json with uncompressed layers).
 *
 * Written in one pass; a file appears when it is complete.
 *
 * Spec: OCI image-spec v1.1.1, image-layout.md; moby image-spec v1.2, "Combined Image JSON + Filesystem Changeset".
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { hexOf, pathOf, type Digest } from '../base/digest.ts';
import { ioError, TsbuildError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { copyImage, type CopyOptions } from '../content/copy-image.ts';
import type { ContentStore } from '../content/content-store.ts';
import type { BlobSink, BlobSource } from '../content/roles.ts';
import type { ImageStore, StoredImage } from '../image/image-store.ts';
import { createTarWriter, type TarWriter } from '../layer/tar-writer.ts';
import type { Descriptor } from '../oci/documents.ts';
import { MAX_DOCUMENT } from '../oci/parse.ts';
import { familiarName, type Reference } from '../oci/reference.ts';
import { LAYOUT_VERSION, layoutIndex } from './oci-layout.ts';
import { makeParent, stage } from './staged.ts';

/** A path, or a stream that stays open. */
export type Destination = string | NodeJS.WritableStream;

interface Out {
  write(bytes: Uint8Array): void;
  /** Lets a slow stream catch up. */
  drain(): Promise<void>;
}

/** Gives a place to write to; with a path, the file is there only if `work` succeeded. */
export async function withDestination(
  destination: Destination,
  host: Host,
  work: (out: Out) => Promise<void>,
): Promise<void> {
  if (typeof destination !== 'string') {
    await work(streamOut(destination));
    return;
  }
  makeParent(destination);
  using staged = stage(destination, host);
  let fd: number;
  try {
    fd = openSync(staged.path, 'wx', 0o644);
  } catch (error) {
    throw ioError(`write ${JSON.stringify(destination)}`, error);
  }
  try {
    await work(fileOut(fd, destination));
  } finally {
    closeSync(fd);
  }
  staged.commit();
}

function fileOut(fd: number, destination: string): Out {
  return {
    write(bytes) {
      try {
        for (let at = 0; at < bytes.byteLength; ) at += writeSync(fd, bytes, at);
      } catch (error) {
        throw ioError(`write ${JSON.stringify(destination)}`, error);
      }
    },
    drain: () => Promise.resolve(),
  };
}

function streamOut(stream: NodeJS.WritableStream): Out {
  let full: Promise<void> | undefined;
  let failure: Error | undefined;
  stream.on('error', (error: Error) => (failure = error));
  return {
    write(bytes) {
      if (failure !== undefined) throw ioError('write to the output', failure);
      // why: the writer reuses its buffer, the stream keeps what it gets.
      if (!stream.write(Uint8Array.from(bytes)))
        full = new Promise((resolve) => stream.once('drain', resolve));
    },
    async drain() {
      await full;
      full = undefined;
    },
  };
}

const FILE = { type: 'file', mode: 0o644, uid: 0, gid: 0, mtime: 0 } as const;
const DIRECTORY = { type: 'directory', mode: 0o755, uid: 0, gid: 0, size: 0, mtime: 0 } as const;

async function addBody(
  writer: TarWriter,
  out: Out,
  path: string,
  size: number,
  body: AsyncIterable<Uint8Array>,
  report?: (current: number) => void,
): Promise<void> {
  writer.entry({ ...FILE, path, size });
  let current = 0;
  for await (const chunk of body) {
    writer.content(chunk);
    current += chunk.byteLength;
    report?.(current);
    await out.drain();
  }
  if (current !== size)
    throw new TsbuildError('SIZE_MISMATCH', `${JSON.stringify(path)} has ${current} bytes, expected ${size}`);
}

function addText(writer: TarWriter, path: string, text: string): void {
  const bytes = Buffer.from(text);
  writer.entry({ ...FILE, path, size: bytes.byteLength });
  writer.content(bytes);
}

export async function exportLayoutArchive(
  manifest: Descriptor,
  names: { readonly full: readonly string[]; readonly tags: readonly string[] },
  source: BlobSource,
  destination: Destination,
  host: Host,
  options: CopyOptions,
): Promise<void> {
  await withDestination(destination, host, async (out) => {
    const writer = createTarWriter(out);
    for (const path of ['blobs', 'blobs/sha256']) writer.entry({ ...DIRECTORY, path });
    const done = new Set<Digest>();
    let turn: Promise<unknown> = Promise.resolve();
    const sink: BlobSink = {
      has: (blob) => Promise.resolve(done.has(blob.digest)),
      put(blob, open, { onProgress }) {
        // One archive, one writer: blobs queue up.
        const mine = turn.then(() =>
          addBody(writer, out, `blobs/${pathOf(blob.digest)}`, blob.size, open(), onProgress),
        );
        turn = mine.catch(() => undefined);
        done.add(blob.digest);
        return mine;
      },
    };
    await copyImage(manifest, source, sink, options);
    addText(writer, 'index.json', JSON.stringify(layoutIndex(manifest, names.full, names.tags)));
    addText(writer, 'oci-layout', LAYOUT_VERSION);
    writer.end();
    await out.drain();
  });
}

export interface SavedImage {
  readonly image: StoredImage;
  readonly references: readonly Reference[];
}

/** What `docker save` writes and `docker load`, podman and skopeo read; several images share their layers. */
export async function exportDockerArchive(
  saved: readonly SavedImage[],
  images: ImageStore,
  content: ContentStore,
  destination: Destination,
  host: Host,
  options: CopyOptions,
): Promise<void> {
  await withDestination(destination, host, async (out) => {
    const writer = createTarWriter(out);
    const written = new Set<string>();
    const entries: unknown[] = [];
    for (const { image, references } of saved) {
      const layers: string[] = [];
      for (const diffID of image.config.rootfs.diff_ids) {
        options.signal.throwIfAborted();
        const layer = images.openLayer(diffID);
        if (layer === undefined)
          throw new TsbuildError('BLOB_NOT_FOUND', `cannot find the bytes of layer ${diffID}`);
        const path = `${hexOf(diffID)}.tar`;
        layers.push(path);
        if (written.has(path)) continue;
        written.add(path);
        const size = layer.path === undefined ? await sizeOf(layer.tar()) : layer.size;
        await addBody(writer, out, path, size, layer.tar(), (current) =>
          options.onProgress?.({ digest: diffID, size, mediaType: '' }, current, current === size),
        );
      }
      const config = `${hexOf(image.id)}.json`;
      if (!written.has(config))
        addText(writer, config, Buffer.from(await content.read(image.id, MAX_DOCUMENT)).toString('utf8'));
      written.add(config);
      entries.push({
        Config: config,
        RepoTags: references.length === 0 ? null : references.map(familiarName),
        Layers: layers,
      });
    }
    addText(writer, 'manifest.json', JSON.stringify(entries));
    writer.end();
    await out.drain();
  });
}

/** why: a tar header comes before its content; a layer held compressed must be measured first. */
async function sizeOf(body: AsyncIterable<Uint8Array>): Promise<number> {
  let size = 0;
  for await (const chunk of body) size += chunk.byteLength;
  return size;
}
