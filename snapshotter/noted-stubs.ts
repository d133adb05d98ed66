/**
 * Stubs in a tree that outlives the process which made them: a container's files, where they are a whole tree.
 *
 *   <home>/stubs.json   [{ path, type, ino, mode, uid, gid }]: what was made for mounts, by all starts so far
 *
 * They may not be taken away, since mounts of running containers may lie on them; who reads the tree leaves out those that
 * are as they were made.
 */
import { join } from 'node:path';
import { readJsonIfExists, writeFileAtomic } from '../src/base/atomic-file.ts';
import type { ByteString } from '../src/base/byte-string.ts';
import type { Host } from '../src/base/host.ts';
import { isJsonObject } from '../src/base/json.ts';
import type { EntryStat, Tree } from '../src/layer/tree.ts';

export type NotedStub = Pick<EntryStat, 'ino' | 'mode' | 'uid' | 'gid'> & {
  readonly path: ByteString;
  readonly type: string;
};

const noteIn = (home: string): string => join(home, 'stubs.json');

/** Adds to what was noted before. */
export function noteStubs(home: string, made: readonly NotedStub[], host: Host): void {
  if (made.length === 0) return;
  const paths = new Set(made.map(({ path }) => path));
  const before = notedStubs(home).filter(({ path }) => !paths.has(path));
  writeFileAtomic(host, noteIn(home), JSON.stringify([...before, ...made]));
}

function notedStubs(home: string): readonly NotedStub[] {
  const value = readJsonIfExists(noteIn(home));
  return Array.isArray(value) ? value.filter(isNoted) : [];
}

function isNoted(value: unknown): value is NotedStub {
  return (
    isJsonObject(value) &&
    typeof value['path'] === 'string' &&
    typeof value['type'] === 'string' &&
    ['ino', 'mode', 'uid', 'gid'].every((name) => typeof value[name] === 'number')
  );
}

/** Paths of `tree`, which lies in `home`, that are stubs and nothing else. */
export function untouchedStubs(home: string, tree: Tree): ReadonlySet<ByteString> {
  const untouched = new Set<ByteString>();
  // What lies in others comes first.
  for (const stub of notedStubs(home).toSorted((a, b) => (a.path < b.path ? 1 : -1)))
    if (isUntouched(stub, tree, untouched)) untouched.add(stub.path);
  return untouched;
}

function isUntouched(stub: NotedStub, tree: Tree, untouched: ReadonlySet<ByteString>): boolean {
  const { path, type } = stub;
  const slash = path.lastIndexOf('/');
  const holder = path.slice(0, Math.max(0, slash));
  if (tree.resolve(holder) !== holder) return false;
  const stat = tree.lstat(path);
  if (stat?.type !== type || stat.ino !== stub.ino) return false;
  if (stat.mode !== stub.mode || stat.uid !== stub.uid || stat.gid !== stub.gid) return false;
  if (type === 'file') return stat.size === 0 && stat.nlink === 1;
  if (type !== 'directory') return true;
  using directory = tree.directory(path);
  return directory.names().every((name) => untouched.has(`${path}/${name}`));
}
