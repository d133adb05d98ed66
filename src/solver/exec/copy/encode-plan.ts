/**
 * A layer plan for the native packing (src/layer/pack-plan.ts): the same entries in the same order as write-layer.ts
 * writes, trees from their listings without an object for each entry.
 */
import { closeSync, openSync } from 'node:fs';
import type { ByteString } from '../../../base/byte-string.ts';
import {
  LISTED_BLOCK,
  LISTED_CHAR,
  LISTED_DIRECTORY,
  LISTED_FILE,
  LISTED_SOCKET,
  LISTED_SYMLINK,
  ListingCursor,
  typeName,
} from '../../../layer/listing.ts';
import { PackPlan } from '../../../layer/pack-plan.ts';
import type { Tree } from '../../../layer/tree.ts';
import { DIGEST_SIZE, prefixOf, type Gathered } from './gathered.ts';
import type { LayerPlan } from './layer-plan.ts';
import { inodeOf, recordOf, SOCKET_MODE, type Content, type Planned, type PlannedTree } from './planned.ts';

/** Where contents of an earlier layer lie, by their digest. */
export interface EarlierLayer {
  /** Descriptor of its tar. */
  readonly fd: number;
  /** All of them, as `PackPlan.earlier` has them. */
  readonly contents: Uint8Array;
  /** What `PackPlan.earlierTar` takes. */
  readonly checkpoints: Uint8Array;
  /** undefined: it has no such content of that size. */
  find(digests: Buffer, at: number, size: number): number | undefined;
}

/** `index`: which source it is; `record` is on the file's record until the next call. */
export type VisitSource = (index: number, gathered: Gathered, record: ListingCursor, file: number) => void;

export interface EncodedPlan extends Disposable {
  readonly plan: PackPlan;
  /** How many sources there may be. */
  readonly mostSources: number;
  /** Of the entries with a source, in order, those that are files of a listing. */
  eachSource(visit: VisitSource): void;
}

export interface EncodeOptions {
  /** Seconds; later mtimes are clamped. */
  readonly maxMtime?: number;
  readonly earlier?: EarlierLayer;
  /** Whether digests that are not known yet are wanted. */
  readonly digests: boolean;
}

