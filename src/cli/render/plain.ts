/** Plain progress, for logs of CI: every line begins with its vertex. */
import type { ProgressSink } from '../../progress/progress.ts';
import { excerpt } from './excerpt.ts';
import { clean } from './safe-text.ts';
import {
  createLineSplitter,
  createModel,
  formatBytes,
  formatSeconds,
  rateOf,
  type VertexView,
} from './model.ts';

const TRANSFER_EVERY_MS = 1000;

/** Whose result was taken, where it is not one of this machine's earlier builds. */
export function describeSource(from: 'remote' | 'build' | undefined): string {
  switch (from) {
    case undefined:
      return '';
    case 'remote':
      return ' (remote)';
    case 'build':
      return ' (by another build)';
  }
}

export interface Renderer extends ProgressSink {
  /** Everything was told; nothing more comes. */
  end(): void;
}

export function createPlainRenderer(write: (text: string) => void): Renderer {
  const model = createModel();
  const splitters = new Map<string, ReturnType<typeof createLineSplitter>>();
  const announced = new Set<number>();
  const reported = new Map<string, number>();
  let last: number | undefined;

  function line(view: VertexView, text: string): void {
    // A blank line where the log changes from one vertex to another.
    if (last !== undefined && last !== view.number) write('\n');
    if (!announced.has(view.number)) {
      announced.add(view.number);
      write(`#${view.number} ${view.name}\n`);
    }
    last = view.number;
    write(`#${view.number} ${text}\n`);
  }

  function splitterOf(
    stream: string,
    view: VertexView,
    at: () => number,
  ): ReturnType<typeof createLineSplitter> {
    const known = splitters.get(stream);
    if (known !== undefined) return known;
    const made = createLineSplitter((text) =>
      line(view, `${((at() - (view.started ?? at())) / 1000).toFixed(3)} ${clean(text)}`),
    );
    splitters.set(stream, made);
    return made;
  }

  let now = 0;
  return {
    emit(event) {
      now = event.at;
      const view = model.apply(event);
      if (event.kind === 'warning') {
        write(`WARN: ${clean(event.message)}\n`);
        if (event.source !== undefined) write(`${excerpt(event.source).join('\n')}\n`);
        if (event.hint !== undefined) write(`hint: ${clean(event.hint)}\n`);
        return;
      }
      if (view === undefined || event.kind === 'vertex') return;
      if (event.kind === 'log') {
        splitterOf(`${event.vertex} ${event.stream}`, view, () => now).write(event.data);
        return;
      }
      if (event.kind === 'transfer') {
        const key = `${event.vertex} ${event.item}`;
        const before = reported.get(key) ?? 0;
        if (!event.done && event.at - before < TRANSFER_EVERY_MS) return;
        reported.set(key, event.at);
        const amount = event.unit === 'bytes' ? formatBytes : String;
        line(
          view,
          `${event.item} ${amount(event.current)}${event.total === undefined ? '' : ` / ${amount(event.total)}`}${event.done ? ' done' : ''}${rateOf(view, event)}`,
        );
        return;
      }
      // The two streams of a step are two texts: what one has not ended must not run into the other.
      for (const stream of ['stdout', 'stderr']) splitters.get(`${event.vertex} ${stream}`)?.end();
      const took = formatSeconds((view.ended ?? event.at) - (view.started ?? event.at));
      switch (event.status.kind) {
        case 'started':
          return;
        case 'waiting':
          return line(view, 'waiting for another build, which executes the same step');
        case 'executing':
          return line(view, `executing: ${clean(event.status.why)}`);
        case 'cached':
          return line(view, `CACHED${describeSource(event.status.from)}`);
        case 'skipped':
          return line(view, `SKIPPED: ${clean(event.status.why)}`);
        case 'done':
          return line(
            view,
            `DONE ${took}${event.status.same === true ? ', with the same files as before' : ''}`,
          );
        case 'canceled':
          return line(view, 'CANCELED');
        case 'failed':
          return line(view, `ERROR: ${clean(event.status.message)}`);
      }
    },
    end() {
      if (last !== undefined) write('\n');
      last = undefined;
    },
  };
}
