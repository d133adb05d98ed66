/** `tsbuild import`: a root file system as an image of one layer. */
import { normaliseLayer } from '../image/import-rootfs.ts';
import type { StoredImage } from '../image/image-store.ts';
import { formatTime, type Platform } from '../oci/documents.ts';
import { familiarName, parseReference, withDefaultTag } from '../oci/reference.ts';
import type { Engine } from './engine.ts';
import { namingFullDisk } from './full-disk.ts';
import { withinBudget } from './gc/within-budget.ts';
import { withVertex, type CallOptions } from './with-vertex.ts';

const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export interface ImportRequest {
  readonly source: AsyncIterable<Uint8Array>;
  /** As in messages and in the history. */
  readonly from: string;
  readonly name: string;
  readonly platform: Platform;
  /** Seconds; instead of the clock (SOURCE_DATE_EPOCH). */
  readonly created?: number;
}

export async function importImage(
  engine: Engine,
  { source, from, name, platform, created: seconds }: ImportRequest,
  { sink, signal }: CallOptions,
): Promise<StoredImage> {
  const reference = withDefaultTag(parseReference(name));
  const { host, images, layers } = engine;
  const vertex = `import ${from}`;
  using _lease = engine.leases.enter();
  return await namingFullDisk(engine.options.root, () =>
    withVertex(sink, host, vertex, `import ${from} as ${familiarName(reference)}`, async () => {
      const onProgress = (current: number): void =>
        sink.emit({
          kind: 'transfer',
          vertex,
          item: from,
          action: 'importing',
          current,
          unit: 'bytes',
          done: false,
          at: host.now(),
        });
      const layer = await withinBudget(engine.budget, signal, (inner) =>
        normaliseLayer(source, layers, { spool: engine.spool(), signal: inner, onProgress }),
      );
      const created = formatTime(seconds === undefined ? host.now() : seconds * 1000);
      const image = images.put({
        architecture: platform.architecture,
        ...(platform.variant === undefined ? {} : { variant: platform.variant }),
        config: { Env: [PATH] },
        created,
        history: [{ created, created_by: `tsbuild import ${from}`, comment: 'imported root file system' }],
        os: platform.os,
        rootfs: { type: 'layers', diff_ids: [layer.diffID] },
      });
      images.tag(reference, image.id);
      return image;
    }),
  );
}
