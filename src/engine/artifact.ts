/**
 * Artifacts that refer to an image: signatures, attestations, SBOMs, any files. An artifact is a manifest with a
 * `subject`; registries list them for the image (src/registry/referrers.ts).
 *
 * Spec: OCI image-spec v1.1.1, manifest.md, "Guidelines for Artifact Usage".
 */
import { digestOf, type Digest } from '../base/digest.ts';
import { copyImage } from '../content/copy-image.ts';
import type { BlobSource } from '../content/roles.ts';
import { MEDIA_TYPES, type Descriptor, type Manifest } from '../oci/documents.ts';
import { familiarName, type Reference } from '../oci/reference.ts';
import type { Engine } from './engine.ts';
import { transferOptions } from './transfer-progress.ts';
import { withVertex, type CallOptions } from './with-vertex.ts';

export interface ArtifactFile {
  readonly mediaType: string;
  readonly bytes: Uint8Array;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface Artifact {
  readonly artifactType: string;
  readonly files: readonly ArtifactFile[];
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Pushes an artifact beside the image that it refers to. Returns its digest. */
export async function attachArtifact(
  engine: Engine,
  image: Reference,
  { artifactType, files, annotations }: Artifact,
  options: CallOptions,
): Promise<Digest> {
  const vertex = `attach to ${familiarName(image)}`;
  const io = transferOptions(vertex, 'pushing', engine.host, options);
  const asking = { signal: io.signal, onNotice: io.onNotice };
  return withVertex(options.sink, engine.host, vertex, vertex, async () => {
    const registry = await engine.registry();
    const { mediaType, digest, size } = await registry.source(image).resolve(image, asking);
    const held = new Map<string, Uint8Array>();
    const hold = (type: string, bytes: Uint8Array): Descriptor => {
      const made = { mediaType: type, digest: digestOf(bytes), size: bytes.byteLength };
      held.set(made.digest, bytes);
      return made;
    };
    const manifest: Manifest = {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.manifest,
      artifactType,
      config: hold(MEDIA_TYPES.empty, Buffer.from('{}')),
      layers: files.map((file) => ({
        ...hold(file.mediaType, file.bytes),
        ...(file.annotations === undefined ? {} : { annotations: file.annotations }),
      })),
      subject: { mediaType, digest, size },
      ...(annotations === undefined ? {} : { annotations }),
    };
    const root = hold(MEDIA_TYPES.manifest, Buffer.from(JSON.stringify(manifest)));
    const source: BlobSource = { open: (blob) => once(held.get(blob.digest)) };
    await copyImage(root, source, registry.sink(image), io);
    return root.digest;
  });
}

/** What refers to an image; of one type, if it is given. */
export async function listArtifacts(
  engine: Engine,
  image: Reference,
  artifactType: string | undefined,
  options: CallOptions,
): Promise<readonly Descriptor[]> {
  const vertex = `artifacts of ${familiarName(image)}`;
  const { signal, onNotice } = transferOptions(vertex, 'copying', engine.host, options);
  const registry = await engine.registry();
  const { digest } = await registry.source(image).resolve(image, { signal, onNotice });
  return registry.referrers(image, digest, {
    signal,
    onNotice,
    ...(artifactType === undefined ? {} : { artifactType }),
  });
}

async function* once(bytes: Uint8Array | undefined): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes ?? new Uint8Array());
}
