/** The pieces of a listing's text, one after the other; no more of it is held than the part in which the piece lies. */
import type { ByteString } from '../../base/byte-string.ts';
import { LISTING_FIELDS, type ListedEntry, type ListingText } from '../listing.ts';

const SLASH = 0x2f;
/** `directory` is the only type that begins with it. */
const OF_DIRECTORY = 0x64;
/** From here on a call of native code is faster than a loop. */
const LONG = 128;

/** Stands before a piece, `find` says whether there is one. */
export class PieceReader {
  bytes: Buffer = Buffer.alloc(0);
  /** Where the piece begins, and, once it was found, where it ends. */
  at = 0;
  end = 0;
  /** Which selection the pieces are of. */
  argument = -1;
  asked: ByteString = '';
  /** Entries so far that are no directories. */
  files = 0;
  /** Where the NULs of the piece stand. */
  readonly #nuls = new Int32Array(LISTING_FIELDS);
  readonly #parts: Iterator<Buffer>;
  #limit = 0;
  #window = Buffer.alloc(0);
  #base: ByteString = '';
  /** Mostly the entries have the same type, mode and owner. */
  #attributes = '';
  #shared: Omit<ListedEntry, 'content'> = { type: '', mode: '', owner: '' };

  constructor(text: ListingText) {
    this.#parts = text()[Symbol.iterator]();
  }

  /** false at the end, also where that is the middle of a piece: what was kept is damaged. */
  find(): boolean {
    if (this.end > this.at) return true;
    for (;;) {
      if (this.#scan()) return true;
      if (!this.#more()) return false;
    }
  }

  #scan(): boolean {
    const { bytes } = this;
    const limit = this.#limit;
    let at = this.at;
    for (let field = 0; field < LISTING_FIELDS; field += 1) {
      const near = Math.min(limit, at + LONG);
      while (at < near && bytes[at] !== 0) at += 1;
      if (at === near && at < limit) {
        const found = bytes.indexOf(0, at);
        at = found < 0 ? limit : found;
      }
      if (at >= limit) return false;
      this.#nuls[field] = at;
      at += 1;
    }
    this.end = at;
    return true;
  }

  /** The next part, behind what is left of this one. */
  #more(): boolean {
    const left = this.#limit - this.at;
    if (left > 0) this.#save(left);
    const next = this.#parts.next();
    if (next.done === true) return false;
    const value: Buffer = next.value;
    if (left === 0) {
      this.bytes = value;
      this.at = this.end = 0;
      this.#limit = value.byteLength;
      return true;
    }
    if (left + value.byteLength > this.#window.byteLength) {
      this.#window = Buffer.concat([this.#window.subarray(0, left)], 2 * (left + value.byteLength));
      this.bytes = this.#window;
    }
    this.#window.set(value, left);
    this.#limit = left + value.byteLength;
    return true;
  }

  /** The part will be gone once the next is asked for. */
  #save(left: number): void {
    if (left > this.#window.byteLength) {
      const room = Buffer.allocUnsafeSlow(2 * left);
      this.bytes.copy(room, 0, this.at, this.#limit);
      this.#window = room;
    } else this.bytes.copy(this.#window, 0, this.at, this.#limit);
    this.bytes = this.#window;
    this.at = this.end = 0;
    this.#limit = left;
  }

  /** Whether the next piece is the one that `other` has found, which then is found here, too. */
  findSame(other: PieceReader): boolean {
    const size = other.end - other.at;
    while (this.#limit - this.at < size) if (!this.#more()) return false;
    if (!this.#startsAs(other, size)) return false;
    const shift = this.at - other.at;
    for (let field = 0; field < LISTING_FIELDS; field += 1)
      this.#nuls[field] = (other.#nuls[field] ?? 0) + shift;
    this.end = this.at + size;
    return true;
  }

  #startsAs(other: PieceReader, size: number): boolean {
    const { bytes, at } = this;
    const [theirs, theirAt] = [other.bytes, other.at];
    if (size > LONG) return bytes.compare(theirs, theirAt, theirAt + size, at, at + size) === 0;
    for (let index = 0; index < size; index += 1)
      if (bytes[at + index] !== theirs[theirAt + index]) return false;
    return true;
  }

  /** On to the next piece. */
  pass(): void {
    if (this.isHead) {
      [this.argument, this.asked] = [this.headArgument, this.headAsked];
      this.#base = this.asked.replace(/\/+$/, '');
    } else if (!this.isDirectory) this.files += 1;
    this.at = this.end;
  }

  /** It names a selection. */
  get isHead(): boolean {
    return this.bytes[this.at] === 0;
  }

  get isWay(): boolean {
    return this.bytes[this.at] === SLASH && this.bytes[this.at + 1] === 0;
  }

  get isDirectory(): boolean {
    return this.isWay || this.bytes[this.#start(1)] === OF_DIRECTORY;
  }

  get headArgument(): number {
    return Number(this.#text(1));
  }

  get headAsked(): ByteString {
    return this.#text(3);
  }

  /** Where the field begins. */
  #start(field: number): number {
    return field === 0 ? this.at : (this.#nuls[field - 1] ?? 0) + 1;
  }

  #text(field: number): ByteString {
    return this.bytes.toString('latin1', this.#start(field), this.#nuls[field]);
  }

  /** As a user would write it, from the root of what it was selected in. */
  path(): ByteString {
    if (this.isWay) return this.#text(1);
    const name = this.#text(0);
    const base = this.#base;
    const below = name === '.' ? '' : name;
    return base === '' || below === '' ? `${base}${below}` : `${base}/${below}`;
  }

  entry(): ListedEntry {
    if (this.isWay) return { type: 'directory', mode: this.#text(3), owner: '', content: '' };
    const attributes = this.bytes.toString('latin1', this.#start(1), this.#nuls[3]);
    if (attributes !== this.#attributes) {
      const [type = '', mode = '', owner = ''] = attributes.split('\0');
      [this.#attributes, this.#shared] = [attributes, { type, mode, owner }];
    }
    const { type, mode, owner } = this.#shared;
    return { type, mode, owner, content: this.#text(4) };
  }

  /** Below 0 where it comes before the piece of `other` in what was selected alike: the order of src/layer/listing.ts. */
  orderTo(other: PieceReader): number {
    if (this.isWay !== other.isWay) return this.isWay ? -1 : 1;
    const field = this.isWay ? 1 : 0;
    const [begin, theirBegin] = [this.#start(field), other.#start(field)];
    const [size, theirSize] = [(this.#nuls[field] ?? 0) - begin, (other.#nuls[field] ?? 0) - theirBegin];
    const common = Math.min(size, theirSize);
    const [theirEnd, end] = [theirBegin + common, begin + common];
    const order = this.bytes.compare(other.bytes, theirBegin, theirEnd, begin, end);
    if (order !== 0) return order;
    // A directory has its slash.
    const next = size > common ? this.bytes[end] : this.isDirectory ? SLASH : 0;
    const theirNext = theirSize > common ? other.bytes[theirEnd] : other.isDirectory ? SLASH : 0;
    return next === theirNext ? size - theirSize : (next ?? 0) - (theirNext ?? 0);
  }
}
