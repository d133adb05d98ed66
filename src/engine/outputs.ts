/** Where a built image goes besides the store: layouts, archives, plain files. */
import type { Digest } from '../base/digest.ts';
import type { StoredImage } from '../image/image-store.ts';
import { formatReference, type Reference } from '../oci/reference.ts';
import type { LayerForm } from '../image/manifest.ts';
import type { Engine } from './engine.ts';
import { withVertex, type CallOptions } from './with-vertex.ts';

/** `stdout` is given by the caller where the destination is `-`. */
export type Output =
  | { readonly kind: 'oci-directory'; readonly destination: string; readonly form: LayerForm }
  | {
      readonly kind: 'oci-archive' | 'docker-archive';
      readonly destination: string | NodeJS.WritableStream;
      readonly form: LayerForm;
    }
  | { readonly kind: 'local'; readonly destination: string }
  | { readonly kind: 'tar'; readonly destination: string | NodeJS.WritableStream };

/** The digest of the manifest that was written, where there is one. */
export async function writeOutput(
  engine: Engine,
  image: StoredImage,
  references: readonly Reference[],
  output: Output,
  { sink, signal }: CallOptions,
): Promise<Digest | undefined> {
  const { host, forms } = engine;
  const names = {
    full: references.map(formatReference),
    tags: references.map((reference) => reference.tag ?? 'latest'),
  };
  const vertex = `export ${output.kind}`;
  const progress = {
    signal,
    onProgress: (blob: { readonly digest: string; readonly size: number }, current: number, done: boolean) =>
      sink.emit({
        kind: 'transfer',
        vertex,
        item: blob.digest,
        action: 'exporting',
        current,
        total: blob.size,
        unit: 'bytes',
        done,
        at: host.now(),
      }),
  };
  return withVertex(sink, host, vertex, `exporting to ${output.kind}`, async () => {
    switch (output.kind) {
      case 'oci-directory': {
        const { exportLayoutDirectory } = await import('../exporter/oci-layout.ts');
        const manifest = await forms.createManifest(image, { form: output.form, format: 'oci', signal });
        await exportLayoutDirectory(manifest, names, forms.source, output.destination, host, progress);
        return manifest.digest;
      }
      case 'oci-archive': {
        const { exportLayoutArchive } = await import('../exporter/archive.ts');
        const manifest = await forms.createManifest(image, { form: output.form, format: 'oci', signal });
        await exportLayoutArchive(manifest, names, forms.source, output.destination, host, progress);
        return manifest.digest;
      }
      case 'docker-archive': {
        const { exportDockerArchive } = await import('../exporter/archive.ts');
        await exportDockerArchive(
          [{ image, references }],
          engine.images,
          engine.content,
          output.destination,
          host,
          progress,
        );
        return undefined;
      }
      case 'local':
      case 'tar': {
        const { exportRootfsDirectory, exportRootfsTar } = await import('./export-rootfs.ts');
        if (output.kind === 'local') await exportRootfsDirectory(engine, image, output.destination, signal);
        else await exportRootfsTar(engine, image, output.destination, signal);
        return undefined;
      }
    }
  });
}
