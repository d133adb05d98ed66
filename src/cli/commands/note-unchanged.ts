/**
 * Leaves the note by which the next build of the same is answered (unchanged-build.ts).
 *
 * What makes an answer right: every step was cached and nothing came from a network, so that what the build read is
 * the directory of its context, its Dockerfile and ignore files, the configuration, and names and images of the store; and none
 * of these was changed since a little before the build began, so that what it read is what the stamps are of, and a
 * later change gives another stamp. Whatever removes results of steps removes the notes.
 */
import { lstatSync, readdirSync, rmSync, statfsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { isatty } from 'node:tty';
import { writeFileAtomic } from '../../base/atomic-file.ts';
import { namesIn } from '../../base/directory-names.ts';
import type { BuildResult } from '../../engine/build.ts';
import type { BuildRequest } from '../../engine/build-request.ts';
import { unchangedDirectory } from '../../engine/unchanged-notes.ts';
import { compileIgnoreFile, parseIgnoreFile } from '../../layer/ignore-patterns.ts';
import { configurationFile } from '../configuration.ts';
import type { ParsedFlags } from '../flags.ts';
import type { Session } from '../session.ts';
import { identityOf, noteName, stampOf, thisCommand, type UnchangedNote } from '../unchanged-build.ts';

/** Times of files are those of the kernel's last tick; a hundred a second at least. */
const TICK_MS = 20;
/** Where there are more, looking at each takes as long as building. */
const MAX_PATHS = 2000;
const MAX_TEXT = 64 << 10;
/** So many commands are remembered. */
const MAX_NOTES = 64;

/** Flags that say nothing of the outside, or of other results than image and name. */
const HARMLESS: ReadonlySet<string> = new Set([
  'root',
  'tag',
  'file',
  'target',
  'build-arg',
  'platform',
  'label',
  'progress',
  'quiet',
  'load',
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

/** Whether the same command may be answered without a build at all. */
export function isNotable(flags: ParsedFlags, { env }: Session): boolean {
  if (flags.names.some((name) => !HARMLESS.has(name))) return false;
  if (flags.list('build-arg').some((word) => !word.includes('='))) return false;
  if (flags.text('file') === '-') return false;
  if (flags.boolean('quiet')) return true;
  const mode = flags.text('progress') ?? env['BUILDKIT_PROGRESS'] ?? 'auto';
  return mode === 'quiet' || (['auto', 'plain'].includes(mode) && !isatty(2));
}

/** Never throws: a build that cannot be noted is built the next time. */
export function noteUnchanged(
  flags: ParsedFlags,
  session: Session,
  { request, result, stdout, stderr }: BuildEnd,
): void {
  if (result.executed > 0 || result.skipped > 0 || !result.isLocal) return;
  if (stdout.length + stderr.length > MAX_TEXT) return;
  try {
    const began = performance.timeOrigin - TICK_MS;
    const stamps = stampsOf(flags, session, request, BigInt(Math.floor(began * 1e6)));
    if (stamps !== undefined) save(session, { ...stamps, stdout, stderr });
  } catch {
    // Something is gone meanwhile, or may not be read.
  }
}

type Stamps = Pick<UnchangedNote, 'tree' | 'files'>;

/** undefined: something is too new to be told apart from its next state. */
function stampsOf(
  flags: ParsedFlags,
  { cwd, env, root }: Session,
  { contexts }: BuildRequest,
  before: bigint,
): Stamps | undefined {
  const context = contexts.get('context');
  if (contexts.size !== 1 || context?.kind !== 'directory') return undefined;
  const { directory, ignoreText } = context;
  if (!LOCAL.has(statfsSync(directory).type)) return undefined;
  const tree = pathsBelow(directory, ignoreText);
  if (tree === undefined) return undefined;
  const dockerfile = flags.text('file');
  const dockerfiles =
    dockerfile === undefined
      ? ['Dockerfile', 'dockerfile'].map((name) => join(directory, name))
      : [resolve(cwd, dockerfile)];
  const files = [
    ...[directory, join(directory, '.dockerignore'), configurationFile(env)],
    ...dockerfiles.flatMap((path) => [path, `${path}.dockerignore`]),
    ...['tags', 'ids'].map((name) => join(root, 'images', name)),
  ];
  if (!isSettled(tree, false, before) || !isSettled(files, true, before)) return undefined;
  return {
    tree: tree.flatMap((path) => [path, stampOf(path, false)]),
    files: files.flatMap((path) => [path, stampOf(path, true)]),
  };
}

/** undefined: too many, or of several file systems. */
function pathsBelow(directory: string, ignoreText = ''): readonly string[] | undefined {
  const patterns = parseIgnoreFile(ignoreText);
  const hasExceptions = patterns.some((pattern) => pattern.startsWith('!'));
  const ignored = hasExceptions ? undefined : compileIgnoreFile(ignoreText, '.dockerignore');
  const { dev } = lstatSync(directory);
  const found: string[] = [];
  const left = [''];
  for (let below = left.pop(); below !== undefined; below = left.pop())
    for (const entry of readdirSync(join(directory, below), { withFileTypes: true })) {
      const path = below === '' ? entry.name : `${below}/${entry.name}`;
      if (ignored?.excludes(path) === true) continue;
      if (entry.isDirectory()) {
        if (lstatSync(join(directory, path)).dev !== dev) return undefined;
        left.push(path);
      }
      found.push(join(directory, path));
      if (found.length > MAX_PATHS) return undefined;
    }
  return found;
}

function isSettled(paths: readonly string[], follow: boolean, before: bigint): boolean {
  return paths.every((path) => {
    const stamp = stampOf(path, follow);
    // What is not there has no time. Of both times this is the one that nobody can set.
    return stamp === '' || BigInt(stamp.slice(stamp.lastIndexOf(':') + 1)) < before;
  });
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
