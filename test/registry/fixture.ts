/** Clients, images and stores for tests of registries. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestOf } from '../../src/base/digest.ts';
import { isTsbuildError, type ErrorCode, type TsbuildError } from '../../src/base/errors.ts';
import type { Host } from '../../src/base/host.ts';
import { openContentStore, type ContentStore } from '../../src/content/content-store.ts';
import type { Notice } from '../../src/content/roles.ts';
import { MEDIA_TYPES, type Descriptor } from '../../src/oci/documents.ts';
import type { Reference } from '../../src/oci/reference.ts';
import { createRegistry } from '../../src/registry/client.ts';
import type { Registry } from '../../src/registry/registry.ts';
import { plainSettings, type RegistrySettings } from '../../src/registry/settings.ts';

let names = 0;
export const host: Host = { now: () => Date.now(), unique: () => `1.1.${(names += 1)}` };
export const signal = new AbortController().signal;

export interface Bench extends AsyncDisposable {
  readonly directory: string;
  readonly store: ContentStore;
  readonly notices: Notice[];
  readonly io: { readonly signal: AbortSignal; readonly onNotice: (notice: Notice) => void };
  client(settings?: Partial<RegistrySettings>): Registry;
}

/** A directory, a store, and clients that wait little. */
export function openBench(): Bench {
  const directory = mkdtempSync(join(tmpdir(), 'tsbuild-registry-'));
  const clients: Registry[] = [];
  const notices: Notice[] = [];
  return {
    directory,
    store: openContentStore(join(directory, 'store'), host),
    notices,
    io: { signal, onNotice: (notice) => void notices.push(notice) },
    client(settings = {}) {
      const plain = plainSettings(() => 0.5);
      const made = createRegistry(
        {
          ...plain,
          retry: { tries: 5, baseMs: 4, maxMs: 20 },
          timeouts: { connectMs: 2000, idleMs: 400, answerMs: 2000 },
          configFiles: [join(directory, 'config.json')],
          ...settings,
        },
        host,
      );
      clients.push(made);
      return made;
    },
    async [Symbol.asyncDispose]() {
      for (const client of clients) await client[Symbol.asyncDispose]();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

export interface TestImage {
  readonly root: Descriptor;
  readonly blobs: ReadonlyMap<string, Buffer>;
  readonly manifest: Buffer;
  readonly layers: readonly Descriptor[];
}

/** Bytes that no two seeds share. */
export function bytesOf(size: number, seed: number): Buffer {
  const bytes = Buffer.alloc(size);
  let state = (seed * 2654435761 + 12345) >>> 0;
  for (let at = 0; at < size; at += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[at] = state >>> 24;
  }
  return bytes;
}

/** An image whose manifest has members that nobody knows. */
export function makeImage(sizes: readonly number[], seed = 1): TestImage {
  const blobs = new Map<string, Buffer>();
  const add = (mediaType: string, bytes: Buffer): Descriptor => {
    const digest = digestOf(bytes);
    blobs.set(digest, bytes);
    return { mediaType, digest, size: bytes.byteLength };
  };
  const layers = sizes.map((size, index) => add(MEDIA_TYPES.layerGzip, bytesOf(size, seed * 100 + index)));
  const config = add(
    MEDIA_TYPES.config,
    Buffer.from(
      JSON.stringify({
        architecture: 'amd64',
        os: 'linux',
        rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
        seed,
      }),
    ),
  );
  const manifest = Buffer.from(
    JSON.stringify(
      { schemaVersion: 2, mediaType: MEDIA_TYPES.manifest, config, layers, 'x-unknown': { z: 1, a: [seed] } },
      null,
      3,
    ),
  );
  const root = { mediaType: MEDIA_TYPES.manifest, digest: digestOf(manifest), size: manifest.byteLength };
  return { root, blobs, manifest, layers };
}

/** Puts an image into a store. */
export function keep(store: ContentStore, image: TestImage): void {
  for (const bytes of image.blobs.values()) store.write(bytes);
  store.write(image.manifest);
}

export function reference(registry: string, tag = '1', repository = 'team/app'): Reference {
  return { registry, repository, tag };
}

export async function rejects(
  promise: Promise<unknown>,
  code: ErrorCode,
  message = /./,
): Promise<TsbuildError> {
  let caught: TsbuildError | undefined;
  await assert.rejects(promise, (error) => {
    assert.ok(isTsbuildError(error, code), `${String(error)} (${(error as { code?: string }).code})`);
    assert.match(error.message, message);
    caught = error;
    return true;
  });
  if (caught === undefined) throw new Error('nothing was thrown');
  return caught;
}