/** undefined where something in it does not fit (numbers of archives have no bounds): then write-layer.ts must do. */
export function encodePlan(layer: LayerPlan, options: EncodeOptions): EncodedPlan | undefined {
  const encoding = new Encoding(options);
  try {
    for (const item of layer.items()) {
      if (item.kind === 'tree') encoding.tree(item.tree);
      else encoding.entry(item.path, item.planned);
    }
    return encoding;
  } catch (error) {
    encoding[Symbol.dispose]();
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

class Encoding implements EncodedPlan {
  readonly plan = new PackPlan();
  readonly #options: EncodeOptions;
  /** First path of files with several names. */
  readonly #first = new Map<string, ByteString>();
  readonly #opened: number[] = [];
  /** Listings that sources are of. */
  readonly #listings: Gathered[] = [];
  /** Of each source: which listing (-1: none), where its record begins, which file. */
  #sources = new Float64Array(3 * 256);
  #used = 0;
  /** In order: trees that the plan has as a whole, and before each how many sources come from entries. */
  readonly #trees: { readonly before: number; readonly gathered: Gathered }[] = [];

  constructor(options: EncodeOptions) {
    const { earlier } = options;
    this.#options = options;
    if (earlier !== undefined && earlier.checkpoints.byteLength > 0)
      this.plan.earlierTar(earlier.fd, earlier.checkpoints);
  }

  get mostSources(): number {
    return this.#trees.reduce((sum, { gathered }) => sum + gathered.listing.entries, this.plan.sources);
  }

  eachSource(visit: VisitSource): void {
    let [index, entry] = [0, 0];
    const records = createRecords();
    const passEntries = (end: number): void => {
      for (; entry < end; entry += 1, index += 1) {
        const [listing = -1, at = 0, file = 0] = this.#sources.subarray(3 * entry, 3 * entry + 3);
        const gathered = this.#listings[listing];
        if (gathered !== undefined) visit(index, gathered, records.at(gathered, at), file);
      }
    };
    for (const { before, gathered } of this.#trees) {
      passEntries(before);
      const cursor = new ListingCursor(gathered.listing);
      while (cursor.next())
        if (cursor.type === LISTED_FILE && cursor.size > 0) visit(index++, gathered, cursor, cursor.file);
    }
    passEntries(this.plan.sources);
  }

  #note(gathered: Gathered | undefined, at: number, file: number): void {
    if (gathered !== undefined && this.#listings.at(-1) !== gathered) this.#listings.push(gathered);
    if (this.#used === this.#sources.length) {
      const longer = new Float64Array(4 * this.#used);
      longer.set(this.#sources);
      this.#sources = longer;
    }
    this.#sources[this.#used] = gathered === undefined ? -1 : this.#listings.length - 1;
    this.#sources[this.#used + 1] = at;
    this.#sources[this.#used + 2] = file;
    this.#used += 3;
  }

  #mtime(mtime: number): number {
    const { maxMtime } = this.#options;
    return maxMtime === undefined ? mtime : Math.min(mtime, maxMtime);
  }

  entry(path: ByteString, planned: Planned): void {
    const { plan } = this;
    const { type, uid, gid, size = 0, link, major, minor, capability, content, inode } = planned;
    const bytes = Buffer.from(path, 'latin1');
    const original = inode === undefined ? undefined : this.#first.get(inode);
    if (inode !== undefined && original === undefined) this.#first.set(inode, path);
    const mode = type === 'symlink' ? 0o777 : planned.mode;
    const isFile = type === 'file' && original === undefined;
    const written = original === undefined ? type : 'hardlink';
    plan.entry(
      written,
      fit(mode),
      fit(uid),
      fit(gid),
      this.#mtime(planned.mtime),
      isFile ? size : 0,
      bytes,
      bytes.byteLength,
    );
    const target = original ?? link;
    if (target !== undefined) plan.link(target);
    if (capability !== undefined) plan.capability(capability);
    if (written === 'char' || written === 'block') plan.device(fitDevice(major), fitDevice(minor));
    if (isFile && size > 0 && content !== undefined) this.#content(content, bytes.byteLength, size);
  }

  #content(content: Content, pathLength: number, size: number): void {
    const { plan } = this;
    switch (content.kind) {
      case 'file': {
        const record = recordOf(content);
        const root = this.#root(content.tree, content.path, pathLength);
        this.#readFile(root, content.gathered, record, content.file, size);
        return;
      }
      case 'bytes':
        plan.inline(content.bytes);
        break;
      case 'range':
        plan.range(content.fd, content.offset);
        break;
      case 'path': {
        const fd = openSync(content.path, 'r');
        this.#opened.push(fd);
        plan.range(fd, 0);
      }
    }
    this.#note(undefined, 0, 0);
  }

  #root({ descriptor }: Tree, prefix: ByteString, cut: number): number {
    if (descriptor === undefined) throw new RangeError('the tree has no descriptor');
    return this.plan.root(descriptor, prefix, cut);
  }

  /** A file's bytes: in memory, in an earlier layer, or yet to be read. */
  #readFile(root: number, gathered: Gathered, cursor: ListingCursor, file: number, size: number): void {
    const { known, digests, bytes } = gathered.contents;
    const { earlier } = this.#options;
    const isKnown = known[file] === 1;
    const inMemory = bytes.size === 0 ? undefined : bytes.get(file);
    this.#note(gathered, cursor.at, file);
    if (isKnown) this.plan.known(digests, file * DIGEST_SIZE);
    if (inMemory !== undefined) {
      this.plan.inline(inMemory);
      return;
    }
    const offset = isKnown ? earlier?.find(digests, file * DIGEST_SIZE, size) : undefined;
    if (offset === undefined) this.plan.file(root, cursor, !isKnown && this.#options.digests);
    else this.plan.range(earlier?.fd ?? -1, offset);
  }

  tree(tree: PlannedTree): void {
    if (tree.modes === 'computed' || tree.gathered.contents.haveNames !== false) this.#entriesOf(tree);
    else this.#whole(tree, tree.modes);
  }

  /** The program makes of the listing what `#entriesOf` would. */
  #whole({ target, gathered, owner, source }: PlannedTree, modes: number | 'kept'): void {
    const { earlier, maxMtime, digests: wantsDigests } = this.#options;
    const { listing, contents } = gathered;
    const prefix = target === '' ? '' : `${target}/`;
    if (earlier !== undefined && this.#trees.length === 0) this.plan.earlier(earlier.fd, earlier.contents);
    this.#trees.push({ before: this.plan.sources, gathered });
    this.plan.tree({
      ...{ root: this.#root(source, prefixOf(gathered), prefix.length), target: prefix, listing, owner },
      mode: modes === 'kept' ? undefined : modes,
      ...{ maxMtime, known: contents.known, digests: contents.digests, wantsDigests },
      contents: contents.bytes,
    });
  }

  /** What write-layer.ts would write of the tree's entries, one by one. */
  #entriesOf(tree: PlannedTree): void {
    const { plan } = this;
    const { target, gathered, owner, modeOf, source } = tree;
    const cursor = new ListingCursor(gathered.listing);
    const prefix = target === '' ? '' : `${target}/`;
    const start = prefix.length;
    const root = this.#root(source, prefixOf(gathered), start);
    let path = Buffer.from(prefix.padEnd(512), 'latin1');
    while (cursor.next()) {
      const { type, pathLength } = cursor;
      const length = start + pathLength;
      if (length > path.byteLength) path = Buffer.concat([path], 2 * length);
      // Only the names that are new in it; the target's own bytes stay.
      cursor.path.copy(path, start, 0, pathLength);
      const uid = owner === undefined ? cursor.uid : owner.uid;
      const gid = owner === undefined ? cursor.gid : owner.gid;
      const mtime = this.#mtime(cursor.mtime);
      const mode = modeOf(cursor.mode, typeName(type));
      switch (type) {
        case LISTED_FILE:
          this.#treeFile(tree, cursor, root, path, length, mode, uid, gid, mtime);
          break;
        case LISTED_DIRECTORY:
          plan.entry('directory', mode, uid, gid, mtime, 0, path, length);
          break;
        case LISTED_SYMLINK:
          plan.entry('symlink', 0o777, uid, gid, mtime, 0, path, length);
          plan.link(cursor.link);
          break;
        case LISTED_SOCKET:
          plan.entry('file', SOCKET_MODE, uid, gid, mtime, 0, path, length);
          break;
        case LISTED_CHAR:
        case LISTED_BLOCK:
          plan.entry(type === LISTED_CHAR ? 'char' : 'block', mode, uid, gid, mtime, 0, path, length);
          plan.device(cursor.major, cursor.minor);
          break;
        default:
          plan.entry('fifo', mode, uid, gid, mtime, 0, path, length);
      }
    }
  }

  #treeFile(
    { gathered }: PlannedTree,
    cursor: ListingCursor,
    root: number,
    path: Buffer,
    length: number,
    mode: number,
    uid: number,
    gid: number,
    mtime: number,
  ): void {
    const { plan } = this;
    const { capability } = cursor;
    if (cursor.nlink > 1) {
      const inode = inodeOf(gathered, cursor);
      const original = this.#first.get(inode);
      if (original !== undefined) {
        plan.entry('hardlink', mode, uid, gid, mtime, 0, path, length);
        plan.link(original);
        if (capability !== undefined) plan.capability(capability);
        return;
      }
      this.#first.set(inode, path.toString('latin1', 0, length));
    }
    const { size } = cursor;
    plan.entry('file', mode, uid, gid, mtime, size, path, length);
    if (capability !== undefined) plan.capability(capability);
    if (size > 0) this.#readFile(root, gathered, cursor, cursor.file, size);
  }

  [Symbol.dispose](): void {
    for (const fd of this.#opened.splice(0)) closeSync(fd);
  }
}

/** Cursors on single records, one for each listing. */
function createRecords(): { at(gathered: Gathered, at: number): ListingCursor } {
  let last: Gathered | undefined;
  let cursor: ListingCursor | undefined;
  return {
    at(gathered, at) {
      if (gathered !== last || cursor === undefined) cursor = new ListingCursor(gathered.listing);
      last = gathered;
      cursor.at = at;
      return cursor;
    },
  };
}

const MAX_U32 = 2 ** 32 - 1;
/** What a header's field of seven octal digits takes. */
const MAX_DEVICE = 0o7777777;

function fit(value: number): number {
  if (value > MAX_U32) throw new RangeError(`${value} does not fit`);
  return value;
}

function fitDevice(value = 0): number {
  if (value > MAX_DEVICE) throw new RangeError(`${value} does not fit`);
  return value;
}
