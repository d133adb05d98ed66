/**
 * Digests of files by what stat(2) says of them, so that an unchanged context costs a walk and no reading.
 *
 * Known by file system, inode, size, mtime and ctime. A file that changed so recently that a later change could leave
 * the same times is not remembered (git calls such index entries racy), nor is one on a file system that makes its
 * times or inodes up. The cache is only ever a short cut: losing it costs time, nothing else.
 *
 * One file per build context, shared by all processes: it is replaced by rename, and whoever replaces it takes over
 * what others have learnt since. A head, entries of 80 bytes, and the SHA-256 of all that: what a crash has torn is
 * not believed.
 */
import { createHash } from 'node:crypto';
import { readFileSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileAtomic } from '../../../base/atomic-file.ts';
import { copyDigest, digestOf, hexOf } from '../../../base/digest.ts';
import type { Host } from '../../../base/host.ts';
import { keepNewest } from '../../../base/keep-newest.ts';
import { trustOf, type FileSystem, type Trust } from '../../../layer/file-system.ts';
import type { Listing, ListingCursor } from '../../../layer/listing.ts';
import { lookUpStats, type FileDigests, type Unknown } from '../../../layer/listing-calls.ts';

const MAGIC = 'tsbuild stat cache 2\n';
const HEAD = 64;
const TAIL = 32;
/** Of an entry, in words of 32 bits: file system 2, inode 2, size 2, mtime 2, ctime 2, both nanoseconds, digest 8. */
const WORDS = 20;
const KEY_WORDS = 12;
const ENTRY = 4 * WORDS;
const MAX_ENTRIES = 500_000;
/** All caches together. */
const MAX_BYTES = 256 << 20;
const DAY_MS = 86_400_000;

/** Coarser than the kernel's own clock for inode times (a tick, at most 10 ms). */
const TICK_MS = 100;
/** Where times are whole seconds, as in ext3, or ext4 with small inodes. */
const SECONDS_MS = 2_500;
/** How much a file server's clock may be behind ours. */
const SERVER_MS = 60_000;

export interface StatCache {
  /** Reads it, if that is still to be done: for when there is time. */
  load(): void;
  /** Copies the digest of the cursor's file to `into` at `at`; false where it is not known. */
  find(file: ListingCursor, into: Uint8Array, at: number): boolean;
  /** The same for all files of a listing that are not known yet; tells what is still unknown. */
  findAll(listing: Listing, files: FileDigests): Unknown;
  /** So many will be put: saves growing by and by. */
  expect(files: number): void;
  /** 32 bytes at `from`; what the file was read as after its listing was made. */
  put(file: ListingCursor, digest: Uint8Array, from: number): void;
  /** Writes what was learnt, where anything was. */
  save(): void;
}

/** The cache of one directory; `root` is the directory of all caches. */
export function openStatCache(root: string, directory: string, host: Host): StatCache {
  const path = join(root, hexOf(digestOf(directory)).slice(0, 32));
  const opened = host.now();
  let table: Table | undefined;
  let loaded = '';
  let learnt = false;
  const places = new Map<FileSystem, Place>();
  const key = new Uint32Array(KEY_WORDS);

  function load(): Table {
    if (table !== undefined) return table;
    loaded = versionOf(path);
    table = new Table(readEntries(path));
    touchDaily(path, opened);
    return table;
  }

  function placeIn(fileSystem: FileSystem): Place {
    let known = places.get(fileSystem);
    if (known === undefined) places.set(fileSystem, (known = placeOf(fileSystem)));
    return known;
  }

  /** Fills `key`; undefined where nothing of that file system is remembered. */
  function place(file: ListingCursor): Place | undefined {
    const { fileSystem } = file;
    if (fileSystem === undefined) return undefined;
    const known = placeIn(fileSystem);
    key[0] = known.tag[0] ?? 0;
    key[1] = known.tag[1] ?? 0;
    key[2] = file.word(14);
    key[3] = file.word(15);
    for (let index = 0; index < 8; index += 1) key[4 + index] = file.word(6 + index);
    return known.trust === 'none' ? undefined : known;
  }

  return {
    load: () => void load(),
    find: (file, into, at) => place(file) !== undefined && load().find(key, into, at),
    findAll(listing, files) {
      const all = listing.fileSystems.map(placeIn);
      const words = all.flatMap(({ tag, trust }) => [...tag, trust === 'none' ? 0 : 1]);
      return load().findAll(listing, Uint32Array.from(words), files);
    },
    expect: (files) => load().expect(files),
    put(file, digest, from) {
      const known = place(file);
      if (known === undefined || isRacy(file, known.trust, opened)) return;
      load().put(key, digest, from);
      learnt = true;
    },
    save() {
      if (!learnt) return;
      const all = load();
      if (versionOf(path) !== loaded) all.merge(readEntries(path));
      writeFileAtomic(host, path, encode(all.entries(MAX_ENTRIES)));
      loaded = versionOf(path);
      learnt = false;
      keepNewest(root, MAX_BYTES, path);
    },
  };
}

