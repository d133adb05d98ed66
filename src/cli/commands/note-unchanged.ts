/**
 * Leaves the note by which the next build of the same is answered (unchanged-build.ts).
 *
 * What makes an answer right: every step was cached and nothing came from a network, so that what the build read is
 * the directory of its context, its Dockerfile and ignore files, the configuration, and names and images of the store; and none
 * of these was changed since a little before the build began, so that what it read is what the stamps are of, and a
 * later change gives another stamp. Whatever removes results of steps removes the notes.
 */
import { readdirSync, rmSync, statfsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { writeFileAtomic } from '../../base/atomic-file.ts';
import { namesIn } from '../../base/directory-names.ts';
import type { BuildResult } from '../../engine/build.ts';
import type { BuildRequest } from '../../engine/build-request.ts';
import { changeMark, unchangedDirectory } from '../../engine/unchanged-notes.ts';
import { compileIgnoreFile, parseIgnoreFile } from '../../layer/ignore-patterns.ts';
import { configurationFile } from '../configuration.ts';
import type { ParsedFlags } from '../flags.ts';
import { isTerminal } from '../is-terminal.ts';
import type { Session } from '../session.ts';
import { identityOf, noteName, stampOf, thisCommand, type UnchangedNote } from '../unchanged-build.ts';

const SECOND_NS = 1_000_000_000n;
/** Times of files are those of the kernel's last tick; a hundred a second at least. */
const TICK_NS = 20_000_000n;
/** The same where a file system keeps whole seconds, as old forms of ext4 do. */
const COARSE_NS = 2_100_000_000n;
/** Where there are more, looking at each takes as long as building. */
const MAX_PATHS = 2000;
const MAX_TEXT = 64 << 10;
/** So many commands are remembered. */
const MAX_NOTES = 64;

/** Flags that say nothing of the outside, or of other results than image and name. */
const HARMLESS: ReadonlySet<string> = new Set([
  ...['root', 'tag', 'file', 'target', 'build-arg', 'label', 'progress', 'quiet', 'load', 'debug'],
  // Of steps, none of which was executed.
  ...['network', 'allow', 'add-host', 'shm-size', 'ulimit', 'memory', 'memory-swap', 'pids-limit', 'cpus'],
  ...[
    'cpu-period',
    'cpu-quota',
    'cpu-shares',
    'cpuset-cpus',
    'cpuset-mems',
    'cgroup-parent',
    'cgroup-driver',
  ],
  // Of registries, none of which was asked.
  ...['insecure-registry', 'registry-ca', 'registry-client-cert', 'registry-mirror', 'no-registry-fallback'],
  ...['retry', 'retry-delay'],
]);

/** File systems whose times come from this machine's clock: ext4, xfs, btrfs, f2fs, tmpfs, overlay. */
const LOCAL: ReadonlySet<number> = new Set([
  0xef53, 0x58465342, 0x9123683e, 0xf2f52010, 0x01021994, 0x794c7630,
]);

export interface BuildEnd {
  readonly request: BuildRequest;
  readonly result: BuildResult;
  /** All that was printed. */
  readonly stdout: string;
  readonly stderr: string;
}

/** Of a command that may be answered by a note: what it reads by name, as that was before anything was read. */
export interface Beginning {
  readonly directory: string;
  /** Path and stamp by turns. */
  readonly files: readonly string[];
}

/** undefined: the command asks for something that a note does not give. Called before the build reads anything. */
export function beginNote(flags: ParsedFlags, session: Session): Beginning | undefined {
  if (flags.names.some((name) => !HARMLESS.has(name))) return undefined;
  if (flags.list('build-arg').some((word) => !word.includes('='))) return undefined;
  if (flags.text('file') === '-' || flags.words[0] === '-') return undefined;
  // Whether what is for another machine can be executed here is found out each time.
  if ((session.env['DOCKER_DEFAULT_PLATFORM'] ?? '') !== '') return undefined;
  if (!isPlain(flags, session)) return undefined;
  const directory = resolve(session.cwd, flags.words[0] ?? '.');
  try {
    return { directory, files: stampsOf(filesOf(flags, session, directory), true) };
  } catch {
    // What cannot be looked at is the build's to tell.
    return undefined;
  }
}

function isPlain(flags: ParsedFlags, { env }: Session): boolean {
  if (flags.boolean('quiet')) return true;
  const mode = flags.text('progress') ?? env['BUILDKIT_PROGRESS'] ?? 'auto';
  return mode === 'quiet' || (['auto', 'plain'].includes(mode) && !isTerminal(2));
}

/** Never throws: a build that cannot be noted is built the next time. */
export function noteUnchanged(
  flags: ParsedFlags,
  session: Session,
  began: Beginning,
  { request, result, stdout, stderr }: BuildEnd,
): void {
  if (result.executed > 0 || result.skipped > 0 || !result.isLocal || session.asksRegistries()) return;
  if (stdout.length + stderr.length > MAX_TEXT) return;
  try {
    const context = request.contexts.get('context');
    if (request.contexts.size !== 1 || context?.kind !== 'directory') return;
    const paths = pathsBelow(began.directory, context.ignoreText);
    if (paths === undefined) return;
    const tree = stampsOf(paths, false);
    const files = stampsOf(filesOf(flags, session, began.directory), true);
    // What was put in the place of something else meanwhile may be older than the build.
    if (files[1] === '' || files.some((each, at) => each !== began.files[at])) return;
    const before = BigInt(Math.floor(performance.timeOrigin * 1e6));
    if (!areSettled(tree, before) || !areSettled(files, before) || !areLocal([...tree, ...files])) return;
    save(session, { tree, files, stdout, stderr });
  } catch {
    // Something is gone meanwhile, or may not be read.
  }
}

/** What a build reads by its name, and where the store keeps names of images. */
function filesOf(flags: ParsedFlags, { cwd, env, root }: Session, directory: string): readonly string[] {
  const given = flags.text('file');
  const dockerfiles =
    given === undefined
      ? ['Dockerfile', 'dockerfile'].map((name) => join(directory, name))
      : [resolve(cwd, given)];
  return [
    ...[directory, join(directory, '.dockerignore'), configurationFile(env)],
    ...dockerfiles.flatMap((path) => [path, `${path}.dockerignore`]),
    ...[...['tags', 'ids'].map((name) => join(root, 'images', name)), changeMark(root)],
  ];
}

function stampsOf(paths: readonly string[], follow: boolean): readonly string[] {
  return paths.flatMap((path) => [path, stampOf(path, follow)]);
}

/**
 * What ignore patterns leave out is left out here as well, unless a link may lead a step there. undefined: there are too many, or
 * some have names that cannot be told.
 */
function pathsBelow(directory: string, ignoreText = ''): readonly string[] | undefined {
  const patterns = parseIgnoreFile(ignoreText);
  const hasExceptions = patterns.some((pattern) => pattern.startsWith('!'));
  const matcher = compileIgnoreFile(hasExceptions ? '' : ignoreText, '.dockerignore');
  const found = walk(directory, (path) => matcher.excludes(path));
  return found?.hasLinks === true ? walk(directory, () => false)?.paths : found?.paths;
}

interface Walked {
  readonly paths: readonly string[];
  readonly hasLinks: boolean;
}

function walk(directory: string, excludes: (path: string) => boolean): Walked | undefined {
  const paths: string[] = [];
  let hasLinks = false;
  const left = [''];
  for (let below = left.pop(); below !== undefined; below = left.pop())
    for (const entry of readdirSync(join(directory, below), { withFileTypes: true })) {
      const path = below === '' ? entry.name : `${below}/${entry.name}`;
      // What stands for bytes that are no UTF-8 names nothing.
      if (entry.name.includes('\ufffd')) return undefined;
      if (excludes(path)) continue;
      if (entry.isDirectory()) left.push(path);
      hasLinks ||= entry.isSymbolicLink();
      paths.push(join(directory, path));
      if (paths.length > MAX_PATHS) return undefined;
    }
  return { paths, hasLinks };
}

/** Whether what changes from now on, or changed since a little before the build, has another time. */
function areSettled(stamps: readonly string[], began: bigint): boolean {
  return stamps.every((stamp, at) => {
    // What is not there has no time; where it comes into being, its stamp does, too.
    if (at % 2 === 0 || stamp === '') return true;
    // Of both times this is the one that nobody can set.
    const changed = BigInt(stamp.slice(stamp.lastIndexOf(':') + 1));
    return changed < began - (changed % SECOND_NS === 0n ? COARSE_NS : TICK_NS);
  });
}

/** Whether all of it lies on file systems whose times come from this machine's clock. */
function areLocal(stamps: readonly string[]): boolean {
  const devices = new Map<string, string>();
  for (let at = 0; at < stamps.length; at += 2) {
    const stamp = stamps[at + 1] ?? '';
    if (stamp !== '') devices.set(stamp.slice(0, stamp.indexOf(':')), stamps[at] ?? '');
  }
  return [...devices.values()].every((path) => LOCAL.has(statfsSync(path).type));
}

function save({ host, root }: Session, parts: Omit<UnchangedNote, 'identity' | 'at'>): void {
  const identity = identityOf(thisCommand());
  const directory = unchangedDirectory(root);
  const name = noteName(identity);
  if (namesIn(directory).filter((other) => other !== name).length >= MAX_NOTES)
    rmSync(directory, { recursive: true, force: true });
  const note: UnchangedNote = { identity, at: host.now(), ...parts };
  writeFileAtomic(host, join(directory, name), JSON.stringify(note), { mode: 0o600 });
}
