/** Live progress on a terminal: one line per vertex, the last output of what runs, redrawn in place. */
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
import type { VertexStatus } from '../../progress/progress.ts';
import { describeSource, type Renderer } from './plain.ts';

const FRAME_MS = 100;
const TAIL_LINES = 4;

export interface Terminal {
  write(text: string): void;
  columns(): number;
  rows(): number;
  now(): number;
}

function markOf(status: VertexStatus | undefined): string {
  switch (status?.kind) {
    case 'failed':
      return 'ERROR ';
    case 'cached':
      return `CACHED${describeSource(status.from)} `;
    case 'skipped':
      return 'SKIPPED ';
    case 'canceled':
      return 'CANCELED ';
    case 'waiting':
      return 'WAITING ';
    case undefined:
    case 'started':
    case 'executing':
    case 'done':
      return '';
  }
}

export function createTtyRenderer(terminal: Terminal): Renderer {
  const model = createModel();
  const splitters = new Map<string, ReturnType<typeof createLineSplitter>>();
  const warnings: string[] = [];
  const begun = terminal.now();
  let drawn = 0;
  const timer = setInterval(draw, FRAME_MS);
  timer.unref();

  function lines(final: boolean): string[] {
    const views = [...model.vertices.values()].filter((view) => view.status !== undefined);
    const word = !final
      ? 'Building'
      : views.some((view) => view.status?.kind === 'failed')
        ? 'Failed'
        : 'Built';
    const done = views.filter((view) => view.ended !== undefined).length;
    const out = [
      `[+] ${word} ${formatSeconds(terminal.now() - begun)} (${done}/${Math.max(done, model.vertices.size)})`,
    ];
    for (const view of views) out.push(...describe(view, final));
    return out;
  }

  function describe(view: VertexView, final: boolean): string[] {
    const ended = view.ended ?? terminal.now();
    const time = formatSeconds(ended - (view.started ?? ended));
    const why = view.why === undefined ? '' : ` (${clean(view.why)})`;
    const out = [` => ${markOf(view.status)}${clean(view.name)}${why}\t${time}`];
    if (view.ended !== undefined || final) return out;
    for (const event of view.transfers.values()) {
      const { item, current, total, done } = event;
      if (!done)
        out.push(
          ` => => ${item.slice(0, 27)} ${formatBytes(current)}${total === undefined ? '' : ` / ${formatBytes(total)}`}${rateOf(view, event)}`,
        );
    }
    for (const text of view.tail) out.push(` => => # ${text}`);
    return out;
  }

  /** The right-hand part after a tab is set flush right; nothing is wider than the terminal. */
  function fit(line: string): string {
    const columns = Math.max(20, terminal.columns());
    const [left = '', right = ''] = line.split('\t');
    const room = columns - right.length - 1;
    const cut = [...left].length > room ? `${[...left].slice(0, room - 1).join('')}…` : left;
    return right === ''
      ? cut
      : `${cut}${' '.repeat(Math.max(1, columns - [...cut].length - right.length))}${right}`;
  }

  function erase(): void {
    if (drawn > 0) terminal.write(`\u001b[${drawn}A\u001b[0J`);
    drawn = 0;
  }

  let ended = false;

  function draw(): void {
    if (model.vertices.size === 0) return;
    erase();
    const all = lines(false).map(fit);
    const room = Math.max(2, terminal.rows() - 1);
    const shown = all.length > room ? [all[0] ?? '', ...all.slice(-(room - 1))] : all;
    terminal.write(shown.map((line) => `${line}\n`).join(''));
    drawn = shown.length;
  }

  return {
    emit(event) {
      const view = model.apply(event);
      if (event.kind === 'warning') {
        const place = event.source === undefined ? [] : excerpt(event.source);
        warnings.push([`WARN: ${clean(event.message)}`, ...place].join('\n'));
      }
      if (event.kind !== 'log' || view === undefined) return;
      const splitter =
        splitters.get(`${event.vertex} ${event.stream}`) ??
        createLineSplitter((text) => {
          view.tail.push(clean(text));
          if (view.tail.length > TAIL_LINES) view.tail.shift();
        });
      splitters.set(`${event.vertex} ${event.stream}`, splitter);
      splitter.write(event.data);
    },
    end() {
      clearInterval(timer);
      erase();
      if (ended || model.vertices.size === 0) return;
      ended = true;
      terminal.write(
        lines(true)
          .map((line) => `${fit(line)}\n`)
          .join(''),
      );
      if (warnings.length > 0) terminal.write(`\n${warnings.join('\n')}\n`);
    },
  };
}
