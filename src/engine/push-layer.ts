/**
 * Layers on their way to a repository: what the registry has elsewhere is mounted, what must be compressed first is
 * uploaded while that goes on, everything else is uploaded from where it lies.
 */
import type { DiffID } from '../base/digest.ts';
import { copyBlob } from '../content/copy-image.ts';
import { layoutPath } from '../content/lazy-blobs.ts';
import type { LayerForm } from '../layer/layer-form.ts';
import type { Descriptor } from '../oci/documents.ts';
import { isForeignLayer } from '../oci/media-types.ts';
import { parseReference, type Reference } from '../oci/reference.ts';
import type { RemoteSink } from '../registry/registry.ts';
import type { Engine } from './engine.ts';
import { transferOptions } from './transfer-progress.ts';
import type { CallOptions } from './with-vertex.ts';

/** Smaller layers are compressed before it is worth beginning. */
const STREAM_FROM = 8 << 20;

export interface LayerPushing {
  /** The sink, which mounts what it can, and does not ask again for what was pushed a moment ago. */
  readonly sink: RemoteSink;
  push(diffID: DiffID, form: LayerForm): Promise<void>;
}

export interface LayerPushingOptions extends CallOptions {
  readonly vertex: string;
  readonly destination: Reference;
  /** False where another pusher does it for the same registry: this one mounts the result. */
  readonly streams: boolean;
}

export function createLayerPushing(
  engine: Engine,
  remote: RemoteSink,
  { vertex, destination, streams, sink: progress, signal }: LayerPushingOptions,
): LayerPushing {
  const { forms, blobs, host } = engine;
  const io = transferOptions(vertex, 'pushing', host, { sink: progress, signal });
  const arrived = new Set<string>();

  const sink: RemoteSink = {
    ...remote,
    // why once: who asks a second time was told that something is missing.
    has: (blob, more) => (arrived.delete(blob.digest) ? Promise.resolve(true) : remote.has(blob, more)),
    put(blob, open, more) {
      const origin = holderOf(blob);
      return remote.put(blob, open, { ...more, ...(origin === undefined ? {} : { origin }) });
    },
  };

  /** A repository of the registry that is known to hold a blob. */
  function holderOf({ digest }: Descriptor): Reference | undefined {
    return blobs
      .repositoriesOf(digest)
      .filter((each) => layoutPath(each) === undefined)
      .map(parseReference)
      .find((each) => each.registry === destination.registry);
  }

  function tell(diffID: DiffID, current: number, total?: number): void {
    progress.emit({
      ...{ kind: 'transfer', vertex, item: diffID, action: 'pushing', current, unit: 'bytes' },
      ...(total === undefined ? {} : { total }),
      done: current === total,
      at: host.now(),
    });
  }

  return {
    sink,
    async push(diffID, form) {
      const formed = await forms.begin(diffID, form, signal);
      let isThere = false;
      if (formed.kind === 'growing' && streams && formed.layerSize >= STREAM_FROM) {
        isThere = await remote.putGrowing(
          { open: formed.read, made: formed.blob },
          { signal, onNotice: io.onNotice, onProgress: (current) => tell(diffID, current) },
        );
        const { size } = await formed.blob;
        if (isThere) tell(diffID, size, size);
      }
      const blob = await formed.blob;
      if (isForeignLayer(blob)) return;
      if (!isThere) await copyBlob(blob, forms.source, sink, io);
      arrived.add(blob.digest);
      blobs.remember(blob.digest, `${destination.registry}/${destination.repository}`);
    },
  };
}