interface Place {
  readonly trust: Trust;
  readonly tag: Uint32Array;
}

let boot: string | undefined;

function placeOf(fileSystem: FileSystem): Place {
  const trust = trustOf(fileSystem);
  const { type, major, minor, id, mount, mountIsUnique } = fileSystem;
  const name = [type, major, minor];
  // why: others get the device number when this one is unmounted; ids of mounts count from the machine's start.
  const more = trust === 'disk' ? [] : [id, mount, mountIsUnique, (boot ??= bootId())];
  const hash = createHash('sha256')
    .update([...name, ...more].join(' '))
    .digest();
  return { trust, tag: new Uint32Array([hash.readUInt32LE(0), hash.readUInt32LE(4)]) };
}

function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8');
}

/** Whether a change after it was read could leave the file with the times that it has. `now`: before it was read. */
function isRacy(file: ListingCursor, trust: Trust, now: number): boolean {
  const changed = 1000 * file.ctime + file.ctimeNs / 1e6;
  const isWhole = file.ctimeNs === 0;
  const window = trust === 'remote' ? SERVER_MS : isWhole ? SECONDS_MS : TICK_MS;
  // A server's ctime may be no more than a copy of mtime.
  const newest = trust === 'remote' ? Math.max(changed, 1000 * file.mtime + file.mtimeNs / 1e6) : changed;
  return newest + window > now;
}

/** Entries in the order that they came, and an index by inode. */
class Table {
  #entries: Uint32Array;
  /** The same memory. */
  #bytes: Uint8Array;
  #count: number;
  #used: Uint8Array;
  #index = new Int32Array(0);
  /** Behind the entry that was found last. */
  #next = 0;

  constructor(entries: Uint32Array) {
    this.#entries = entries;
    this.#bytes = bytesOf(entries);
    this.#count = entries.length / WORDS;
    this.#used = new Uint8Array(this.#count);
  }

