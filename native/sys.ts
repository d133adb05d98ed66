/**
 * System calls that Node lacks, through koffi and libtsbsys.so. Loaded at the first call: koffi costs 3 ms, and a
 * cached build needs none of this. Functions throw an Error whose `code` is the errno's name, as Node's do.
 */
import { createRequire } from 'node:module';
import { lutimesSync } from 'node:fs';
import { constants } from 'node:os';
import type { ByteString } from '../src/base/byte-string.ts';
import { locateNative } from './locate.ts';

type Call = (...args: unknown[]) => number;
export interface Library {
  readonly mknod: Call;
  readonly lgetxattr: Call;
  readonly lsetxattr: Call;
  readonly makeFile: Call;
  readonly utimens: Call;
  readonly fileSystem: Call;
  readonly flock: Call;
  readonly memoryFile: Call;
  readonly overlay: Call;
  readonly served: Call;
  readonly erofs: Call;
  readonly ttyRaw: Call;
  readonly ttyRestore: Call;
  readonly filterDevices: Call;
  readonly subvolume: Call;
  readonly subvolumeRemove: Call;
  readonly spawn: Call;
  readonly wait: Call;
  readonly listingText: Call;
  readonly findDigests: Call;
}

interface Koffi {
  load(path: string): { func(prototype: string): Call };
}

/** The addon itself where it lies where koffi would find it at last; looking for it costs koffi 6 ms. */
function requireKoffi(): Koffi {
  const require = createRequire(import.meta.url);
  try {
    return require(`@koromix/koffi-linux-${process.arch}/linux_${process.arch}/koffi.node`) as Koffi;
  } catch {
    // Another C library, or another layout of node_modules.
    return require('koffi') as Koffi;
  }
}

let library: Library | undefined;

/** For what goes through it in a file of its own. */
export function loadLibrary(): Library {
  if (library !== undefined) return library;
  const lib = requireKoffi().load(locateNative('libtsbsys.so'));
  library = {
    mknod: lib.func('int64_t tsb_mknod(const uint8_t *path, uint32_t mode, uint32_t major, uint32_t minor)'),
    lgetxattr: lib.func(
      'int64_t tsb_lgetxattr(const uint8_t *path, const uint8_t *name, _Out_ uint8_t *buffer, uint64_t size)',
    ),
    lsetxattr: lib.func(
      'int64_t tsb_lsetxattr(const uint8_t *path, const uint8_t *name, const uint8_t *value, uint64_t size)',
    ),
    makeFile: lib.func(
      'int64_t tsb_make_file(const uint8_t *path, uint32_t mode, uint32_t uid, uint32_t gid, int64_t mtime, const uint8_t *data, uint64_t size)',
    ),
    utimens: lib.func('int64_t tsb_utimens(const uint8_t *path, int64_t seconds, int64_t nanoseconds)'),
    fileSystem: lib.func(
      'int64_t tsb_file_system(int fd, uint32_t major, uint32_t minor, _Out_ uint8_t *description)',
    ),
    flock: lib.func('int64_t tsb_flock(int fd, int operation)'),
    memoryFile: lib.func('int64_t tsb_memory_file(const uint8_t *name)'),
    filterDevices: lib.func(
      'int64_t tsb_filter_devices(const uint8_t *directory, const uint8_t *program, uint32_t size)',
    ),
    subvolume: lib.func(
      'int64_t tsb_subvolume(const uint8_t *directory, const uint8_t *name, const uint8_t *source)',
    ),
    subvolumeRemove: lib.func('int64_t tsb_subvolume_remove(const uint8_t *directory, const uint8_t *name)'),
    ttyRaw: lib.func('int64_t tsb_tty_raw(int fd, _Out_ uint8_t *saved)'),
    ttyRestore: lib.func('int64_t tsb_tty_restore(int fd, const uint8_t *saved)'),
    overlay: lib.func(
      'int64_t tsb_overlay(const uint8_t *lowers, uint32_t count, const uint8_t *upper, const uint8_t *work, uint32_t is_attached)',
    ),
    served: lib.func('int64_t tsb_served(const uint8_t *program, const uint8_t *options)'),
    erofs: lib.func('int64_t tsb_erofs(const uint8_t *list)'),
    spawn: lib.func(
      'int64_t tsb_spawn(const uint8_t *path, const uint8_t *arguments, uint32_t arguments_count, const uint8_t *environment, uint32_t environment_count, const int32_t *fds, uint32_t fds_count, const uint8_t *directory, _Out_ int32_t *ours)',
    ),
    wait: lib.func('int64_t tsb_wait(int32_t pid)'),
    listingText: lib.func(
      'int64_t tsb_listing_text(const uint8_t **segments, const uint64_t *sizes, uint32_t count, uint32_t first, uint32_t flags, const uint8_t *digests, uint32_t files, _Out_ uint8_t *out, uint64_t room)',
    ),
    findDigests: lib.func(
      'int64_t tsb_find_digests(const uint8_t **segments, const uint64_t *sizes, uint32_t count, const uint32_t *places, uint32_t place_count, const uint8_t *entries, uint32_t entry_count, _Inout_ uint8_t *used, _Inout_ uint8_t *digests, _Inout_ uint8_t *known, uint32_t files, const uint8_t *empty, _Out_ double *unknown)',
    ),
  };
  return library;
}

