/**
 * The content of what is copied, as one digest: part of a COPY's cache key (design D6).
 *
 * In it: relative paths, types, modes (unless --chmod replaces them), link targets, content, and for stages
 * owners (unless --chown replaces them) and file capabilities. Not in it: times, inodes, owners of context files.
 * Modes of directories count, sub-directories included.
 *
 * What is digested is a listing (src/solver/listing.ts), so that `tsbuild why` can say which entry changed.
 */
import { createHash } from 'node:crypto';
import type { Digest } from '../../../base/digest.ts';
import type { CopyOp } from '../../../graph/ops.ts';
import {
  LISTED_BLOCK,
  LISTED_CHAR,
  LISTED_FILE,
  LISTED_SYMLINK,
  ListingCursor,
  typeName,
} from '../../../layer/listing.ts';
import { entriesText, hasMany, type ListingFields } from '../../../layer/listing-calls.ts';
import type { Tree } from '../../../layer/tree.ts';
import { entryPiece, selectedPiece, wayPiece, type Listing } from '../../listing.ts';
import { DIGEST_SIZE, type Gathered } from './gathered.ts';
import type { Selected } from './selected.ts';

export interface DigestOptions {
  /** Files of a stage keep their owners and capabilities; files of the context have none. */
  readonly isContext: boolean;
}

/** The digests of all files must be known, and stay as they are for as long as the listing's text may be read. */
export function digestSelection(
  tree: Tree,
  selection: readonly Gathered[],
  op: Partial<Pick<CopyOp, 'chmod' | 'owner' | 'parents'>>,
  { isContext }: DigestOptions,
): Listing {
  const keepsMode = op.chmod === undefined || !/^[0-7]+$/.test(op.chmod);
  const keepsOwner = !isContext && op.owner === undefined;
  const heads = selection.map(({ selected }) => [
    selectedPiece(selected, selected.stat.type),
    ...(op.parents === true && keepsMode ? piecesOnTheWay(tree, selected) : []),
  ]);
  function* partsOf(isShort: boolean): Generator<Buffer, void, undefined> {
    const text = new TextWriter();
    for (const [index, gathered] of selection.entries()) {
      for (const piece of heads[index] ?? []) text.put(piece);
      const isBelow = gathered.selected.stat.type === 'directory';
      const fields = { keepsMode, keepsOwner, isBelow, isShort };
      if (hasMany(gathered.listing)) {
        yield* text.taken();
        yield* entriesText(gathered.listing, fields, gathered.contents.digests);
      } else putEach(text, gathered, fields);
    }
    yield* text.taken();
  }
  const hash = createHash('sha256');
  for (const part of partsOf(false)) hash.update(part);
  return {
    digest: `sha256:${hash.digest('hex')}` as Digest,
    // Only somebody who wants to know what changed reads them.
    get text() {
      return Array.from(partsOf(false), (part) => part.toString('latin1')).join('');
    },
    short: () => partsOf(true),
  };
}

function putEach(text: TextWriter, { listing, contents }: Gathered, listed: ListingFields): void {
  const { keepsMode, keepsOwner, isBelow, isShort } = listed;
  const cursor = new ListingCursor(listing);
  /** Fields between path and content; mostly they are as before. */
  let fields = Buffer.alloc(0);
  let [lastType, lastMode, lastUid, lastGid] = [-1, -1, -1, -1];
  while (cursor.next()) {
    const { type, mode, uid, gid } = cursor;
    if (type !== lastType || mode !== lastMode || uid !== lastUid || gid !== lastGid) {
      [lastType, lastMode, lastUid, lastGid] = [type, mode, uid, gid];
      const modeField = keepsMode && type !== LISTED_SYMLINK ? mode.toString(8) : '';
      const piece = entryPiece('', typeName(type), modeField, keepsOwner ? `${uid}:${gid}` : '', '');
      // Without its first field, `.` for the thing itself, and the NUL after its last, which is empty.
      fields = Buffer.from(piece.slice(1, -1), 'latin1');
    }
    if (isBelow) text.bytes(cursor.path, 0, cursor.pathLength);
    else text.put('.');
    text.bytes(fields, 0, fields.byteLength);
    putContent(text, cursor, contents.digests, isShort);
    text.end();
  }
}

