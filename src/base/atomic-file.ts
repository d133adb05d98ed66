/**
 * Files that are either the old ones or the new ones, never half: temp → (fsync) → rename.
 *
 * Metadata is not fsynced: it can be made again, and a torn small file cannot come from a rename on the
 * journalling file systems that we run on; readers treat unparsable metadata as absent.
 */
import {
  closeSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { makeDirectories } from './make-directories.ts';
import { errnoOf, ioError } from './errors.ts';
import type { Host } from './host.ts';

/** What a file is to hold; a function gives it in parts, which hold until the next is asked for. */
export type FileData = string | Uint8Array | (() => Iterable<Uint8Array>);

/** Writes `path` atomically, creating its parents. Throws DISK_FULL or IO_FAILED; leaves no temp file. */
export function writeFileAtomic(
  host: Host,
  path: string,
  data: FileData,
  options: { readonly mode?: number; readonly durable?: boolean } = {},
): void {
  try {
    writeOnce(host, path, data, options);
  } catch (error) {
    // Its directory was moved away meanwhile.
    if (errnoOf(error) !== 'ENOENT') throw ioError(`write ${JSON.stringify(path)}`, error);
    try {
      writeOnce(host, path, data, options);
    } catch (again) {
      throw ioError(`write ${JSON.stringify(path)}`, again);
    }
  }
}

/**
 * Makes `path` with all of its text at once, in a directory that is there; false where something has the name. A claim
 * that is written after it was made would be nobody's for a moment, and for ever where the disk is full. Throws what
 * node:fs throws.
 */
export function claimFile(host: Host, path: string, text: string, mode: number): boolean {
  // Not after `path`, whose own name may be as long as names can be.
  const temp = join(dirname(path), `.${host.unique()}.tmp`);
  try {
    writeFileSync(temp, text, { flag: 'wx', mode });
    linkSync(temp, path);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(temp, { force: true });
  }
}

/** As `writeFileAtomic`, durably; a file that holds this text already becomes new by its time alone. */
export function updateFile(host: Host, path: string, text: string): void {
  if (readTextIfExists(path) !== text) {
    writeFileAtomic(host, path, text, { durable: true });
    return;
  }
  try {
    const now = host.now() / 1000;
    utimesSync(path, now, now);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw ioError(`write ${JSON.stringify(path)}`, error);
    writeFileAtomic(host, path, text, { durable: true });
  }
}

function writeOnce(
  host: Host,
  path: string,
  data: FileData,
  options: { readonly mode?: number; readonly durable?: boolean },
): void {
  const temp = `${path}.${host.unique()}.tmp`;
  try {
    const fd = openOrMake(temp, options.mode ?? 0o644);
    try {
      for (const bytes of partsOf(data))
        for (let at = 0; at < bytes.byteLength; ) at += writeSync(fd, bytes, at);
      if (options.durable === true) fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temp, path);
  } catch (error) {
    rmSync(temp, { force: true });
    throw error;
  }
}

function partsOf(data: FileData): Iterable<Uint8Array> {
  if (typeof data === 'function') return data();
  return [typeof data === 'string' ? Buffer.from(data) : data];
}

function openOrMake(path: string, mode: number): number {
  try {
    return openSync(path, 'wx', mode);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    makeDirectories(dirname(path));
    return openSync(path, 'wx', mode);
  }
}

/** The text of a file, or undefined where there is none. */
export function readTextIfExists(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT' || errno === 'ENOTDIR') return undefined;
    throw ioError(`read ${JSON.stringify(path)}`, error);
  }
}

/** Parsed JSON of a file; undefined where there is none or where it does not parse (see the file header). */
export function readJsonIfExists(path: string): unknown {
  const text = readTextIfExists(path);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
