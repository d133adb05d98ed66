/**
 * Walking: what lies below directories of a tree, as listings.
 *
 * A few entries are read here, since starting the native program takes as long as reading 200; more by one call of
 * it (native/tree/walk-job.c). Both give the same bytes.
 */
import { compareBytes, toText, type ByteString } from '../base/byte-string.ts';
import { errnoOf, ioError, type TsbuildError } from '../base/errors.ts';
import { callTree } from '../../native/tree.ts';
import { changed } from './changed.ts';
import { CAPABILITY } from './pack-entry.ts';
import { FILE_SYSTEM_SIZE, describeFileSystem, parseFileSystem, type FileSystem } from './file-system.ts';
import { createListing, encodeListed, LISTED_END, type Listing, type ListingBuilder } from './listing.ts';
import type { Directory, EntryStat, Tree } from './tree.ts';

/**
 * What is left out of a walk with all that is in it: a path from the root; where `anywhere`, whatever has that name;
 * where `below`, only what is in it.
 */
export interface Pruned {
  readonly path: ByteString;
  readonly anywhere: boolean;
  readonly below: boolean;
}

export interface WalkRoot {
  /** Canonical path of a directory in the tree. */
  readonly path: ByteString;
  readonly pruned: readonly Pruned[];
}

export interface WalkOptions {
  /** Whether `security.capability` of files is read. */
  readonly capabilities: boolean;
  readonly signal: AbortSignal;
  /** At most so many entries are read here; 0: none at all. */
  readonly few?: number;
}

const FEW = 200;
/** In a record. */
const TYPE_AT = 6;
const SIZE_AT = 24;
/** More than a machine's memory is for. */
const MAX_ENTRIES = 20_000_000;

/** One listing per root. Throws CONTEXT_INVALID where something changes meanwhile, IO_FAILED, ABORTED. */
export async function walkTree(
  tree: Tree,
  roots: readonly WalkRoot[],
  options: WalkOptions,
): Promise<readonly Listing[]> {
  if (roots.length === 0) return [];
  const { descriptor } = tree;
  const budget = { left: descriptor === undefined ? Infinity : (options.few ?? FEW) };
  const listings: Listing[] = [];
  for (const root of budget.left > 0 ? roots : []) {
    const listing = walkHere(tree, root, options, budget);
    if (listing === undefined) break;
    listings.push(listing);
  }
  if (listings.length === roots.length || descriptor === undefined) return listings;
  return walkNatively(descriptor, roots, options);
}

interface Here {
  readonly records: ListingBuilder;
  readonly fileSystems: FileSystem[];
  readonly devices: number[];
  readonly pruned: readonly Pruned[];
  readonly budget: { left: number };
  readonly capabilities: boolean;
  count: number;
}

/** undefined: there is more than the budget allows. */
function walkHere(
  tree: Tree,
  { path, pruned }: WalkRoot,
  { capabilities }: WalkOptions,
  budget: { left: number },
): Listing | undefined {
  const here: Here = {
    records: createListing(),
    fileSystems: [],
    devices: [],
    pruned,
    budget,
    capabilities,
    count: 0,
  };
  try {
    using directory = tree.directory(path);
    if (!list(here, directory, '', 0)) return undefined;
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT' || errno === 'ENOTDIR' || errno === 'ELOOP') throw changed(path);
    throw ioError(`read ${JSON.stringify(toText(path))}`, error);
  }
  return here.records.listing(here.count, here.fileSystems);
}

function list(here: Here, directory: Directory, path: ByteString, depth: number): boolean {
  const names = directory.names().filter((name) => !isPruned(here.pruned, path, name));
  here.budget.left -= names.length;
  if (here.budget.left < 0) return false;
  const stats = names.map((name) => ({ name, stat: directory.lstat(name) }));
  for (const { name, stat } of stats.sort((a, b) => compareBytes(storedName(a), storedName(b)))) {
    here.records.add(recordOf(here, directory, name, stat, depth));
    here.count += 1;
    if (stat.type !== 'directory') continue;
    using child = directory.directory(name);
    if (!list(here, child, path === '' ? name : `${path}/${name}`, depth + 1)) return false;
  }
  return true;
}

