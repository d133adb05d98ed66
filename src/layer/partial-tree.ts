/** A tree of which some places are not shown to who lists it. */
import type { ByteString } from '../base/byte-string.ts';
import type { Directory, Tree } from './tree.ts';

/** `hidden`: canonical paths. Disposing it disposes of `tree`. */
export function withoutPaths(tree: Tree, hidden: ReadonlySet<ByteString>): Tree {
  if (hidden.size === 0) return tree;
  return {
    // why: who is given the descriptor sees everything.
    descriptor: undefined,
    stat: (path) => tree.stat(path),
    lstat: (path) => (hidden.has(tree.resolve(path)) ? undefined : tree.lstat(path)),
    readlink: (path) => tree.readlink(path),
    resolve: (path) => tree.resolve(path),
    directory: (path) => withoutNames(tree.directory(path), tree.resolve(path), hidden),
    readFile: (path, maxSize) => tree.readFile(path, maxSize),
    [Symbol.dispose]: () => tree[Symbol.dispose](),
  };
}

function withoutNames(directory: Directory, at: ByteString, hidden: ReadonlySet<ByteString>): Directory {
  const pathOf = (name: ByteString): ByteString => (at === '' ? name : `${at}/${name}`);
  return {
    descriptor: undefined,
    names: () => directory.names().filter((name) => !hidden.has(pathOf(name))),
    lstat: (name) => directory.lstat(name),
    lstatIfExists: (name) => (hidden.has(pathOf(name)) ? undefined : directory.lstatIfExists(name)),
    readlink: (name) => directory.readlink(name),
    open: (name) => directory.open(name),
    directory: (name) => withoutNames(directory.directory(name), pathOf(name), hidden),
    xattr: (name, attribute) => directory.xattr(name, attribute),
    [Symbol.dispose]: () => directory[Symbol.dispose](),
  };
}
