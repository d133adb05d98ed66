/**
 * `cp`: files between the host and a container, docker's rules about what a name at the destination means.
 *
 * Both sides are trees: the host's with its own root, the container's with its. Whatever a container does to its
 * files meanwhile, symlinks of its own included, is resolved inside its root (open-tree.ts, live-writer.ts).
 *
 * Source: docker/cli, cp reference ("Extended description"); moby, pkg/archive/copy.go.
 */
import { closeSync, createReadStream, lstatSync } from 'node:fs';
import { toByteString, toText, type ByteString } from '../../base/byte-string.ts';
import { TsbuildError } from '../../base/errors.ts';
import { openDirectoryTree } from '../../layer/open-tree.ts';
import { openLiveDirectory, writeLive } from '../../layer/live-writer.ts';
import { packEntry, packWhole } from '../../layer/pack.ts';
import { confine, readTar } from '../../layer/tar-reader.ts';
import type { Tree } from '../../layer/tree.ts';
import type { StoredContainer } from '../../runtime/container.ts';
import type { Engine } from '../engine.ts';
import { withContainerRoot } from './layer.ts';
import { spoolTar } from './spool-tar.ts';

export type CopySide =
  | {
      readonly kind: 'host' /** Absolute, as it was written: a `/` or `/.` at its end counts. */;
      readonly path: string;
    }
  | { readonly kind: 'container'; readonly container: StoredContainer; readonly path: string };

export interface CopyOptions {
  /** Keep uid and gid of the source. */
  readonly archive: boolean;
  /** Follow a symlink that the source's last component is. */
  readonly followLink: boolean;
  /** Who owns what is made where `archive` is not set. */
  readonly owner: { readonly uid: number; readonly gid: number };
  readonly signal: AbortSignal;
}

/** Throws IO_FAILED (no such source, a destination that does not fit), DISK_FULL. */
export async function copyFiles(
  engine: Engine,
  from: CopySide,
  to: CopySide,
  options: CopyOptions,
): Promise<void> {
  if (to.kind === 'container') requireWritable(to.container);
  await withPlace(engine, from, async (root, path) => {
    const source = openSource(root, path, options.followLink);
    try {
      await withPlace(engine, to, async (target, targetPath) => {
        const { directory, name } = destinationOf(target, targetPath, source);
        await transfer(engine, source, target, directory, name, options);
      });
    } finally {
      source.tree[Symbol.dispose]();
    }
  });
}

/** A container's files as a tar, whose names begin with the last component of `path`. */
export async function copyOut(
  engine: Engine,
  container: StoredContainer,
  path: string,
  out: { write(bytes: Uint8Array): void },
  options: Pick<CopyOptions, 'followLink' | 'signal'>,
): Promise<void> {
  await withPlace(engine, { kind: 'container', container, path }, async (root, written) => {
    const source = openSource(root, written, options.followLink);
    using tree = source.tree;
    const { signal } = options;
    const packing = { signal, now: () => engine.host.now() };
    if (source.contentsOnly) {
      using contents = tree.directory(joined(source));
      await packWhole(contents, out, packing);
    } else {
      using holder = tree.directory(source.holder);
      await packEntry(holder, source.name, source.shown, out, packing);
    }
  });
}

/** A tar from outside into a directory of a container. */
export async function copyIn(
  engine: Engine,
  container: StoredContainer,
  path: string,
  tar: AsyncIterable<Uint8Array>,
  { signal }: { readonly signal: AbortSignal },
): Promise<void> {
  requireWritable(container);
  await withPlace(engine, { kind: 'container', container, path }, async (root, written) => {
    using tree = openDirectoryTree(root);
    if (tree.stat(toByteString(written))?.type !== 'directory')
      throw new TsbuildError('IO_FAILED', `destination ${JSON.stringify(path)} must be a directory`);
    const fd = openLiveDirectory(root, tree.resolve(toByteString(written)));
    try {
      await writeLive(readTar(tar), fd, { signal });
    } finally {
      closeSync(fd);
    }
  });
}

/** why: what is made there needs ids that it has a place for, and we are not one of them. */
function requireWritable({ state, config }: StoredContainer): void {
  const { user } = config.isolation.namespaces;
  if (state.process !== undefined && user !== undefined && user.kind !== 'host')
    throw new TsbuildError(
      'IO_FAILED',
      'cannot copy into a running container with a user namespace of its own',
      {
        hint: 'stop it first, or use exec with tar',
      },
    );
}

/** Root and path of a side; in a stopped container, a volume's own directory where the path lies in one. */
async function withPlace<T>(
  engine: Engine,
  side: CopySide,
  use: (root: string, path: string) => Promise<T>,
): Promise<T> {
  if (side.kind === 'host') return use('/', side.path);
  const { container } = side;
  const path = side.path.startsWith('/') ? side.path : `/${side.path}`;
  return withContainerRoot(engine, container, async (root) => {
    if (container.state.process !== undefined) return await use(root, path);
    using tree = openDirectoryTree(root);
    const real = `/${toText(tree.resolve(toByteString(path)))}`;
    const mount = container.config.isolation.mounts
      .filter((each) => each.kind !== 'tmpfs' && (real === each.target || real.startsWith(`${each.target}/`)))
      .sort((a, b) => b.target.length - a.target.length)[0];
    if (mount === undefined || mount.kind === 'tmpfs') return await use(root, path);
    const directory =
      mount.kind === 'bind' ? mount.source : engine.volumes.require(mount.name ?? '').mountpoint;
    if (lstatSync(directory, { throwIfNoEntry: false })?.isDirectory() !== true) return await use(root, path);
    const ending = /\/\.?$/.exec(path)?.[0] ?? '';
    return await use(directory, `${real.slice(mount.target.length)}${ending}` || '/');
  });
}

