/** Progress of work that is no vertex of a build graph: a pull, a push, an export. */
import type { Host } from '../base/host.ts';
import type { ProgressSink } from '../progress/progress.ts';

export interface CallOptions {
  readonly sink: ProgressSink;
  readonly signal: AbortSignal;
}

/** Emits a vertex for something that is no vertex of a graph: a pull, an export. */
export async function withVertex<T>(
  sink: ProgressSink,
  host: Host,
  vertex: string,
  name: string,
  work: () => Promise<T>,
): Promise<T> {
  sink.emit({ kind: 'vertex', vertex, name, at: host.now() });
  sink.emit({ kind: 'status', vertex, status: { kind: 'started' }, at: host.now() });
  try {
    const result = await work();
    sink.emit({ kind: 'status', vertex, status: { kind: 'done' }, at: host.now() });
    return result;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    sink.emit({ kind: 'status', vertex, status: { kind: 'failed', message }, at: host.now() });
    throw error;
  }
}
