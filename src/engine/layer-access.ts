/**
 * Layers for whoever looks into them, as the driver of snapshots likes them: files where tars are mounted, else streams.
 * What lies in a registry is fetched then, as progress of a vertex of its own, one per repository for as long as
 * something of it is under way.
 */
import type { DiffID } from '../base/digest.ts';
import { layoutPath } from '../content/lazy-blobs.ts';
import type { IoOptions } from '../content/roles.ts';
import type { Layer } from '../layer/layer.ts';
import { familiarName, parseReference } from '../oci/reference.ts';
import type { Engine } from './engine.ts';
import { transferOptions } from './transfer-progress.ts';
import type { CallOptions } from './with-vertex.ts';

/** undefined where no bytes of the layer can be had. Throws what LazyBlobs.fetch throws. */
export type OpenLayer = (diffID: DiffID, options?: OpenLayerOptions) => Promise<Layer | undefined>;

export interface OpenLayerOptions {
  /** As a plain file in any case; otherwise where the driver mounts tars. */
  readonly asFile?: boolean;
}

interface Running {
  readonly vertex: string;
  count: number;
}

export function createLayerAccess(engine: Engine, { sink, signal }: CallOptions): OpenLayer {
  const { images, layers, blobs, host } = engine;
  const running = new Map<string, Running>();
  let begun = 0;

  function begin(repository: string): Running {
    const known = running.get(repository);
    if (known !== undefined) {
      known.count += 1;
      return known;
    }
    begun += 1;
    const name = layoutPath(repository) ?? familiarName(parseReference(repository));
    const made = { vertex: `fetch ${name} ${begun}`, count: 1 };
    running.set(repository, made);
    sink.emit({
      kind: 'vertex',
      vertex: made.vertex,
      name: `[internal] fetch layers of ${name}`,
      at: host.now(),
    });
    sink.emit({ kind: 'status', vertex: made.vertex, status: { kind: 'started' }, at: host.now() });
    return made;
  }

  function end(repository: string, fetch: Running, failure: string | undefined): void {
    fetch.count -= 1;
    if (fetch.count > 0 && failure === undefined) return;
    if (running.get(repository) !== fetch) return;
    running.delete(repository);
    const status =
      failure === undefined ? ({ kind: 'done' } as const) : ({ kind: 'failed', message: failure } as const);
    sink.emit({ kind: 'status', vertex: fetch.vertex, status, at: host.now() });
  }

  async function bring(diffID: DiffID, io: IoOptions, asFile: boolean): Promise<Layer | undefined> {
    const mountsTars = (await engine.snapshotter()).driver === 'erofs';
    if (asFile || mountsTars) return engine.layerFiles.bring(diffID, io);
    const blob = blobs.ofLayer(diffID);
    if (blob !== undefined) await blobs.fetch(blob, io);
    return images.openLayer(diffID, io);
  }

  return async (diffID, { asFile = false } = {}) => {
    const there = layers.get(diffID);
    const blob = there === undefined ? blobs.ofLayer(diffID) : undefined;
    if (blob === undefined) return there;
    if (blobs.isHere(blob)) return bring(diffID, { signal }, asFile);
    const [repository = ''] = blobs.repositoriesOf(blob.digest);
    const fetch = begin(repository);
    const { onNotice, onProgress } = transferOptions(fetch.vertex, 'pulling', host, { sink, signal });
    const tell = (current: number): void => onProgress(blob, current, false);
    try {
      const layer = await bring(diffID, { signal, onNotice, onProgress: tell }, asFile);
      onProgress(blob, blob.size, true);
      end(repository, fetch, undefined);
      return layer;
    } catch (error) {
      end(repository, fetch, error instanceof Error ? error.message : String(error));
      throw error;
    }
  };
}
