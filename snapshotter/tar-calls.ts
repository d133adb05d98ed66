/** Client of the tree engine's `index` and `apply` (native/tree/index.c): from tars to an EROFS image over them, or to files. */
import { closeSync, constants, openSync } from 'node:fs';
import { callTree } from '../native/tree.ts';
import { hexOf, type DiffID } from '../src/base/digest.ts';
import { TsbuildError } from '../src/base/errors.ts';
import type { RootAttributes } from './root-attributes.ts';

const BELOW = 1;
const BELOW_MISSING = 2;
const BELOW_IS_NEEDED = 1;
const NS_PER_S = 1_000_000_000n;

export interface IndexedTar {
  readonly path: string;
  readonly diffID: DiffID;
  /** Nobody has read it since it was written: its digest is compared with the diffID. */
  readonly verify: boolean;
}

export interface TarRequest {
  /** Of `index` a new file, of `apply` an empty directory that is private. */
  readonly output: string;
  /** The lowest first. Several become one state, in which deletions have been carried out. */
  readonly tars: readonly IndexedTar[];
  /** What the root has where no tar names it. */
  readonly root: RootAttributes;
  /** Opens what lies below a single tar. We close the descriptor. */
  readonly below?: () => Promise<number>;
  /** `below` is dear: it is asked only where the tar implies directories, or deletes. */
  readonly isBelowDear?: boolean;
  readonly signal?: AbortSignal;
}

export interface Indexed {
  readonly root: RootAttributes;
  /** Nothing of what lies below shows. */
  readonly hidesParents: boolean;
}

/** Resolves when the image is written. Throws SparseTar, ARCHIVE_INVALID, DIGEST_MISMATCH, DISK_FULL, IO_FAILED. */
export function indexTars(request: TarRequest): Promise<Indexed> {
  return run('index', request);
}

/** Resolves when the files are there. Throws SparseTar, ARCHIVE_INVALID, DIGEST_MISMATCH, DISK_FULL, IO_FAILED. */
export function applyTars(request: TarRequest): Promise<Indexed> {
  return run('apply', request);
}

/** A tar whose files have holes has not their contents in one piece: it is unpacked by unpack.ts. Nothing was written. */
export class SparseTar extends TsbuildError {}

type Job = 'index' | 'apply';

const WHAT: Readonly<Record<Job, string>> = { index: 'index a layer', apply: 'unpack a layer' };

async function run(job: Job, request: TarRequest): Promise<Indexed> {
  if (request.isBelowDear === true) {
    const first = await call(job, request, undefined);
    if (first.readUInt32LE(0) !== BELOW_IS_NEEDED) return result(request, first);
  }
  const below = await request.below?.();
  try {
    return result(request, await call(job, request, below));
  } finally {
    if (below !== undefined) closeSync(below);
  }
}

async function call(job: Job, request: TarRequest, below: number | undefined): Promise<Buffer> {
  const { output, tars, signal } = request;
  const opened: number[] = [];
  const open = (path: string, flags: string | number): number => {
    const fd = openSync(path, flags, 0o600);
    opened.push(fd);
    return fd;
  };
  try {
    const target = open(output, job === 'index' ? 'w' : constants.O_RDONLY | constants.O_DIRECTORY);
    const sources = tars.map(({ path }) => open(path, 'r'));
    return await callTree({
      job,
      request: encode(request, below !== undefined),
      descriptors: [target, ...sources, ...(below === undefined ? [] : [below])],
      what: WHAT[job],
      refused: (errno, text) =>
        errno === 'EPROTONOSUPPORT' ? new SparseTar('ARCHIVE_INVALID', text) : undefined,
      ...(signal === undefined ? {} : { signal }),
    });
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}

function encode({ tars, root, below }: TarRequest, isGiven: boolean): Uint8Array {
  const flags = isGiven ? BELOW : below === undefined ? 0 : BELOW_MISSING;
  const head = Buffer.alloc(32);
  for (const [index, value] of [flags, tars.length].entries()) head.writeUInt32LE(value, 4 * index);
  writeRoot(head, 8, root);
  const each = tars.map(({ diffID, verify }) => {
    const part = Buffer.alloc(8 + 64);
    part.writeUInt32LE(verify ? 1 : 0, 0);
    part.writeUInt32LE(64, 4);
    part.write(hexOf(diffID).slice(0, 64), 8, 'latin1');
    return part;
  });
  return Buffer.concat([head, ...each]);
}

function writeRoot(bytes: Buffer, at: number, { mode, uid, gid, mtimeNs }: RootAttributes): void {
  const nanoseconds = ((mtimeNs % NS_PER_S) + NS_PER_S) % NS_PER_S;
  for (const [index, value] of [mode, uid, gid, Number(nanoseconds)].entries())
    bytes.writeUInt32LE(value, at + 4 * index);
  bytes.writeBigInt64LE((mtimeNs - nanoseconds) / NS_PER_S, at + 16);
}

function result({ tars }: TarRequest, answer: Buffer): Indexed {
  for (const [index, { diffID, verify }] of tars.entries()) {
    const actual = answer.toString('hex', 32 + 32 * index, 64 + 32 * index);
    if (verify && actual !== hexOf(diffID))
      throw new TsbuildError('DIGEST_MISMATCH', `layer ${diffID} has the digest sha256:${actual}`, {
        hint: 'pull the image again, or build with --no-cache',
      });
  }
  const [mode = 0, uid = 0, gid = 0, nanoseconds = 0] = [4, 8, 12, 16].map((at) => answer.readUInt32LE(at));
  const mtimeNs = answer.readBigInt64LE(20) * NS_PER_S + BigInt(nanoseconds);
  return { root: { mode, uid, gid, mtimeNs }, hidesParents: answer.readUInt32LE(28) !== 0 };
}
