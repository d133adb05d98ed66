/**
 * Has the disk catch up with what a command made, which need not wait for it.
 *
 * The notes of src/layer/unsynced.ts name what a power cut may have torn. A process of its own (launch/write-back.c) writes the
 * file systems back and removes them then; this one gives it a moment, so that little leaves nothing behind that still runs.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname } from 'node:path';
import { ioError } from '../src/base/errors.ts';
import { locateNative } from './locate.ts';
import { startDetached } from './program.ts';
import { memoryFile } from './sys.ts';

/** What a disk takes for a step or two. */
const MOMENT_MS = 25;

const names = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));

/**
 * `notes`: absolute paths, as stores give them. Resolves when they are removed, or after `patienceMs`, from where on it goes on
 * without this process. Throws DISK_FULL or IO_FAILED where it fails before; the notes of what was not written stay.
 */
export async function writeBack(notes: readonly string[], patienceMs = MOMENT_MS): Promise<void> {
  if (notes.length === 0) return;
  const opened: number[] = [];
  try {
    const list = memoryFile('notes');
    opened.push(list);
    const text = Buffer.from(notes.map((path) => `${path}\0`).join(''));
    for (let at = 0; at < text.byteLength; ) at += writeSync(list, text, at);
    for (const directory of new Set(notes.map((path) => dirname(path))))
      opened.push(openSync(directory, 'r'));
    const ended = startDetached(locateNative('tsbuild-launch'), ['tsbuild-launch', 'write-back'], {
      fds: ['null', 'null', 'null', ...opened],
      cwd: '/',
    });
    const status = await within(ended, patienceMs);
    if (status === undefined || status === 0) return;
    const code = names.get(status) ?? `status ${status}`;
    throw Object.assign(new Error(`syncfs: ${code}`), { code });
  } catch (error) {
    throw ioError('write back what was made', error);
  } finally {
    for (const fd of opened) closeSync(fd);
  }
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
