/**
 * Has the disk catch up with what a command made, which need not wait for it.
 *
 * The notes of src/layer/unsynced.ts name what a power cut may have torn. A process of its own (launch/write-back.c) writes the
 * file systems back and removes them then; this one gives it a moment, so that little leaves nothing behind that still runs.
 */
import { closeSync, writeSync } from 'node:fs';
import { readTextIfExists } from '../src/base/atomic-file.ts';
import { locateNative } from './locate.ts';
import { startDetached } from './program.ts';
import { memoryFile } from './sys.ts';

/** What a disk takes for a step or two. */
const MOMENT_MS = 25;
/** Where much is to be written it waits until the commands that follow at once are through. */
const MUCH = 32 << 20;
const LATER_MS = 2000;

/**
 * `notes`: absolute paths, as stores give them. Resolves when that is done, or at once or after a moment, from where on it goes on
 * without this process. The notes of what could not be written stay. Throws IO_FAILED and its kin where it cannot begin.
 */
export async function writeBack(notes: readonly string[]): Promise<void> {
  if (notes.length === 0) return;
  const isMuch = dirtyBytes() > MUCH;
  const ended = begin(notes, isMuch ? LATER_MS : 0);
  if (isMuch) return;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, MOMENT_MS);
  });
  await Promise.race([ended, late]);
  clearTimeout(timer);
}

/** As `writeBack`, at once and to its end. */
export async function writeBackNow(notes: readonly string[]): Promise<void> {
  if (notes.length === 0) return;
  // why: a process that is waited for does not keep this one.
  const holding = setInterval(() => undefined, 1000);
  try {
    await begin(notes, 0);
  } finally {
    clearInterval(holding);
  }
}

function begin(notes: readonly string[], delayMs: number): Promise<void> {
  const list = memoryFile('notes');
  try {
    const text = Buffer.from(notes.map((path) => `${path}\0`).join(''));
    for (let at = 0; at < text.byteLength; ) at += writeSync(list, text, at);
    return startDetached(locateNative('tsbuild-launch'), ['tsbuild-launch', 'write-back', `${delayMs}`], {
      fds: ['null', 'null', 'null', list],
      cwd: '/',
    });
  } finally {
    closeSync(list);
  }
}

/** What this machine has not begun to write; 0 where it does not say. */
function dirtyBytes(): number {
  const text = readTextIfExists('/proc/meminfo') ?? '';
  return Number(/^Dirty:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0) * 1024;
}
