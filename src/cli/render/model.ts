/** What renderers remember of a build: vertices in order of appearance, with their state. */
import type { ProgressEvent, VertexStatus } from '../../progress/progress.ts';

type Transfer = Extract<ProgressEvent, { kind: 'transfer' }>;

export interface VertexView {
  readonly number: number;
  readonly name: string;
  status: VertexStatus | undefined;
  /** Why it is executed, or skipped. */
  why: string | undefined;
  started: number | undefined;
  ended: number | undefined;
  /** Transfers in progress by item. */
  readonly transfers: Map<string, Transfer>;
  /** When each began, and with how much of it. */
  readonly begun: Map<string, Transfer>;
  /** Last whole lines of output. */
  readonly tail: string[];
}

export interface BuildModel {
  readonly vertices: ReadonlyMap<string, VertexView>;
  apply(event: ProgressEvent): VertexView | undefined;
}

export function createModel(): BuildModel {
  const vertices = new Map<string, VertexView>();
  return {
    vertices,
    apply(event) {
      if (event.kind === 'vertex') {
        if (!vertices.has(event.vertex))
          vertices.set(event.vertex, {
            number: vertices.size + 1,
            name: event.name,
            status: undefined,
            why: undefined,
            started: undefined,
            ended: undefined,
            transfers: new Map(),
            begun: new Map(),
            tail: [],
          });
        return vertices.get(event.vertex);
      }
      const view = event.vertex === undefined ? undefined : vertices.get(event.vertex);
      if (view === undefined) return undefined;
      if (event.kind === 'status') {
        view.status = event.status;
        if (event.status.kind === 'started') view.started = event.at;
        else if (event.status.kind === 'executing') view.why = event.status.why;
        else if (event.status.kind !== 'waiting') view.ended = event.at;
        if (event.status.kind === 'skipped') view.why = event.status.why;
      } else if (event.kind === 'transfer') {
        view.transfers.set(event.item, event);
        if (!view.begun.has(event.item)) view.begun.set(event.item, event);
      }
      return view;
    },
  };
}

/** `, 12.5MB/s` since the transfer began; nothing where it is too early to say. */
export function rateOf({ begun }: VertexView, { item, current, unit, at }: Transfer): string {
  const first = begun.get(item);
  const ms = at - (first?.at ?? at);
  const moved = current - (first?.current ?? current);
  return unit !== 'bytes' || ms < 100 || moved <= 0
    ? ''
    : `, ${formatBytes(Math.round((moved * 1000) / ms))}/s`;
}

/** `1.09MB`, as docker shows sizes. */
export function formatBytes(size: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = size;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toPrecision(3).replace(/\.?0+$/, '')}${units[unit] ?? ''}`;
}

export function formatSeconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)}s`;
}

/** Splits a stream into whole lines; what is not ended yet waits. */
export function createLineSplitter(onLine: (line: string) => void): {
  write(data: Uint8Array): void;
  end(): void;
} {
  const decoder = new TextDecoder();
  let rest = '';
  return {
    write(data) {
      rest += decoder.decode(data, { stream: true });
      const lines = rest.split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) onLine(line.replace(/\r$/, '').replace(/^.*\r/, ''));
    },
    end() {
      if (rest !== '') onLine(rest);
      rest = '';
    },
  };
}
