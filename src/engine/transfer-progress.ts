/** What a transfer tells, as progress of its vertex: bytes, waits and the registry's own words. */
import type { Host } from '../base/host.ts';
import type { CopyOptions } from '../content/copy-image.ts';
import type { Notice } from '../content/roles.ts';
import type { ProgressSink } from '../progress/progress.ts';
import type { CallOptions } from './with-vertex.ts';

export type TransferAction = 'pulling' | 'pushing' | 'copying' | 'exporting';

/** Options for copyImage and for whatever else speaks to a registry on behalf of `vertex`. */
export function transferOptions(
  vertex: string,
  action: TransferAction,
  host: Host,
  { sink, signal }: CallOptions,
): Required<Pick<CopyOptions, 'signal' | 'onProgress' | 'onNotice'>> {
  return {
    signal,
    onNotice: noticesOf(vertex, host, sink),
    onProgress: (blob, current, done) =>
      sink.emit({
        kind: 'transfer',
        vertex,
        item: blob.digest,
        action,
        current,
        total: blob.size,
        unit: 'bytes',
        done,
        at: host.now(),
      }),
  };
}

export function noticesOf(vertex: string, host: Host, sink: ProgressSink): (notice: Notice) => void {
  return (notice) => {
    const at = host.now();
    if (notice.kind === 'warning') {
      sink.emit({ kind: 'warning', message: `${notice.host}: ${notice.text}`, vertex, at });
      return;
    }
    const wait = notice.waitMs >= 100 ? `, in ${(notice.waitMs / 1000).toFixed(1)} s` : '';
    const text = `${notice.host}: trying again${wait}: ${notice.reason}\n`;
    sink.emit({ kind: 'log', vertex, stream: 'stderr', data: Buffer.from(text), at });
  };
}