const names = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));

/** Throws what a call returned that failed. */
export function check(call: string, result: number): number {
  const failure = failureOf(call, result);
  if (failure !== undefined) throw failure;
  return result;
}

function failureOf(call: string, result: number): Error | undefined {
  if (result >= 0) return undefined;
  const code = names.get(-result) ?? `errno ${-result}`;
  return Object.assign(new Error(`${call}: ${code}`), { code });
}

/** NUL-terminated. `path` is a byte string, or a Buffer as `fsPath` makes them. */
function cString(path: ByteString | Buffer): Buffer {
  return typeof path === 'string' ? Buffer.from(`${path}\0`, 'utf8') : Buffer.concat([path, Buffer.of(0)]);
}

const S_IFIFO = 0o010000;
const S_IFCHR = 0o020000;
const S_IFBLK = 0o060000;
const TYPES = { fifo: S_IFIFO, char: S_IFCHR, block: S_IFBLK } as const;

/** mknod(2). The path's last component must not exist; earlier ones are the caller's to vouch for. */
export function makeNode(
  path: string | Buffer,
  type: keyof typeof TYPES,
  mode: number,
  major: number,
  minor: number,
): void {
  check('mknod', loadLibrary().mknod(cString(path), TYPES[type] | mode, major, minor));
}

/** A new regular file with all its attributes in one call; false where something has the name already. */
export function makeFile(
  path: string | Buffer,
  attributes: { readonly mode: number; readonly uid: number; readonly gid: number; readonly mtime: number },
  content: Uint8Array,
): boolean {
  const { mode, uid, gid, mtime } = attributes;
  const result = loadLibrary().makeFile(cString(path), mode, uid, gid, mtime, content, content.byteLength);
  if (names.get(-result) === 'EEXIST') return false;
  check('create', result);
  return true;
}

const NS_PER_S = 1_000_000_000n;
const scratch = Buffer.alloc(65536);

/** lgetxattr(2); undefined where the attribute is absent or the file system has none. */
export function getXattr(path: string | Buffer, name: string): Uint8Array | undefined {
  const result = loadLibrary().lgetxattr(cString(path), cString(name), scratch, scratch.byteLength);
  if (result >= 0) return Uint8Array.from(scratch.subarray(0, result));
  const code = names.get(-result);
  if (code === 'ENODATA' || code === 'ENOTSUP' || code === 'EOPNOTSUPP') return undefined;
  check('lgetxattr', result);
  return undefined;
}

export function setXattr(path: string | Buffer, name: string, value: Uint8Array): void {
  check('lsetxattr', loadLibrary().lsetxattr(cString(path), cString(name), value, value.byteLength));
}

/**
 * Makes the subvolume of btrfs `name` in a directory: empty, or as the subvolume `source` is now. ENOTTY where the file
 * system is another.
 */
export function makeSubvolume(directory: string, name: string, source?: string): void {
  check(
    'subvolume',
    loadLibrary().subvolume(cString(directory), cString(name), source === undefined ? null : cString(source)),
  );
}

/** Removes one with all that is in it, at once. ENOTEMPTY: other subvolumes lie in it. */
export function removeSubvolume(directory: string, name: string): void {
  check('subvolume', loadLibrary().subvolumeRemove(cString(directory), cString(name)));
}

/** Access and modification time of what lies at a path, a symlink itself included, exact to the nanosecond. */
export function setTimeNs(path: string | Buffer, timeNs: bigint): void {
  const nanoseconds = ((timeNs % NS_PER_S) + NS_PER_S) % NS_PER_S;
  // Node's own is exact for whole seconds (and takes what is before 1970 for now), and spares a short command the library.
  if (nanoseconds === 0n && timeNs >= 0n && library === undefined) {
    const seconds = Number(timeNs / NS_PER_S);
    lutimesSync(path, seconds, seconds);
    return;
  }
  check('utimensat', loadLibrary().utimens(cString(path), (timeNs - nanoseconds) / NS_PER_S, nanoseconds));
}