function storedName({ name, stat }: { readonly name: ByteString; readonly stat: EntryStat }): ByteString {
  return stat.type === 'directory' ? `${name}/` : name;
}

function isPruned(pruned: readonly Pruned[], path: ByteString, name: ByteString): boolean {
  if (pruned.length === 0) return false;
  const whole = path === '' ? name : `${path}/${name}`;
  const holder = path.slice(path.lastIndexOf('/') + 1);
  return pruned.some(({ path: wanted, anywhere, below }) =>
    below ? wanted === (anywhere ? holder : path) : wanted === (anywhere ? name : whole),
  );
}

function recordOf(
  here: Here,
  directory: Directory,
  name: ByteString,
  stat: EntryStat,
  depth: number,
): Buffer {
  let fileSystem = here.devices.indexOf(stat.dev);
  if (fileSystem < 0) {
    const [major, minor] = deviceParts(stat.dev);
    here.fileSystems.push(describeFileSystem(directory.descriptor ?? -1, major, minor));
    fileSystem = here.devices.push(stat.dev) - 1;
  }
  const isFile = stat.type === 'file';
  return encodeListed({
    depth,
    name,
    stat,
    link: stat.type === 'symlink' ? directory.readlink(name) : '',
    capability: isFile && here.capabilities ? directory.xattr(name, CAPABILITY) : undefined,
    fileSystem,
  });
}

/** As gnu_dev_major(3) and gnu_dev_minor(3). */
export function deviceParts(device: number): readonly [number, number] {
  const dev = BigInt(device);
  return [
    Number(((dev >> 8n) & 0xfffn) | ((dev >> 32n) & 0xfffff000n)),
    Number((dev & 0xffn) | ((dev >> 12n) & 0xffffff00n)),
  ];
}

async function walkNatively(
  descriptor: number,
  roots: readonly WalkRoot[],
  { capabilities, signal }: WalkOptions,
): Promise<readonly Listing[]> {
  let building = createListing();
  const ended: ((fileSystems: readonly FileSystem[]) => Listing)[] = [];
  const done = await callTree({
    job: 'walk',
    what: 'read the files to copy',
    request: encodeRequest(roots, capabilities),
    descriptors: [descriptor],
    signal,
    refused,
    onData(records) {
      // The record of a root's end comes alone.
      if (records[TYPE_AT] !== LISTED_END) {
        building.add(records);
        return;
      }
      const [built, entries] = [building, records.readUInt32LE(SIZE_AT)];
      ended.push((fileSystems) => built.listing(entries, fileSystems));
      building = createListing();
    },
  });
  const fileSystems: FileSystem[] = [];
  for (let at = 8; at + FILE_SYSTEM_SIZE <= done.byteLength; at += FILE_SYSTEM_SIZE)
    fileSystems.push(parseFileSystem(done, at));
  return ended.map((listing) => listing(fileSystems));
}

function refused(errno: string, text: string): TsbuildError | undefined {
  return errno === 'ESTALE' ? changed(text) : undefined;
}

function encodeRequest(roots: readonly WalkRoot[], capabilities: boolean): Buffer {
  const parts: Buffer[] = [];
  const number = (value: number): void => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    parts.push(bytes);
  };
  const text = (value: ByteString): void => {
    number(value.length);
    parts.push(Buffer.from(value, 'latin1'));
  };
  number(capabilities ? 1 : 0);
  number(MAX_ENTRIES);
  number(0);
  number(roots.length);
  for (const { path, pruned } of roots) {
    number(0);
    text(path);
    number(pruned.length);
    for (const each of pruned) {
      number((each.anywhere ? 1 : 0) + (each.below ? 2 : 0));
      text(each.path);
    }
  }
  return Buffer.concat(parts);
}
