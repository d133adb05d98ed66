/** Where a built image goes besides the store: layouts, archives, plain files. */
import { join } from 'node:path';
import type { Digest } from '../base/digest.ts';
import { TsbuildError } from '../base/errors.ts';
import type { StoredImage } from '../image/image-store.ts';
import type { AnnotationsByImage } from '../image/manifest.ts';
import { formatPlatform } from '../oci/platform.ts';
import { formatReference, type Reference } from '../oci/reference.ts';
import type { LayerForm } from '../layer/layer-form.ts';
import type { Engine } from './engine.ts';
import { transferOptions } from './transfer-progress.ts';
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

export interface OutputOptions extends CallOptions {
  /** Of OCI manifests. */
  readonly annotations?: AnnotationsByImage | undefined;
}

/** The digest of the manifest that was written, where there is one. */
export async function writeOutput(
  engine: Engine,
  images: readonly StoredImage[],
  references: readonly Reference[],
  output: Output,
  { sink, signal, annotations }: OutputOptions,
): Promise<Digest | undefined> {
  const { host, forms } = engine;
  const names = {
    full: references.map(formatReference),
    tags: references.map((reference) => reference.tag ?? 'latest'),
  };
  const vertex = `export ${output.kind}`;
  const progress = transferOptions(vertex, 'exporting', host, { sink, signal });
  const asOci = { format: 'oci' as const, annotations, signal };
  return withVertex(sink, host, vertex, `exporting to ${output.kind}`, async () => {
    switch (output.kind) {
      case 'oci-directory': {
        const { exportLayoutDirectory } = await import('../exporter/oci-layout.ts');
        const manifest = await forms.createRoot(images, { ...asOci, form: output.form });
        await exportLayoutDirectory(manifest, names, forms.source, output.destination, host, progress);
        return manifest.digest;
      }
      case 'oci-archive': {
        const { exportLayoutArchive } = await import('../exporter/archive.ts');
        const manifest = await forms.createRoot(images, { ...asOci, form: output.form });
        await exportLayoutArchive(manifest, names, forms.source, output.destination, host, progress);
        return manifest.digest;
      }
      case 'docker-archive': {
        const { exportDockerArchive } = await import('../exporter/archive.ts');
        await exportDockerArchive(
          [{ image: onlyOne(images, 'a docker archive'), references }],
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
        if (output.kind === 'tar')
          await exportRootfsTar(engine, onlyOne(images, 'a tar of files'), output.destination, {
            sink,
            signal,
          });
        else
          for (const image of images)
            await exportRootfsDirectory(engine, image, directoryOf(output.destination, image, images), {
              sink,
              signal,
            });
        return undefined;
      }
    }
  });
}

function onlyOne(images: readonly StoredImage[], what: string): StoredImage {
  const [image, ...more] = images;
  if (image !== undefined && more.length === 0) return image;
  throw new TsbuildError('USAGE', `${what} holds one platform, and ${images.length} were built`, {
    hint: 'use type=oci or type=local, or build one platform',
  });
}

/** Several platforms lie side by side: `linux_amd64`, `linux_arm64`. */
function directoryOf(destination: string, { config }: StoredImage, images: readonly StoredImage[]): string {
  return images.length === 1 ? destination : join(destination, formatPlatform(config).replaceAll('/', '_'));
}