interface Source {
  readonly tree: Tree;
  readonly holder: ByteString;
  /** Of the thing in its holder; '' for a root. */
  readonly name: ByteString;
  /** The name that it goes by. */
  readonly shown: ByteString;
  readonly isDirectory: boolean;
  /** `DIR/.`: what is in it, not itself. */
  readonly contentsOnly: boolean;
}

function openSource(root: string, path: string, followLink: boolean): Source {
  const tree = openDirectoryTree(root);
  const bytes = toByteString(path);
  const endsInSlash = /\/\.?$/.test(path);
  const real = locate(tree, bytes, followLink || endsInSlash);
  const stat = tree.lstat(real);
  if (stat === undefined || (endsInSlash && stat.type !== 'directory')) {
    tree[Symbol.dispose]();
    throw new TsbuildError(
      'IO_FAILED',
      stat === undefined
        ? `could not find the file ${JSON.stringify(path)}`
        : `${JSON.stringify(path)} is not a directory`,
      { hint: 'name a file that is there' },
    );
  }
  const { holder, name } = split(real);
  return {
    tree,
    holder,
    name,
    shown: split(confine(bytes)).name || name,
    isDirectory: stat.type === 'directory',
    contentsOnly: stat.type === 'directory' && (path.endsWith('/.') || name === ''),
  };
}

/** Canonical path; the last component itself stays a symlink unless it is to be followed. */
function locate(tree: Tree, path: ByteString, follow: boolean): ByteString {
  if (follow) return tree.resolve(path);
  const { holder, name } = split(path.replace(/\/+$/, ''));
  if (name === '' || name === '..' || name === '.') return tree.resolve(path);
  const directory = tree.resolve(holder);
  return directory === '' ? name : `${directory}/${name}`;
}

function joined({ holder, name }: Source): ByteString {
  return holder === '' ? name : `${holder}/${name}`;
}

function split(path: ByteString): { readonly holder: ByteString; readonly name: ByteString } {
  const slash = path.lastIndexOf('/');
  return { holder: path.slice(0, Math.max(0, slash)), name: path.slice(slash + 1) };
}

/** Where it goes: a directory that exists, and the name in it ('' for its contents). */
function destinationOf(
  root: string,
  path: string,
  source: Source,
): { readonly directory: ByteString; readonly name: ByteString } {
  using tree = openDirectoryTree(root);
  const real = tree.resolve(toByteString(path));
  const stat = tree.lstat(real);
  if (stat?.type === 'directory') return { directory: real, name: source.contentsOnly ? '' : source.shown };
  const { holder, name } = split(real);
  if (stat !== undefined && source.isDirectory)
    throw new TsbuildError('IO_FAILED', `cannot copy a directory to the file ${JSON.stringify(path)}`);
  if (stat === undefined && !source.isDirectory && path.endsWith('/'))
    throw new TsbuildError('IO_FAILED', `the destination directory ${JSON.stringify(path)} must exist`);
  if (tree.lstat(holder)?.type !== 'directory')
    throw new TsbuildError('IO_FAILED', `the directory of ${JSON.stringify(path)} does not exist`, {
      hint: 'create it first',
    });
  return { directory: holder, name };
}

async function transfer(
  engine: Engine,
  source: Source,
  target: string,
  directory: ByteString,
  name: ByteString,
  { archive, owner, signal }: CopyOptions,
): Promise<void> {
  const packing = { signal, now: () => engine.host.now() };
  using holder = source.tree.directory(source.holder);
  using tar = await spoolTar(engine, async (out) => {
    if (name !== '') await packNamed(holder, source, name, out, packing);
    else {
      using contents = source.tree.directory(joined(source));
      await packWhole(contents, out, packing);
    }
  });
  const fd = openLiveDirectory(target, directory);
  try {
    await writeLive(readTar(createReadStream(tar.path)), fd, { signal, ...(archive ? {} : { owner }) });
  } finally {
    closeSync(fd);
  }
}

/** A root has no name of its own: its contents go into a new directory of the name asked for. */
async function packNamed(
  holder: ReturnType<Tree['directory']>,
  source: Source,
  name: ByteString,
  out: { write(bytes: Uint8Array): void },
  packing: { readonly signal: AbortSignal; readonly now: () => number },
): Promise<void> {
  if (source.name === '')
    throw new TsbuildError('IO_FAILED', 'cannot copy a whole root to a new directory', {
      hint: 'create the directory first',
    });
  await packEntry(holder, source.name, name, out, packing);
}
