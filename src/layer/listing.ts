/**
 * Listings: what lies below a directory, as bytes (native/tree/listing.h), so that fifty thousand entries are one
 * buffer and no objects.
 *
 * Parents come first, siblings in the order of their stored names (a directory's with its `/`): the order of a layer.
 * A listing belongs to whoever made it, who may leave entries out of it; cursors then pass them over.
 */
import type { ByteString } from '../base/byte-string.ts';
import type { FileSystem } from './file-system.ts';
import type { EntryStat, EntryType } from './tree.ts';

export interface Listing {
  /** Whole records, one after the other, each segment of at most SEGMENT bytes and aligned to 8. */
  readonly segments: readonly Buffer[];
  /** How many records there are. */
  readonly entries: number;
  /** By the index in the records. */
  readonly fileSystems: readonly FileSystem[];
}

/** why: one buffer for all would have to grow, and memory that is new is what costs most here. */
export const SEGMENT = 1 << 20;

export const LISTED_HEAD = 72;
/** Ends a root of a native walk; its size is how many entries came before. */
export const LISTED_END = 0;
export const LISTED_FILE = 1;
export const LISTED_DIRECTORY = 2;
export const LISTED_SYMLINK = 3;
export const LISTED_CHAR = 4;
export const LISTED_BLOCK = 5;
export const LISTED_FIFO = 6;
export const LISTED_SOCKET = 7;

const TYPES: readonly (EntryType | undefined)[] = [
  undefined,
  'file',
  'directory',
  'symlink',
  'char',
  'block',
  'fifo',
  'socket',
];
/** Flag in the record's last word. */
const LEFT_OUT = 1;
const TWO_32 = 2 ** 32;

/** Moves over the entries of a listing in order. Its fields are those of the current entry. */
export class ListingCursor {
  /** The segment that holds the record. */
  bytes: Buffer;
  words: Uint32Array;
  /** Path from the listing's root: the first `pathLength` bytes, which the next entry replaces. */
  path: Buffer;
  pathLength = 0;
  /** How many entries that are files came before. */
  file = -1;
  /** Where the record begins in its segment. */
  #at = 0;
  #segment = -1;
  #next = 0;
  #skip = -1;
  /** Length of the path of the directory that entries of a depth lie in, with its slash. */
  readonly #starts: number[] = [0];
  readonly #listing: Listing;

  constructor(listing: Listing) {
    this.#listing = listing;
    this.path = Buffer.allocUnsafe(512);
    this.bytes = Buffer.alloc(0);
    this.words = new Uint32Array(0);
  }

