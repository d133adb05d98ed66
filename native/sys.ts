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
interface Library {
  readonly mknod: Call;
  readonly lgetxattr: Call;
  readonly lsetxattr: Call;
  readonly makeFile: Call;
  readonly utimens: Call;
  readonly syncfs: Call;
  readonly flock: Call;
  readonly overlayView: Call;
  readonly ttyRaw: Call;
  readonly ttyRestore: Call;
  readonly overlayRoot: Call;
  readonly filterDevices: Call;
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

function load(): Library {
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
    syncfs: lib.func('int64_t tsb_syncfs(int fd)'),
    flock: lib.func('int64_t tsb_flock(int fd, int operation)'),
    filterDevices: lib.func(
      'int64_t tsb_filter_devices(const uint8_t *directory, const uint8_t *program, uint32_t size)',
    ),
    ttyRaw: lib.func('int64_t tsb_tty_raw(int fd, _Out_ uint8_t *saved)'),
    ttyRestore: lib.func('int64_t tsb_tty_restore(int fd, const uint8_t *saved)'),
    overlayView: lib.func('int64_t tsb_overlay_view(const uint8_t *paths, uint32_t count)'),
    overlayRoot: lib.func(
      'int64_t tsb_overlay_root(const uint8_t *paths, uint32_t count, const uint8_t *upper, const uint8_t *work)',
    ),
  };
  return library;
}

const names = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));

function check(call: string, result: number): number {
  if (result >= 0) return result;
  const code = names.get(-result) ?? `errno ${-result}`;
  throw Object.assign(new Error(`${call}: ${code}`), { code });
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
  check('mknod', load().mknod(cString(path), TYPES[type] | mode, major, minor));
}

/** A new regular file with all its attributes in one call; false where something has the name already. */
export function makeFile(
  path: string | Buffer,
  attributes: { readonly mode: number; readonly uid: number; readonly gid: number; readonly mtime: number },
  content: Uint8Array,
): boolean {
  const { mode, uid, gid, mtime } = attributes;
  const result = load().makeFile(cString(path), mode, uid, gid, mtime, content, content.byteLength);
  if (names.get(-result) === 'EEXIST') return false;
  check('create', result);
  return true;
}

const NS_PER_S = 1_000_000_000n;
const scratch = Buffer.alloc(65536);

/** lgetxattr(2); undefined where the attribute is absent or the file system has none. */
export function getXattr(path: string | Buffer, name: string): Uint8Array | undefined {
  const result = load().lgetxattr(cString(path), cString(name), scratch, scratch.byteLength);
  if (result >= 0) return Uint8Array.from(scratch.subarray(0, result));
  const code = names.get(-result);
  if (code === 'ENODATA' || code === 'ENOTSUP' || code === 'EOPNOTSUPP') return undefined;
  check('lgetxattr', result);
  return undefined;
}

export function setXattr(path: string | Buffer, name: string, value: Uint8Array): void {
  check('lsetxattr', load().lsetxattr(cString(path), cString(name), value, value.byteLength));
}

/** Access and modification time of what lies at a path, a symlink itself included, exact to the nanosecond. */
export function setTimeNs(path: string | Buffer, timeNs: bigint): void {
  const nanoseconds = ((timeNs % NS_PER_S) + NS_PER_S) % NS_PER_S;
  // Node's own is exact for whole seconds, and spares a short command the library.
  if (nanoseconds === 0n && library === undefined) {
    const seconds = Number(timeNs / NS_PER_S);
    lutimesSync(path, seconds, seconds);
    return;
  }
  check('utimensat', load().utimens(cString(path), (timeNs - nanoseconds) / NS_PER_S, nanoseconds));
}

/** Writes back everything of the file system that holds `fd`. */
export function syncFileSystem(fd: number): void {
  check('syncfs', load().syncfs(fd));
}

/** flock(2) without waiting; false where another process holds it. The lock dies with its holder. */
export function tryLock(fd: number, kind: 'shared' | 'exclusive'): boolean {
  const LOCK_NB = 4;
  const result = load().flock(fd, (kind === 'shared' ? 1 : 2) | LOCK_NB);
  if (names.get(-result) === 'EAGAIN' || names.get(-result) === 'EWOULDBLOCK') return false;
  check('flock', result);
  return true;
}

/** Puts a device program (see src/runtime/cgroups/device-program.ts) in the place of a v2 cgroup's own one. */
export function filterDevices(directory: string, program: Uint8Array): void {
  check('bpf', load().filterDevices(cString(Buffer.from(directory)), program, program.byteLength));
}

const TERMIOS_SIZE = 64;

/** Makes a terminal raw in both directions; returns what undoes it. */
export function makeTerminalRaw(fd: number): () => void {
  const saved = Buffer.alloc(TERMIOS_SIZE);
  check('tcsetattr', load().ttyRaw(fd, saved));
  return () => void load().ttyRestore(fd, saved);
}

/** Descriptor of a read-only overlay, mounted nowhere; closing it removes it. Topmost directory first. */
export function openOverlayView(lower: readonly string[]): number {
  return check('overlay', load().overlayView(Buffer.from(`${lower.join('\0')}\0`), lower.length));
}

/** The same, writable: what is written goes to `upper`, by way of `work`. */
export function openOverlayRoot(lower: readonly string[], upper: string, work: string): number {
  const paths = Buffer.from(`${lower.join('\0')}\0`);
  return check('overlay', load().overlayRoot(paths, lower.length, cString(upper), cString(work)));
}
