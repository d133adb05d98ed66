/**
 * The root directory itself is in no layer that tsbuild packs: a state has the root attributes of its parent,
 * whoever made it, so that the same stack of layers looks the same everywhere.
 */
import { chmodSync, chownSync, statSync } from 'node:fs';
import { setTimeNs } from '../native/sys.ts';
import type { Json, JsonObject } from '../src/base/json.ts';

export interface RootAttributes {
  /** 0o7777 bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeNs: bigint;
}

export const EMPTY_ROOT: RootAttributes = { mode: 0o755, uid: 0, gid: 0, mtimeNs: 0n };

export function readRoot(files: string): RootAttributes {
  const { mode, uid, gid, mtimeNs } = statSync(files, { bigint: true });
  return { mode: Number(mode & 0o7777n), uid: Number(uid), gid: Number(gid), mtimeNs };
}

export function setRoot(files: string, { mode, uid, gid, mtimeNs }: RootAttributes): void {
  chownSync(files, uid, gid);
  chmodSync(files, mode);
  setTimeNs(files, mtimeNs);
}

/** `parent` undefined: an empty root, 0755 root:root of the epoch. */
export function inheritRoot(files: string, parent: string | undefined): void {
  setRoot(files, parent === undefined ? EMPTY_ROOT : readRoot(parent));
}

/** As a snapshot notes them that has no directory. */
export function rootNote({ mode, uid, gid, mtimeNs }: RootAttributes): JsonObject {
  return { mode, uid, gid, mtimeNs: `${mtimeNs}` };
}

/** undefined: it is no such note. */
export function parseRootNote(note: Json | undefined): RootAttributes | undefined {
  if (typeof note !== 'object' || note === null || Array.isArray(note)) return undefined;
  const { mode, uid, gid, mtimeNs } = note as JsonObject;
  if (typeof mode !== 'number' || typeof uid !== 'number' || typeof gid !== 'number') return undefined;
  if (typeof mtimeNs !== 'string' || !/^-?\d{1,19}$/.test(mtimeNs)) return undefined;
  return { mode, uid, gid, mtimeNs: BigInt(mtimeNs) };
}