function putContent(text: TextWriter, cursor: ListingCursor, digests: Buffer, isShort: boolean): void {
  switch (cursor.type) {
    case LISTED_SYMLINK:
      text.bytes(cursor.bytes, cursor.linkStart, cursor.linkStart + cursor.linkLength);
      return;
    case LISTED_CHAR:
    case LISTED_BLOCK:
      text.put(`${cursor.major}:${cursor.minor}`);
      return;
    case LISTED_FILE: {
      if (!isShort) text.bytes(SHA256, 0, SHA256.byteLength);
      text.hex(digests, cursor.file * DIGEST_SIZE, isShort ? SHORT_DIGEST : DIGEST_SIZE);
      const { capability } = cursor;
      if (capability !== undefined) text.put(` ${Buffer.from(capability).toString('hex')}`);
    }
  }
}

/** --parents brings the directories on the way, and the selected one itself, with their modes. */
function piecesOnTheWay(tree: Tree, { asked, pivot, stat }: Selected): readonly string[] {
  const pieces: string[] = [];
  const cut = pivot === '' ? 0 : pivot.length + 1;
  for (let slash = asked.indexOf('/', cut); slash >= 0; slash = asked.indexOf('/', slash + 1)) {
    const path = asked.slice(0, slash);
    pieces.push(wayPiece(path, tree.stat(path)?.mode.toString(8) ?? ''));
  }
  return stat.type === 'directory' ? [...pieces, wayPiece(asked, stat.mode.toString(8))] : pieces;
}

/** Bytes of a digest that tell files apart where they are listed for people. */
const SHORT_DIGEST = 8;

const SHA256 = Buffer.from('sha256:');
const HEX = Buffer.from('0123456789abcdef');

const BUFFER = 1 << 16;

/** The text of a listing, by way of one buffer: a string for each of fifty thousand entries takes ten times as long. */
class TextWriter {
  #bytes = Buffer.allocUnsafe(BUFFER);
  #used = 0;
  #full: Buffer[] = [];

  /** What was put. */
  taken(): readonly Buffer[] {
    this.#flush();
    const taken = this.#full;
    this.#full = [];
    return taken;
  }

  /** Where so many bytes have room; at most BUFFER. */
  #room(size: number): number {
    if (this.#used + size > this.#bytes.byteLength) {
      this.#flush();
      if (this.#bytes.byteLength < size) this.#bytes = Buffer.allocUnsafe(BUFFER);
    }
    const at = this.#used;
    this.#used = at + size;
    return at;
  }

  /** A byte string. */
  put(text: string): void {
    if (text.length > BUFFER) {
      this.#flush();
      this.#full.push(Buffer.from(text, 'latin1'));
      return;
    }
    const at = this.#room(text.length);
    for (let index = 0; index < text.length; index += 1) this.#bytes[at + index] = text.charCodeAt(index);
  }

  /** Fewer than BUFFER. */
  bytes(source: Uint8Array, from: number, to: number): void {
    const at = this.#room(to - from);
    const bytes = this.#bytes;
    for (let index = from; index < to; index += 1) bytes[at + index - from] = source[index] ?? 0;
  }

  hex(source: Uint8Array, from: number, size: number): void {
    const at = this.#room(2 * size);
    const bytes = this.#bytes;
    for (let index = 0; index < size; index += 1) {
      const byte = source[from + index] ?? 0;
      bytes[at + 2 * index] = HEX[byte >> 4] ?? 0;
      bytes[at + 2 * index + 1] = HEX[byte & 15] ?? 0;
    }
  }

  /** The NUL behind a field. */
  end(): void {
    const at = this.#room(1);
    this.#bytes[at] = 0;
  }

  #flush(): void {
    if (this.#used === 0) return;
    this.#full.push(this.#bytes.subarray(0, this.#used));
    this.#bytes = this.#bytes.subarray(this.#used);
    this.#used = 0;
  }
}
