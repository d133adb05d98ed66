/**
 * What `dist/cli.js` and `dist/runtime.js` are: runs the program with the code that V8 compiled of it at an earlier start.
 * Node 20 has no cache of compiled code of its own, and compiling is half of a short command's time.
 *
 * A program lies in `program/` in parts, which esbuild.config.mjs makes functions of. Those that a frequent command
 * needs are together in one file, a pack, and for a build that executes something in a second one; the others are read
 * when they are asked for.
 */
import {
  closeSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  statSync,
  writeSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type * as V8 from 'node:v8';
import { Script } from 'node:vm';
import { lazyBuiltins } from './lazy-builtins.ts';
import { answerUnchanged } from './unchanged-build.ts';

/** The part with which the program begins. */
declare const PROGRAM: string;
/** Files below `program/packs/`, by command; their names have a digest of their text, since V8 compares no more than lengths. */
declare const PACKS: Readonly<Record<string, string>>;

type Part = (require: (name: string) => unknown, part: { exports: unknown }, moduleUrl: string) => void;

const DAY_MS = 86_400_000;
const SCRATCH = 1 << 20;

/** A wrong guess costs time, nothing else. */
function commandOf(argv: readonly string[]): string {
  const named = argv.find((word) => Object.hasOwn(PACKS, word));
  const isBuild = /^-(?!-(help|version)$)|[./]/.test(argv[0] ?? '');
  const command = named ?? (isBuild ? 'build' : 'other');
  return Object.hasOwn(PACKS, command) ? command : 'other';
}

/** A file's bytes, in `scratch` where they have room there. Throws as `openSync` does. */
function readInto(scratch: Buffer, path: string): Buffer {
  const fd = openSync(path, 'r');
  try {
    const { size } = fstatSync(fd);
    const bytes = size <= scratch.byteLength ? scratch.subarray(0, size) : Buffer.allocUnsafeSlow(size);
    let at = 0;
    for (let n = -1; n !== 0 && at < size; at += n) n = readSync(fd, bytes, at, size - at, at);
    return bytes.subarray(0, at);
  } finally {
    closeSync(fd);
  }
}

function readCache(scratch: Buffer, path: string): Buffer | undefined {
  try {
    return readInto(scratch, path);
  } catch {
    return undefined;
  }
}

/** Written again once a day, for what was compiled since; elsewhere than in a directory of ours it stays unwritten. */
function isFresh(path: string): boolean {
  return Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0) < DAY_MS;
}

/** Its parts that have run, or had when its cache was written: a build that copies compiles little of what one needs that executes. */
function partsOf({ parts, cache }: Pack): {
  readonly before: readonly string[];
  readonly now: readonly string[];
} {
  const before = (readCache(Buffer.alloc(0), `${cache}.parts`)?.toString('latin1') ?? '').split('\n');
  const run = [...modules.keys()].map((name) => name.slice(2)).filter((name) => Object.hasOwn(parts, name));
  return { before, now: [...new Set([...before, ...run])] };
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

interface Pack {
  readonly parts: Readonly<Record<string, Part>>;
  readonly script: Script;
  /** Where its compiled code lies. */
  readonly cache: string;
}

/** Kept from Node by the first line of the program (esbuild.config.mjs); empty: there was none. */
const START_CA_CERTS = 'TSBUILD_START_CA_CERTS';
const kept = process.env[START_CA_CERTS];
if (kept !== undefined) Reflect.deleteProperty(process.env, START_CA_CERTS);
if (kept !== undefined && kept !== '') process.env['NODE_EXTRA_CA_CERTS'] = kept;

const argv = process.argv.slice(2);
const command = commandOf(argv);
if (command === 'build' && answerUnchanged()) process.exit(0);
const home = join(__dirname, 'program');
const directory = join(home, 'compiled');
const loaded: Pack[] = [];

function loadPack(name: string, scratch: Buffer): Pack {
  const filename = join(home, 'packs', name);
  // Latin-1 is safe: esbuild writes ASCII.
  const text = readInto(scratch, filename).toString('latin1');
  // What V8 itself compares, flags included, makes it refuse the file; `node:v8` would say so sooner, but costs as much as a stream.
  const cache = join(directory, `${name}.${process.version}-${process.arch}`);
  const cachedData = readCache(scratch, cache);
  const script = new Script(text, { filename, ...(cachedData === undefined ? {} : { cachedData }) });
  const pack = { parts: script.runInThisContext() as Pack['parts'], script, cache };
  loaded.push(pack);
  return pack;
}

// why: memory that is touched for the first time costs more than reading into it.
const first = loadPack(PACKS[command] ?? '', Buffer.allocUnsafeSlow(SCRATCH));
/** What the command needs where there is more to do than usual; read with the first part that `first` lacks. */
let second: Pack | undefined;

// why: nothing is left to be done then, and taking the heap apart takes milliseconds.
process.once('beforeExit', () => process.exit());
process.on('exit', (code) => {
  if (code !== 0 || argv.includes('--help')) return;
  for (const pack of loaded) {
    const { before, now } = partsOf(pack);
    const { script, cache } = pack;
    if (script.cachedDataRejected === false && isFresh(cache) && now.length === before.length) continue;
    writeCache(directory, cache, script.createCachedData());
    writeCache(directory, `${cache}.parts`, Buffer.from(now.join('\n'), 'latin1'));
  }
});

const builtins = lazyBuiltins(createRequire(join(home, PROGRAM)));
const moduleUrl = pathToFileURL(__filename).href;
const modules = new Map<string, { exports: unknown }>();

function requirePart(name: string): unknown {
  if (!name.startsWith('./')) return builtins(name);
  const known = modules.get(name);
  if (known !== undefined) return known.exports;
  const module = { exports: {} };
  modules.set(name, module);
  const file = name.slice(2);
  const part = first.parts[file] ?? ofSecondPack(file) ?? readPart(join(home, file));
  part(requirePart, module, moduleUrl);
  return module.exports;
}

function ofSecondPack(file: string): Part | undefined {
  const name = PACKS[`${command}+`];
  if (name === undefined) return undefined;
  if (second === undefined) {
    second = loadPack(name, Buffer.allocUnsafeSlow(SCRATCH));
    // why: threads that help to collect a few megabytes have to be waited for, beside what a step does on the same cores.
    (builtins('node:v8') as typeof V8).setFlagsFromString('--no-parallel-scavenge');
  }
  return second.parts[file];
}

function readPart(path: string): Part {
  return new Script(readFileSync(path, 'latin1'), { filename: path }).runInThisContext() as Part;
}

requirePart(`./${PROGRAM}`);
