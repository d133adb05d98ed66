/** `tsbuild logs`. */
import { TsbuildError } from '../../../base/errors.ts';
import { current } from '../../../engine/containers/hold.ts';
import { isActive, isHeld } from '../../../runtime/container.ts';
import { readLog, type LogEntry } from '../../../runtime/logs.ts';
import type { ParsedFlags } from '../../flags.ts';
import type { Session } from '../../session.ts';
import { parseDuration, parseInteger } from '../run-flags/numbers.ts';

export async function runLogs(flags: ParsedFlags, session: Session): Promise<number> {
  const engine = session.engine();
  const { id, directory, config } = await current(engine, flags.words[0] ?? '');
  if (config.log.driver === 'none')
    throw new TsbuildError('USAGE', 'configured logging driver does not support reading', {
      hint: `container ${JSON.stringify(config.name)} was made with --log-driver none: "tsbuild attach" shows what it writes from now on`,
    });
  const tail = readTail(flags.text('tail') ?? 'all');
  const [since, until] = ['since', 'until'].map((flag) => readTime(flags, flag, session.host.now()));
  const isOver = (): boolean => {
    const now = engine.containers.get(id);
    return now === undefined || !(isActive(now.state) && isHeld(now.state));
  };
  const entries = readLog(directory, {
    ...(tail === undefined ? {} : { tail }),
    ...(since === undefined ? {} : { since }),
    ...(until === undefined ? {} : { until }),
    ...(flags.boolean('follow') ? { follow: { isOver, signal: session.signal } } : {}),
  });
  const print = printer(session, flags.boolean('timestamps'), config.input.terminal);
  for await (const entry of entries) print(entry);
  return 0;
}

/** Streams keep apart what is unfinished: a time stands where a line begins. */
function printer(session: Session, timestamps: boolean, terminal: boolean): (entry: LogEntry) => void {
  const isInLine = { stdout: false, stderr: false };
  return ({ time, stream, text, isEnd }) => {
    const head = timestamps && !isInLine[stream] ? Buffer.from(`${time} `) : Buffer.alloc(0);
    isInLine[stream] = !isEnd;
    const whole = Buffer.concat([head, text, Buffer.from(isEnd ? '\n' : '')]);
    session[terminal ? 'stdout' : stream].write(whole);
  };
}

function readTail(text: string): number | undefined {
  if (text === 'all') return undefined;
  const count = parseInteger(text, { signed: true });
  // As docker: what is no number, or less than none, is all.
  return count === undefined || count < 0 ? undefined : count;
}

/** RFC 3339 (UTC, nanoseconds) of a date, seconds since the epoch, or how long ago. */
function readTime(flags: ParsedFlags, flag: string, nowMs: number): string | undefined {
  const text = flags.text(flag);
  if (text === undefined || text === '') return undefined;
  const [, seconds, fraction = ''] = /^(\d+)(?:\.(\d{1,9}))?$/.exec(text) ?? [];
  if (seconds !== undefined) return stamp(Number(seconds) * 1000, fraction);
  const ago = parseDuration(text);
  if (ago !== undefined) return stamp(nowMs - ago / 1e6, '');
  const [, date = text, digits = '', zone = ''] =
    /^(.*?)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)?$/.exec(text) ?? [];
  const ms = Date.parse(`${date}${zone === '' && date.includes('T') ? 'Z' : zone}`);
  if (Number.isNaN(ms))
    throw new TsbuildError('USAGE', `invalid value for "--${flag}": ${JSON.stringify(text)}`, {
      hint: 'write e.g. 2026-01-31T12:00:00Z, 10m or seconds since 1970',
    });
  return stamp(ms, digits);
}

function stamp(ms: number, fraction: string): string {
  const iso = new Date(ms).toISOString();
  return fraction === '' ? iso.replace('Z', '000000Z') : `${iso.slice(0, 19)}.${fraction.padEnd(9, '0')}Z`;
}