  #open(segment: number): boolean {
    const bytes = this.#listing.segments[segment];
    if (bytes === undefined) return false;
    this.#segment = segment;
    this.bytes = bytes;
    this.words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2);
    return true;
  }

  /** Where the record begins in the listing; setting it leaves the path as it is. */
  get at(): number {
    return this.#segment * SEGMENT + this.#at;
  }

  set at(at: number) {
    const segment = Math.floor(at / SEGMENT);
    if (segment !== this.#segment) this.#open(segment);
    this.#at = at % SEGMENT;
  }

  /** false at the end. */
  next(): boolean {
    for (;;) {
      if (this.#next >= this.bytes.byteLength) {
        if (!this.#open(this.#segment + 1)) return false;
        this.#next = 0;
        continue;
      }
      const at = this.#next;
      const { words } = this;
      const word = at >> 2;
      const lengths = words[word] ?? 0;
      const second = words[word + 1] ?? 0;
      const nameLength = lengths & 0xffff;
      const size = LISTED_HEAD + nameLength + (lengths >>> 16) + (second >>> 24);
      this.#next = at + ((size + 7) & ~7);
      const depth = second & 0xffff;
      if (this.#skip >= 0 && depth > this.#skip) continue;
      this.#skip = -1;
      if (((words[word + 17] ?? 0) & LEFT_OUT) !== 0) continue;
      this.#enter(at, depth, nameLength);
      return true;
    }
  }

  #enter(at: number, depth: number, nameLength: number): void {
    this.#at = at;
    const start = this.#starts[depth] ?? 0;
    this.pathLength = start + nameLength;
    if (this.pathLength >= this.path.byteLength)
      this.path = Buffer.concat([this.path], 2 * (this.pathLength + 1));
    const { path, bytes } = this;
    const from = at + LISTED_HEAD;
    for (let index = 0; index < nameLength; index += 1) path[start + index] = bytes[from + index] ?? 0;
    const type = this.type;
    if (type === LISTED_DIRECTORY) {
      path[this.pathLength] = 0x2f;
      this.#starts[depth + 1] = this.pathLength + 1;
    } else if (type === LISTED_FILE) this.file += 1;
  }

  /** Passes over what lies below the current directory. */
  skipBelow(): void {
    this.#skip = this.depth;
  }

  /** Leaves the current entry out of the listing, for all cursors to come. */
  leaveOut(): void {
    const word = (this.#at >> 2) + 17;
    this.words[word] = (this.words[word] ?? 0) | LEFT_OUT;
  }

  /** Undoes that for the entry whose record begins at `at`. */
  takeBack(at: number): void {
    const segment = this.#listing.segments[Math.floor(at / SEGMENT)];
    const place = (at % SEGMENT) + LISTED_HEAD - 4;
    segment?.writeUInt32LE(segment.readUInt32LE(place) & ~LEFT_OUT, place);
  }

  /** A number of 32 bits in the record. */
  word(index: number): number {
    return this.words[(this.#at >> 2) + index] ?? 0;
  }

  get depth(): number {
    return this.word(1) & 0xffff;
  }

  get type(): number {
    return (this.word(1) >>> 16) & 0xff;
  }

  get mode(): number {
    return this.word(2);
  }

  get uid(): number {
    return this.word(3);
  }

  get gid(): number {
    return this.word(4);
  }

  get nlink(): number {
    return this.word(5);
  }

  get size(): number {
    return this.word(6) + this.word(7) * TWO_32;
  }

  /** Of a device. */
  get major(): number {
    return this.word(7);
  }

  get minor(): number {
    return this.word(6);
  }

  /** Seconds, towards the past. */
  get mtime(): number {
    return this.word(8) + (this.word(9) | 0) * TWO_32;
  }

  get ctime(): number {
    return this.word(10) + (this.word(11) | 0) * TWO_32;
  }

  get mtimeNs(): number {
    return this.word(12);
  }

  get ctimeNs(): number {
    return this.word(13);
  }

  get fileSystem(): FileSystem | undefined {
    return this.#listing.fileSystems[this.word(16)];
  }

  /** Which of the hard links it is: the same for names of one file. */
  get inode(): string {
    const { major = 0, minor = 0 } = this.fileSystem ?? {};
    return `${major}:${minor}:${this.word(15)}:${this.word(14)}`;
  }

  /** As stat(2) has it, `st_ino`. */
  get inodeNumber(): bigint {
    return (BigInt(this.word(15)) << 32n) | BigInt(this.word(14));
  }

  get name(): ByteString {
    const from = this.#at + LISTED_HEAD;
    return this.bytes.toString('latin1', from, from + (this.word(0) & 0xffff));
  }

  pathText(): ByteString {
    return this.path.toString('latin1', 0, this.pathLength);
  }

  /** Where the target of a symlink lies in `bytes`. */
  get linkStart(): number {
    return this.#at + LISTED_HEAD + (this.word(0) & 0xffff);
  }

  get linkLength(): number {
    return this.word(0) >>> 16;
  }

  get capabilityStart(): number {
    return this.linkStart + this.linkLength;
  }

  /** 0: it has none. */
  get capabilityLength(): number {
    return this.word(1) >>> 24;
  }

  get link(): ByteString {
    return this.bytes.toString('latin1', this.linkStart, this.linkStart + this.linkLength);
  }

  get capability(): Uint8Array | undefined {
    const length = this.capabilityLength;
    return length === 0
      ? undefined
      : this.bytes.subarray(this.capabilityStart, this.capabilityStart + length);
  }
}

/** Takes records in order, whole ones; `listing` is all of them. */
export interface ListingBuilder {
  /** At most SEGMENT bytes. */
  add(records: Uint8Array): void;
  listing(entries: number, fileSystems: readonly FileSystem[]): Listing;
}

export function createListing(): ListingBuilder {
  const segments: Buffer[] = [];
  let segment = Buffer.alloc(0);
  let used = 0;
  const end = (): void => {
    if (used > 0) segments.push(segment.subarray(0, used));
  };
  return {
    add(records) {
      if (used + records.byteLength > segment.byteLength) {
        end();
        const size = segments.length === 0 ? Math.max(SEGMENT >> 4, records.byteLength) : SEGMENT;
        segment = Buffer.allocUnsafeSlow(size);
        used = 0;
      }
      segment.set(records, used);
      used += records.byteLength;
    },
    listing(entries, fileSystems) {
      end();
      used = 0;
      return { segments, entries, fileSystems };
    },
  };
}

export function typeName(type: number): EntryType {
  const name = TYPES[type];
  if (name === undefined) throw new RangeError(`there is no type ${type}`);
  return name;
}

export interface ListedEntry {
  readonly depth: number;
  readonly name: ByteString;
  readonly stat: EntryStat;
  readonly link: ByteString;
  readonly capability: Uint8Array | undefined;
  readonly fileSystem: number;
}

/** One record, as the native walk writes them. */
export function encodeListed({ depth, name, stat, link, capability, fileSystem }: ListedEntry): Buffer {
  const capabilityLength = capability?.byteLength ?? 0;
  const size = LISTED_HEAD + name.length + link.length + capabilityLength;
  const record = Buffer.alloc((size + 7) & ~7);
  record.writeUInt16LE(name.length, 0);
  record.writeUInt16LE(link.length, 2);
  record.writeUInt16LE(depth, 4);
  record[6] = TYPES.indexOf(stat.type);
  record[7] = capabilityLength;
  record.writeUInt32LE(stat.mode, 8);
  record.writeUInt32LE(stat.uid, 12);
  record.writeUInt32LE(stat.gid, 16);
  record.writeUInt32LE(stat.nlink, 20);
  const isDevice = stat.type === 'char' || stat.type === 'block';
  record.writeUInt32LE(isDevice ? stat.minor : stat.size % TWO_32, 24);
  record.writeUInt32LE(isDevice ? stat.major : Math.floor(stat.size / TWO_32), 28);
  putTime(record, stat.mtimeNs, 32, 48);
  putTime(record, stat.ctimeNs, 40, 52);
  record.writeBigUInt64LE(BigInt(stat.ino), 56);
  record.writeUInt32LE(fileSystem, 64);
  record.write(name, LISTED_HEAD, 'latin1');
  record.write(link, LISTED_HEAD + name.length, 'latin1');
  if (capability !== undefined) record.set(capability, LISTED_HEAD + name.length + link.length);
  return record;
}

function putTime(record: Buffer, timeNs: bigint, secondsAt: number, nanosecondsAt: number): void {
  const nanoseconds = BigInt.asUintN(64, ((timeNs % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n);
  record.writeBigInt64LE((timeNs - nanoseconds) / 1_000_000_000n, secondsAt);
  record.writeUInt32LE(Number(nanoseconds), nanosecondsAt);
}
