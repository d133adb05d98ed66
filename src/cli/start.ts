/**
 * What `dist/cli.js` and `dist/runtime.js` are: runs the program's one file with the code that V8 compiled of it at an
 * earlier start. Node 20 has no cache of compiled code of its own, and compiling is half of a short command's time.
 */
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { cachedDataVersionTag } from 'node:v8';
import { Script } from 'node:vm';
import { lazyBuiltins } from './lazy-builtins.ts';

/** The program's file below `program/`; its name has a digest of its text, since V8 compares no more than lengths. */
declare const PROGRAM: string;

type Program = (
  require: (name: string) => unknown,
  module: { exports: unknown },
  exports: unknown,
  moduleUrl: string,
) => void;

/** Commands with a cache each, so that a start reads what it needs. All others share one. */
const FREQUENT = new Set([
  'build',
  'create',
  'exec',
  'images',
  'logs',
  'ps',
  'pull',
  'push',
  'rm',
  'run',
  'start',
]);
const DAY_MS = 86_400_000;

/** A wrong guess costs time, nothing else. */
function commandOf(argv: readonly string[]): string {
  const named = argv.find((word) => FREQUENT.has(word));
  return named ?? (/^-[a-z]$/.test(argv[0] ?? '') ? 'build' : 'other');
}

function readCache(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}

/** Written again once a day, for what was compiled since; elsewhere than in a directory of ours it stays unwritten. */
function isFresh(path: string): boolean {
  return Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0) < DAY_MS;
}

/** why fsync: V8 trusts what it reads but for a header, and a power failure must not leave it half a file. */
function writeCache(directory: string, path: string, data: Buffer): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o755 });
    const unfinished = `${path}.${process.pid}.tmp`;
    const fd = openSync(unfinished, 'w', 0o644);
    try {
      writeSync(fd, data);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(unfinished, path);
  } catch {
    // Read-only where it is installed, or full: the next start compiles again.
  }
}

const argv = process.argv.slice(2);
const directory = join(__dirname, 'program', 'compiled');
const file = join(__dirname, 'program', PROGRAM);
const cache = join(directory, `${PROGRAM}.${commandOf(argv)}.${cachedDataVersionTag().toString(16)}`);
const cachedData = readCache(cache);
// Latin-1 is safe: esbuild writes ASCII.
const script = new Script(readFileSync(file, 'latin1'), {
  filename: file,
  ...(cachedData === undefined ? {} : { cachedData }),
});
process.on('exit', (code) => {
  if (code !== 0 || argv.includes('--help')) return;
  if (script.cachedDataRejected === false && isFresh(cache)) return;
  writeCache(directory, cache, script.createCachedData());
});
const program = { exports: {} };
(script.runInThisContext() as Program)(
  lazyBuiltins(createRequire(file)),
  program,
  program.exports,
  pathToFileURL(__filename).href,
);