  /** Makes room for so many more. */
  expect(more: number): void {
    if ((this.#count + more) * WORDS > this.#entries.length) this.#grow(this.#count + more);
    if (2 * (this.#count + more) + 2 > this.#index.length) this.#reindex(more);
  }

  #reindex(more = 0): void {
    let size = 1024;
    while (size < 2 * (this.#count + more) + 2) size *= 2;
    this.#index = new Int32Array(size).fill(-1);
    for (let entry = 0; entry < this.#count; entry += 1) {
      const slot = this.#slot(this.#entries, entry * WORDS);
      this.#index[slot] = entry;
    }
  }

  /** Where in the index the entry with this file system and inode stands, or could. */
  #slot(key: Uint32Array, at: number): number {
    // Not made before it is needed.
    if (this.#index.length === 0) this.#reindex();
    const mask = this.#index.length - 1;
    let slot =
      (Math.imul(key[at + 2] ?? 0, 0x9e3779b1) ^ Math.imul(key[at + 3] ?? 0, 0x85ebca6b) ^ (key[at] ?? 0)) >>>
      7;
    for (slot &= mask; ; slot = (slot + 1) & mask) {
      const entry = this.#index[slot] ?? -1;
      if (entry < 0 || sameWords(this.#entries, entry * WORDS, key, at, 4)) return slot;
    }
  }

  find(key: Uint32Array, into: Uint8Array, at: number): boolean {
    let entry = this.#next;
    // why: files are mostly asked for in the order in which they were learnt.
    if (entry >= this.#count || !sameWords(this.#entries, entry * WORDS, key, 0, KEY_WORDS)) {
      // why first: looking for the slot may make the index.
      const slot = this.#slot(key, 0);
      entry = this.#index[slot] ?? -1;
      if (entry < 0 || !sameWords(this.#entries, entry * WORDS, key, 0, KEY_WORDS)) return false;
    }
    this.#next = entry + 1;
    this.#used[entry] = 1;
    copyDigest(this.#bytes, entry * ENTRY + 4 * KEY_WORDS, into, at);
    return true;
  }

  findAll(listing: Listing, places: Uint32Array, files: FileDigests): Unknown {
    const entries = { places, entries: this.#entries, count: this.#count, used: this.#used };
    return lookUpStats(listing, entries, files);
  }

  put(key: Uint32Array, digest: Uint8Array, from: number): void {
    const entry = this.#entryFor(key, 0);
    const at = entry * WORDS;
    this.#used[entry] = 1;
    for (let index = 0; index < KEY_WORDS; index += 1) this.#entries[at + index] = key[index] ?? 0;
    copyDigest(digest, from, this.#bytes, entry * ENTRY + 4 * KEY_WORDS);
  }

  #entryFor(key: Uint32Array, at: number): number {
    const slot = this.#slot(key, at);
    const known = this.#index[slot] ?? -1;
    if (known >= 0) return known;
    const entry = this.#count;
    if ((entry + 1) * WORDS > this.#entries.length) this.#grow(4 * entry);
    this.#count += 1;
    this.#index[slot] = entry;
    for (let index = 0; index < 4; index += 1) this.#entries[entry * WORDS + index] = key[at + index] ?? 0;
    if (2 * this.#count + 2 > this.#index.length) this.#reindex();
    return entry;
  }

  /** why so much more: what is not written to takes no memory, and what is copied twice takes its time. */
  #grow(most: number): void {
    const room = Math.max(4096, most);
    const entries = new Uint32Array(room * WORDS);
    entries.set(this.#entries.subarray(0, this.#count * WORDS));
    this.#entries = entries;
    this.#bytes = bytesOf(entries);
    const used = new Uint8Array(room);
    used.set(this.#used.subarray(0, this.#count));
    this.#used = used;
  }

  /** Takes over what is not here. */
  merge(others: Uint32Array): void {
    for (let at = 0; at < others.length; at += WORDS) {
      const before = this.#count;
      const entry = this.#entryFor(others, at);
      if (entry >= before) this.#entries.set(others.subarray(at, at + WORDS), entry * WORDS);
    }
  }

  /** All, or those that were used where there are more than `most`: other Dockerfiles use other files. */
  entries(most: number): Uint32Array {
    if (this.#count <= most) return this.#entries.subarray(0, this.#count * WORDS);
    const kept = new Uint32Array(Math.min(most, this.#count) * WORDS);
    let at = 0;
    for (let entry = 0; entry < this.#count && at < kept.length; entry += 1) {
      if (this.#used[entry] !== 1) continue;
      kept.set(this.#entries.subarray(entry * WORDS, (entry + 1) * WORDS), at);
      at += WORDS;
    }
    return kept.subarray(0, at);
  }
}

function bytesOf(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}

function sameWords(a: Uint32Array, at: number, b: Uint32Array, other: number, count: number): boolean {
  for (let index = 0; index < count; index += 1) if (a[at + index] !== b[other + index]) return false;
  return true;
}

function encode(entries: Uint32Array): Buffer {
  const bytes = Buffer.alloc(HEAD + entries.byteLength + TAIL);
  bytes.write(MAGIC, 0);
  bytes.set(bytesOf(entries), HEAD);
  const end = HEAD + entries.byteLength;
  createHash('sha256').update(bytes.subarray(0, end)).digest().copy(bytes, end);
  return bytes;
}

function readEntries(path: string): Uint32Array {
  const none = new Uint32Array(0);
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch {
    return none;
  }
  const end = bytes.byteLength - TAIL;
  const size = end - HEAD;
  if (size <= 0 || size % ENTRY !== 0 || size / ENTRY > MAX_ENTRIES) return none;
  if (bytes.toString('latin1', 0, MAGIC.length) !== MAGIC) return none;
  const digest = createHash('sha256').update(bytes.subarray(0, end)).digest();
  if (digest.compare(bytes, end) !== 0) return none;
  // A large file has a buffer of its own; a small one may lie anywhere in a shared one.
  const whole = bytes.byteOffset % 4 === 0 ? bytes : Buffer.from(Uint8Array.from(bytes).buffer);
  return new Uint32Array(whole.buffer, whole.byteOffset + HEAD, size / 4);
}

/** Changes whenever the file does. */
function versionOf(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? '' : `${stat.ino} ${stat.size} ${stat.mtimeMs}`;
}

/** What is used is not the oldest. */
function touchDaily(path: string, now: number): void {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined || stat.mtimeMs + DAY_MS > now) return;
  try {
    utimesSync(path, now / 1000, now / 1000);
  } catch {
    // Somebody else's root, or gone: then somebody else keeps it.
  }
}
