/**
 * Packs: chunks one after the other, so that a registry does not have to keep thousands of tiny blobs. A pack is
 * handed on when it is full, while the next one is being filled.
 */
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { promisify } from 'node:util';
import { deflateRaw } from 'node:zlib';
import { createDigester, type Digest, type Digester } from '../../../base/digest.ts';
import { ioError } from '../../../base/errors.ts';
import type { Descriptor } from '../../../oci/documents.ts';
import { PACK_TYPE, type Chunk, type PlacedChunk } from './mount-index.ts';

const PACK_SIZE = 8 << 20;
/** Compressing less than this saves nothing. */
const WORTH = 128;
const LEVEL = 3;
const compress = promisify(deflateRaw) as (bytes: Uint8Array, options: { level: number }) => Promise<Buffer>;

export interface PackWriter extends Disposable {
  /** Keeps a chunk, unless it was kept before. The bytes are lent until the promise settles. */
  add(chunk: Chunk, bytes: Uint8Array, isCompressed: boolean): Promise<void>;
  /** Hands on the last pack and waits for all of them. Where every chunk is, by digest. */
  finish(): Promise<ReadonlyMap<string, PlacedChunk>>;
}

export interface PackWriterOptions {
  /** A path for a new temporary file. */
  readonly spool: () => string;
  /** Takes a pack, which lies at `path` until the promise settles. */
  readonly onPack: (pack: Descriptor, path: string) => Promise<void>;
  /** How many may be on their way while chunks are added. */
  readonly inFlight: number;
}

interface Open {
  readonly path: string;
  readonly fd: number;
  readonly digester: Digester;
  readonly chunks: (Chunk & { readonly offset: number; readonly stored: number })[];
}

export function createPackWriter({ spool, onPack, inFlight }: PackWriterOptions): PackWriter {
  const kept = new Set<string>();
  const placed = new Map<string, PlacedChunk>();
  const sending: Promise<void>[] = [];
  let open: Open | undefined;

  function begin(): Open {
    const path = spool();
    try {
      return { path, fd: openSync(path, 'wx', 0o600), digester: createDigester(), chunks: [] };
    } catch (error) {
      throw ioError('create a pack of chunks', error);
    }
  }

  async function close(): Promise<void> {
    if (open === undefined) return;
    const { path, fd, digester, chunks } = open;
    open = undefined;
    closeSync(fd);
    const { size } = digester;
    const digest: Digest = digester.digest();
    for (const chunk of chunks) placed.set(chunk.digest, { ...chunk, pack: digest });
    const sent = onPack({ mediaType: PACK_TYPE, digest, size }, path).finally(() =>
      rmSync(path, { force: true }),
    );
    // why: a failure is thrown by finish(); until then it must not count as unhandled.
    sent.catch(() => undefined);
    sending.push(sent);
    const before = sending[sending.length - inFlight];
    if (before !== undefined) await before;
  }

  return {
    async add(chunk, bytes, isCompressed) {
      if (kept.has(chunk.digest)) return;
      kept.add(chunk.digest);
      const smaller =
        isCompressed || bytes.byteLength < WORTH ? undefined : await compress(bytes, { level: LEVEL });
      const body = smaller !== undefined && smaller.byteLength < bytes.byteLength ? smaller : bytes;
      open ??= begin();
      open.chunks.push({ ...chunk, offset: open.digester.size, stored: body.byteLength });
      open.digester.update(body);
      try {
        for (let at = 0; at < body.byteLength; ) at += writeSync(open.fd, body, at);
      } catch (error) {
        throw ioError('write a pack of chunks', error);
      }
      if (open.digester.size >= PACK_SIZE) await close();
    },
    async finish() {
      await close();
      await Promise.all(sending);
      return placed;
    },
    [Symbol.dispose]() {
      if (open === undefined) return;
      closeSync(open.fd);
      rmSync(open.path, { force: true });
      open = undefined;
    },
  };
}
