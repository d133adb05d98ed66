/**
 * A build that nothing has changed for, answered by looking at times alone, as make and git do.
 *
 * A build of which every step was cached leaves a note of what it read: every path of its contexts, its Dockerfile, the
 * names of the store, each with its inode, size, mode and times. As long as all of that is the same, the same command has
 * the same end, and what it printed is printed again. This module reads such notes, before the program is loaded; they are written
 * by commands/note-unchanged.ts, whose conditions are what makes an answer right.
 *
 *   <root>/unchanged/<digest of the command>   JSON, see UnchangedNote
 */
import { lstatSync, readFileSync, statSync, writeSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { unchangedDirectory } from '../engine/unchanged-notes.ts';
import { isTerminal } from './is-terminal.ts';

/** What a command line is answered by. */
export interface UnchangedNote {
  /** All of `identityOf`, since names of files are short digests. */
  readonly identity: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Path and stamp by turns; not followed where they are links. */
  readonly tree: readonly string[];
  /** The same, followed; an empty stamp where there was nothing. */
  readonly files: readonly string[];
}

export interface Command {
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Another one after an update. */
  readonly program: string;
}

/** What has to say when things were used last does not hear of an answer; it is asked again after so long. */
const LONGEST_MS = 3_600_000;

/**
 * Variables that a build without registries, secrets and repositories reads; others have no influence upon what becomes
 * of it.
 */
export const VARIABLES = [
  'BUILDKIT_PROGRESS',
  'DOCKER_DEFAULT_PLATFORM',
  'NO_COLOR',
  'SOURCE_DATE_EPOCH',
  'TERM',
  'TSBUILD_CGROUP_DRIVER',
  'TSBUILD_CONFIG',
  'TSBUILD_ROOT',
  'TSBUILD_STORAGE_DRIVER',
  'TSBUILD_STORAGE_MAX',
  'TSBUILD_TRACE',
] as const;

export const DEFAULT_ROOT = '/var/lib/tsbuild';

/** As the program was started. Stamps of its file: whoever builds or installs it anew writes that. */
export function thisCommand(): Command {
  const [, program = '', ...argv] = process.argv;
  return { argv, cwd: process.cwd(), env: process.env, program: stampOf(program, true) };
}

/** Equal for commands that do the same to the same files. */
export function identityOf({ argv, cwd, env, program }: Command): string {
  const variables = VARIABLES.map((name) => env[name] ?? null);
  // why: a crash of the machine may have undone what was not written back yet.
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  return JSON.stringify([boot, program, process.version, process.geteuid?.() ?? null, cwd, argv, variables]);
}

/** FNV-1a twice, from two beginnings: names for files. What is in them is compared whole. */
export function noteName(identity: string): string {
  let [a, b] = [0x811c9dc5, 0x01000193];
  for (let at = 0; at < identity.length; at += 1) {
    const unit = identity.charCodeAt(at);
    a = Math.imul(a ^ unit, 0x01000193);
    b = Math.imul(b ^ unit, 0x85ebca6b);
  }
  return [a, b].map((part) => (part >>> 0).toString(16).padStart(8, '0')).join('');
}

/** Of a file, directory or link: equal as long as nobody has changed it, or put another in its place. */
export function stampOf(path: string, follow: boolean): string {
  const options = { bigint: true, throwIfNoEntry: false } as const;
  const stat = follow ? statSync(path, options) : lstatSync(path, options);
  if (stat === undefined) return '';
  return `${stat.dev}:${stat.ino}:${stat.mode}:${stat.size}:${stat.mtimeNs}:${stat.ctimeNs}`;
}

/** Prints what the build printed the last time, where it would end as it did then. False: it has to be looked into. */
export function answerUnchanged(): boolean {
  try {
    // Where nobody can say what the working directory is, the build says so.
    const command = thisCommand();
    const identity = identityOf(command);
    const path = join(unchangedDirectory(rootOf(command)), noteName(identity));
    const note = JSON.parse(readFileSync(path, 'utf8')) as UnchangedNote;
    if (note.identity !== identity || !isRecent(note.at)) return false;
    // A terminal is shown it in another way.
    if (note.stderr !== '' && isTerminal(2)) return false;
    if (!isSame(note.files, true) || !isSame(note.tree, false)) return false;
    writeAll(2, note.stderr);
    writeAll(1, note.stdout);
    return true;
  } catch {
    // No note, or one that is none.
    return false;
  }
}

function rootOf({ argv, cwd, env }: Command): string {
  const at = argv.findLastIndex((word) => word === '--root' || word.startsWith('--root='));
  const word = argv[at] ?? '';
  const given = at < 0 ? undefined : word === '--root' ? argv[at + 1] : word.slice('--root='.length);
  return resolve(cwd, given ?? env['TSBUILD_ROOT'] ?? DEFAULT_ROOT);
}

function isRecent(at: number): boolean {
  const age = Date.now() - at;
  return age >= 0 && age < LONGEST_MS;
}

function isSame(stamps: readonly string[], follow: boolean): boolean {
  for (let at = 0; at < stamps.length; at += 2)
    if (stampOf(stamps[at] ?? '', follow) !== stamps[at + 1]) return false;
  return true;
}

/**
 * Throws where it is not taken: then the build itself ends as it does. why not `process.stdout`: it costs as much as all of
 * this. A pipe that somebody made non-blocking may be full for a while.
 */
function writeAll(fd: number, text: string): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; )
    try {
      at += writeSync(fd, bytes, at);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2);
    }
}
