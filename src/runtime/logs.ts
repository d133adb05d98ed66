/**
 * Reading the log that a container's monitor writes (native/launch/log.h): entries in their order, across rotated
 * files, from the end, or as they come. Only whole lines of the file are taken; what does not parse is left out.
 */
import { closeSync, fstatSync, openSync, readSync, statSync, watch } from 'node:fs';
import { join } from 'node:path';
import { namesIn } from '../base/directory-names.ts';

export interface LogEntry {
  /** RFC 3339 with nanoseconds, UTC. */
  readonly time: string;
  readonly stream: 'stdout' | 'stderr';
  /** Without its end of line. */
  readonly text: Buffer;
  /** Whether the line ends here. */
  readonly isEnd: boolean;
}

export interface LogQuery {
  /** The last lines; undefined: all. */
  readonly tail?: number;
  /** RFC 3339 in UTC, both inclusive. */
  readonly since?: string;
  readonly until?: string;
  /** Goes on until `isOver` says so, with what was written before. */
  readonly follow?: { readonly isOver: () => boolean; readonly signal: AbortSignal };
}

const CHUNK = 65536;
/** A line of a log file is at most 16 KiB and a head. */
const MAX_LINE = 32768;
const NEWLINE = 10;

export async function* readLog(directory: string, query: LogQuery): AsyncGenerator<LogEntry> {
  const { follow, until } = query;
  let last = openLog(directory);
  const before = query.tail === undefined ? allEntries(directory) : lastEntries(directory, query.tail);
  try {
    for (const entry of before) if (isWithin(entry, query)) yield entry;
    if (follow === undefined || last === undefined) return;
    let reader = readerAt(last, sizeNow(last));
    for (;;) {
      const isOver = follow.isOver();
      for (const entry of reader.read()) if (isWithin(entry, query)) yield entry;
      const next = reopened(directory, last);
      if (next !== undefined) {
        for (const entry of reader.read()) if (isWithin(entry, query)) yield entry;
        closeSync(last);
        last = next;
        reader = readerAt(last, 0);
        continue;
      }
      const isLate = until !== undefined && reader.lastTime() > until;
      if (isOver || isLate || follow.signal.aborted) return;
      await change(directory, follow.signal);
    }
  } finally {
    if (last !== undefined) closeSync(last);
  }
}

function isWithin({ time }: LogEntry, { since, until }: LogQuery): boolean {
  return (since === undefined || time >= since) && (until === undefined || time <= until);
}

function openLog(directory: string, name = 'log'): number | undefined {
  try {
    return openSync(join(directory, name), 'r');
  } catch {
    return undefined;
  }
}

const sizeNow = (fd: number): number => fstatSync(fd).size;

/** Oldest first. */
function filesOf(directory: string): readonly string[] {
  const numbers = namesIn(directory).flatMap((name) => {
    const number = /^log(?:\.(\d+))?$/.exec(name);
    return number === null ? [] : [Number(number[1] ?? 0)];
  });
  return numbers.sort((a, b) => b - a).map((number) => (number === 0 ? 'log' : `log.${number}`));
}

function* allEntries(directory: string): Generator<LogEntry> {
  for (const name of filesOf(directory)) yield* entriesOf(directory, name);
}

function* entriesOf(directory: string, name: string): Generator<LogEntry> {
  const fd = openLog(directory, name);
  if (fd === undefined) return;
  try {
    yield* readerAt(fd, 0).read();
  } finally {
    closeSync(fd);
  }
}

/** The last `count` lines; only as many files are read as have them. */
function lastEntries(directory: string, count: number): readonly LogEntry[] {
  let found: readonly LogEntry[] = [];
  for (const name of filesOf(directory).toReversed()) {
    found = lastLines([...entriesOf(directory, name), ...found], count);
    if (found.length > 0 && linesIn(found) >= count) break;
  }
  return count === 0 ? [] : found;
}

const linesIn = (entries: readonly LogEntry[]): number => entries.filter(({ isEnd }) => isEnd).length;

/** A line is its parts and its end; parts of both streams may lie between each other. */
function lastLines(entries: readonly LogEntry[], count: number): readonly LogEntry[] {
  let lines = 0;
  for (let at = entries.length - 1; at >= 0; at -= 1) {
    const isUnfinished = at === entries.length - 1 && entries[at]?.isEnd === false;
    if (entries[at]?.isEnd === true || isUnfinished) lines += 1;
    if (lines > count) return entries.slice(at + 1);
  }
  return entries;
}

interface LogReader {
  /** What was added since the last call. */
  read(): Generator<LogEntry>;
  lastTime(): string;
}

function readerAt(fd: number, start: number): LogReader {
  let position = start;
  let rest: Buffer = Buffer.alloc(0);
  let time = '';
  const buffer = Buffer.alloc(CHUNK);
  return {
    lastTime: () => time,
    *read() {
      for (
        let n = readSync(fd, buffer, 0, CHUNK, position);
        n > 0;
        n = readSync(fd, buffer, 0, CHUNK, position)
      ) {
        position += n;
        rest = Buffer.concat([rest, buffer.subarray(0, n)]);
        let from = 0;
        for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE, from)) {
          const entry = parseEntry(rest.subarray(from, end));
          from = end + 1;
          if (entry === undefined) continue;
          time = entry.time;
          yield entry;
        }
        rest = rest.subarray(from);
        if (rest.byteLength > MAX_LINE) rest = Buffer.alloc(0);
      }
    },
  };
}

function parseEntry(line: Buffer): LogEntry | undefined {
  const head = /^(\d{4}-\S{25}) (stdout|stderr) ([FP]) /.exec(line.toString('latin1', 0, 64));
  const [whole = '', time = '', stream, kind] = head ?? [];
  if (head === null || (stream !== 'stdout' && stream !== 'stderr')) return undefined;
  return { time, stream, text: Buffer.from(line.subarray(whole.length)), isEnd: kind === 'F' };
}

/** The file that `log` is now, where it is another one than before. */
function reopened(directory: string, fd: number): number | undefined {
  const now = statSync(join(directory, 'log'), { throwIfNoEntry: false });
  return now === undefined || now.ino === fstatSync(fd).ino ? undefined : openLog(directory);
}

/** Resolves when something happens in the directory, or after a while. */
function change(directory: string, signal: AbortSignal): Promise<void> {
  const IDLE_MS = 500;
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      watcher?.close();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, IDLE_MS);
    signal.addEventListener('abort', done);
    const watcher = watchOf(directory, done);
  });
}

function watchOf(directory: string, changed: () => void): ReturnType<typeof watch> | undefined {
  try {
    return watch(directory, changed).on('error', changed);
  } catch {
    // It was removed, or there are no watches left: the timer does.
    return undefined;
  }
}
