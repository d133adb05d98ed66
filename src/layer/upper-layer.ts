/**
 * The layer of what a process has changed: written here where that is little, by one native call where it is much.
 * Either way its bytes are those of `packUpper`.
 */
import { closeSync, readSync } from 'node:fs';
import type { LayerWriter } from './layer.ts';
import { packPlan, PackPlan } from './pack-plan.ts';
import { CAPABILITY, type EntryWriter } from './pack-entry.ts';
import { packUpper, packUpperInto, type PackOptions } from './pack.ts';
import { changed } from './changed.ts';
import { createTarWriter } from './tar-writer.ts';
import type { TarEntry } from './tar-header.ts';
import type { EntryStat, Tree } from './tree.ts';

/** Up to both a layer is written here: a native call takes 3 ms to start. */
const FEW_ENTRIES = 200;
const FEW_BYTES = 1 << 20;

/**
 * Fills `writer` with the layer of an upper directory that nobody changes any more; `parent` is what lies below it.
 * Throws IO_FAILED, DISK_FULL, CONTEXT_INVALID where a file did change, ABORTED.
 */
export async function packUpperLayer(
  upper: Tree,
  parent: Tree,
  writer: LayerWriter,
  options: PackOptions,
): Promise<void> {
  const entries = await gather(upper, parent, options);
  if (entries === undefined) return packUpper(upper, parent, writer, options);
  const { plan } = entries;
  if (plan === undefined) {
    entries.write(writer);
    return;
  }
  const { signal, onPacking } = options;
  const packed = await packPlan(plan, {
    ...{ out: writer.descriptor, signal, what: 'pack a layer' },
    onContents: () => undefined,
    onGrown: onPacking && ((size) => writer.grown(size, onPacking)),
  });
  writer.written(packed.diffID, packed.size);
}

/** undefined: something does not fit into a plan, a path for instance that nobody could open at once. */
async function gather(upper: Tree, parent: Tree, options: PackOptions): Promise<GatheredEntries | undefined> {
  if (upper.descriptor === undefined) return undefined;
  const entries = new GatheredEntries(upper.descriptor);
  try {
    await packUpperInto(upper, parent, entries, options);
    return entries;
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

interface Held {
  readonly entry: TarEntry;
  readonly bytes?: Uint8Array;
}

/** Holds entries with their content while they are few; puts them into a plan as soon as they are not. */
class GatheredEntries implements EntryWriter {
  readonly #root: number;
  readonly #held: Held[] = [];
  #bytes = 0;
  #planned: { readonly plan: PackPlan; readonly root: number } | undefined;

  /** `root`: descriptor of the upper directory. */
  constructor(root: number) {
    this.#root = root;
  }

  get plan(): PackPlan | undefined {
    return this.#planned?.plan;
  }

  entry(entry: TarEntry): void {
    this.#makeRoom(0);
    if (this.#planned === undefined) this.#held.push({ entry });
    else this.#put(entry);
  }

  file(entry: TarEntry, stat: EntryStat, open: () => number): Promise<void> {
    this.#makeRoom(entry.size);
    if (this.#planned === undefined) {
      this.#held.push({ entry, bytes: readWhole(entry, open()) });
      this.#bytes += entry.size;
    } else {
      this.#put(entry);
      this.#planned.plan.looked(this.#planned.root, stat);
    }
    return Promise.resolve();
  }

  end(): void {
    // Nothing is written before all of it is known.
  }

  /** For one more entry with so many bytes; begins the plan where it is one too many. */
  #makeRoom(bytes: number): void {
    if (this.#planned !== undefined) return;
    if (this.#held.length < FEW_ENTRIES && this.#bytes + bytes <= FEW_BYTES) return;
    const plan = new PackPlan();
    this.#planned = { plan, root: plan.root(this.#root, '', 0) };
    for (const { entry, bytes } of this.#held.splice(0)) {
      this.#put(entry);
      if (bytes !== undefined) plan.inline(bytes);
    }
  }

  #put({ path, type, mode, uid, gid, mtime, size, linkname, xattrs, major = 0, minor = 0 }: TarEntry): void {
    const plan = this.#planned?.plan;
    const bytes = Buffer.from(path, 'latin1');
    plan?.entry(type, mode, uid, gid, mtime, type === 'file' ? size : 0, bytes, bytes.byteLength);
    if (linkname !== undefined) plan?.link(linkname);
    const capability = xattrs?.get(CAPABILITY);
    if (capability !== undefined) plan?.capability(capability);
    if (type === 'char' || type === 'block') plan?.device(major, minor);
  }

  /** What is held, where nothing was too much. */
  write(out: LayerWriter): void {
    const writer = createTarWriter(out);
    for (const { entry, bytes } of this.#held) {
      writer.entry(entry);
      if (bytes !== undefined) writer.content(bytes);
    }
    writer.end();
  }
}

/** Closes `fd`. */
function readWhole({ path, size }: TarEntry, fd: number): Uint8Array {
  try {
    const bytes = Buffer.allocUnsafe(size);
    for (let at = 0; at < size; ) {
      const n = readSync(fd, bytes, at, size - at, null);
      if (n === 0) throw changed(path);
      at += n;
    }
    return bytes;
  } finally {
    closeSync(fd);
  }
}
