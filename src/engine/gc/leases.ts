/**
 * Leases: what running processes need, so that garbage collection leaves it alone.
 *
 *   leases/PID.STARTED.N   of one engine while it works: one line per thing, `KIND NAME`; dies with its process
 *   locks/collecting       a symlink (it needs no block of a full disk) to the name of who collects, while it chooses
 *   locks/collect.lock     flock(2): one collection at a time
 *
 * The order is what makes it safe. A user writes its line, waits while `collecting` is there, and then looks whether
 * the thing is; a collector makes `collecting`, reads the lines, and moves away what nobody named. So either the
 * collector reads the line, or the user finds the thing gone before it has begun to rely on it. What is
 * chosen is renamed and deleted later, so nobody waits long; a collector that was killed is not waited for.
 */
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  rmSync,
  utimesSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { namesIn } from '../../base/directory-names.ts';
import { errnoOf, ioError, TsbuildError } from '../../base/errors.ts';
import type { Host } from '../../base/host.ts';
import { isOwnerAlive } from '../../base/owner.ts';
import type { HeldKind } from '../../base/retention.ts';

export interface Leases {
  /** Work begins: what `hold` names is kept until every piece of work has been disposed of. */
  enter(): Disposable;
  /** As Retention.hold; nothing is held, and nothing written, between pieces of work. */
  hold(kind: HeldKind, name: string): boolean;
  /** As Retention.touch. */
  touch(path: string): void;
  /** Whether another engine holds it now. */
  isHeldElsewhere(kind: HeldKind, name: string): boolean;
}

/** What is held, by kind. */
export type Held = Readonly<Record<HeldKind, ReadonlySet<string>>>;

const LONGEST_WAIT_MS = 60_000;
const PAUSE_MS = 1;

export function leasesDirectory(root: string): string {
  return join(root, 'leases');
}

/** Names the process that is choosing, while it is. */
export function collectingNote(root: string): string {
  return join(root, 'locks', 'collecting');
}

export function openLeases(root: string, host: Host): Leases {
  const directory = leasesDirectory(root);
  const note = collectingNote(root);
  const held = new Set<string>();
  let uses = 0;
  let file: { readonly fd: number; readonly path: string; readonly name: string } | undefined;

  function openFile(): NonNullable<typeof file> {
    const name = host.unique();
    const path = join(directory, name);
    return { fd: openOrMake(path, directory), path, name };
  }

  function leave(): void {
    uses -= 1;
    if (uses > 0 || file === undefined) return;
    closeSync(file.fd);
    rmSync(file.path, { force: true });
    file = undefined;
    held.clear();
  }

  return {
    enter() {
      uses += 1;
      let isIn = true;
      return {
        [Symbol.dispose]() {
          if (isIn) leave();
          isIn = false;
        },
      };
    },
    hold(kind, name) {
      if (uses === 0) return false;
      const line = `${kind} ${name}\n`;
      if (held.has(line)) return true;
      try {
        file ??= openFile();
        writeSync(file.fd, line);
      } catch (error) {
        throw ioError(`write what is in use below ${JSON.stringify(directory)}`, error);
      }
      held.add(line);
      waitForCollector(note);
      return false;
    },
    touch(path) {
      if (uses === 0) return;
      const seconds = host.now() / 1000;
      try {
        utimesSync(path, seconds, seconds);
      } catch {
        // It went meanwhile, or the disk cannot be written: it looks older than it is.
      }
    },
    isHeldElsewhere: (kind, name) => readHeld(root, file?.name)[kind].has(name),
  };
}

function openOrMake(path: string, directory: string): number {
  try {
    return openSync(path, 'wx', 0o600);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    return openSync(path, 'wx', 0o600);
  }
}

function readNote(note: string): string | undefined {
  try {
    return readlinkSync(note);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw ioError(`read ${JSON.stringify(note)}`, error);
  }
}

/** At once where nobody collects; otherwise some milliseconds, in which this process does nothing else. */
function waitForCollector(note: string): void {
  for (let waited = 0; ; waited += PAUSE_MS) {
    const owner = readNote(note);
    if (owner === undefined || !isOwnerAlive(owner)) return;
    if (waited >= LONGEST_WAIT_MS)
      throw new TsbuildError(
        'STORE_IN_USE',
        `process ${owner.split('.')[0] ?? ''} has been collecting garbage for a minute`,
        {
          hint: 'let it go on, or end it',
        },
      );
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS);
  }
}

/** What living processes hold. `except`: a lease that does not count. */
export function readHeld(root: string, except?: string): Held {
  const held = {
    blob: new Set<string>(),
    layer: new Set<string>(),
    snapshot: new Set<string>(),
    cache: new Set<string>(),
    repository: new Set<string>(),
  };
  const directory = leasesDirectory(root);
  for (const name of namesIn(directory)) {
    if (name === except || !isOwnerAlive(name)) continue;
    for (const line of readLines(join(directory, name))) {
      const [kind = '', what = ''] = line.split(' ');
      if (Object.hasOwn(held, kind)) held[kind as HeldKind].add(what);
    }
  }
  return held;
}

function readLines(path: string): readonly string[] {
  try {
    return readFileSync(path, 'utf8').split('\n');
  } catch (error) {
    // Its work has ended meanwhile.
    if (errnoOf(error) === 'ENOENT') return [];
    throw ioError(`read ${JSON.stringify(path)}`, error);
  }
}