/** struct file_system of tree/walk.h, for what lies on the device major:minor in the directory `fd`. */
export function readFileSystem(fd: number, major: number, minor: number): Buffer {
  const description = Buffer.alloc(40);
  check('statfs', loadLibrary().fileSystem(fd, major, minor, description));
  return description;
}

/** flock(2) without waiting; false where another process holds it. The lock dies with its holder. */
export function tryLock(fd: number, kind: 'shared' | 'exclusive'): boolean {
  const LOCK_NB = 4;
  const result = loadLibrary().flock(fd, (kind === 'shared' ? 1 : 2) | LOCK_NB);
  if (names.get(-result) === 'EAGAIN' || names.get(-result) === 'EWOULDBLOCK') return false;
  check('flock', result);
  return true;
}

/** Puts a device program (see src/runtime/cgroups/device-program.ts) in the place of a v2 cgroup's own one. */
export function filterDevices(directory: string, program: Uint8Array): void {
  check('bpf', loadLibrary().filterDevices(cString(Buffer.from(directory)), program, program.byteLength));
}

const TERMIOS_SIZE = 64;

/** Makes a terminal raw in both directions; returns what undoes it. */
export function makeTerminalRaw(fd: number): () => void {
  const saved = Buffer.alloc(TERMIOS_SIZE);
  check('tcsetattr', loadLibrary().ttyRaw(fd, saved));
  return () => void loadLibrary().ttyRestore(fd, saved);
}

function cStrings(strings: readonly string[]): Buffer {
  return Buffer.from(`${strings.join('\0')}\0`);
}

/**
 * Descriptor of an overlay, mounted nowhere; closing it removes it. `strings` are those of `count` lower directories
 * (mount.ts), topmost first; without `upper` it is read-only. See overlay.ts for what callers want.
 */
export function makeOverlay(
  strings: readonly string[],
  count: number,
  attached: boolean,
  writable?: { readonly upper: string; readonly work: string },
): number {
  const { upper, work } = writable ?? {};
  const [at, by] = [upper, work].map((path) => (path === undefined ? null : cString(path)));
  return check('overlay', loadLibrary().overlay(cStrings(strings), count, at, by, attached ? 1 : 0));
}

/** Descriptor of an image, mounted nowhere; closing it removes it, loop devices included. */
export function mountImage(strings: readonly string[]): number {
  return check('erofs', loadLibrary().erofs(cStrings(strings)));
}

/** Root directory of what a program serves (served.h); it ends with the last mount of it. */
export function mountServed(program: string, options: string): number {
  return check('served', loadLibrary().served(cString(program), cString(options)));
}

/** A descriptor of an empty file in memory; the caller closes it. */
export function memoryFile(name: string): number {
  return check('memfd_create', loadLibrary().memoryFile(cString(name)));
}

/** What a descriptor of a program is: one of ours, nothing, or the other end of a socket that is returned. */
export type ProgramDescriptor = number | 'null' | 'socket' | 'input';
const KINDS = { null: -1, socket: -2, input: -3 } as const;

/**
 * Starts a program (spawn.h) with these descriptors from 0 on. Our ends of its sockets are the caller's to close
 * (-1: it has none of the kind), and the process to wait for (`waitFor`); nothing of it is an event of Node's.
 */
export function spawnProgram(
  path: string,
  args: readonly string[],
  descriptors: readonly ProgramDescriptor[],
  { env, directory }: { readonly env: readonly string[]; readonly directory: string },
): { readonly pid: number; readonly socket: number; readonly input: number } {
  const fds = descriptors.map((each) => (typeof each === 'number' ? each : KINDS[each]));
  const ours = new Int32Array(2);
  const words = [cStrings(args), args.length, cStrings(env), env.length];
  const place = cString(Buffer.from(path));
  const { spawn } = loadLibrary();
  const pid = check(
    'spawn',
    spawn(place, ...words, Int32Array.from(fds), fds.length, cString(Buffer.from(directory)), ours),
  );
  const [socket = -1, input = -1] = ours;
  return { pid, socket, input };
}

/** The status of a child that has ended, as waitpid(2) has it; undefined where it has not. */
export function waitFor(pid: number): number | undefined {
  const result = loadLibrary().wait(pid);
  if (names.get(-result) === 'EAGAIN' || names.get(-result) === 'EWOULDBLOCK') return undefined;
  return check('waitpid', result);
}
