/**
 * Has the disk catch up with what a command made, which need not wait for it.
 *
 * The notes of src/layer/unsynced.ts name what a power cut may have torn. A process of its own (launch/write-back.c) writes the
 * file systems back and removes them then; this one gives it a moment, so that little leaves nothing behind that still runs.
 */
import { closeSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import { readTextIfExists } from '../src/base/atomic-file.ts';
import { ioError } from '../src/base/errors.ts';
import { locateNative } from './locate.ts';
import { startDetached } from './program.ts';
import { memoryFile } from './sys.ts';

/** What a disk takes for a step or two. */
const MOMENT_MS = 25;
/** Where much is to be written it waits until the commands that follow at once are through. */
const MUCH = 32 << 20;
const LATER_MS = 2000;

const names = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));

/**
 * `notes`: absolute paths, as stores give them. Resolves when they are removed, or at once or after a moment, from where on it
 * goes on without this process. Throws DISK_FULL or IO_FAILED where it fails before; the notes of what was not written stay.
 */
export async function writeBack(notes: readonly string[]): Promise<void> {
  if (notes.length === 0) return;
  const isMuch = dirtyBytes() > MUCH;
  const ended = begin(notes, isMuch ? LATER_MS : 0);
  if (!isMuch) check(await within(ended, MOMENT_MS));
}

/** The same, and waits for the disk. */
export async function writeBackNow(notes: readonly string[]): Promise<void> {
  if (notes.length > 0) check(await within(begin(notes, 0), LONG_MS));
}

/** A timer, since a child alone keeps nobody from ending. */
const LONG_MS = 600_000;

function begin(notes: readonly string[], delayMs: number): Promise<number> {
  const opened: number[] = [];
  try {
    const list = memoryFile('notes');
    opened.push(list);
    const text = Buffer.from(notes.map((path) => `${path}\0`).join(''));
    for (let at = 0; at < text.byteLength; ) at += writeSync(list, text, at);
    return startDetached(locateNative('tsbuild-launch'), ['tsbuild-launch', 'write-back', `${delayMs}`], {
      fds: ['null', 'null', 'null', list],
      cwd: '/',
    });
  } catch (error) {
    throw ioError('write back what was made', error);
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}

/** `status`: undefined where it is not known yet. */
function check(status: number | undefined): void {
  if (status === undefined || status === 0) return;
  const code = names.get(status) ?? `status ${status}`;
  throw ioError('write back what was made', Object.assign(new Error(`syncfs: ${code}`), { code }));
}

/** What this machine has not begun to write; 0 where it does not say. */
function dirtyBytes(): number {
  const text = readTextIfExists('/proc/meminfo') ?? '';
  return Number(/^Dirty:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0) * 1024;
}

async function within<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
