/**
 * An image as its container would see it: the layers of an OCI layout laid over each other.
 *
 * Read with a tar reader that tsbuild does not use, so that an archive that only tsbuild understands is
 * caught. Blobs are checked against their digests on the way.
 *
 * Spec: OCI image-spec v1.1.1, image-layout.md and layer.md.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gunzipSync } from 'node:zlib';
import { extract, type Header } from 'tar-stream';

export type EntryType = 'file' | 'directory' | 'symlink' | 'fifo' | 'character-device' | 'block-device';

export interface TreeEntry {
  readonly type: EntryType;
  readonly mode: number;
  /** `uid:gid`. */
  readonly owner: string;
  /** Content of a file; empty for others. */
  readonly content: Buffer;
  /** Target of a symbolic link, `major,minor` of a device. */
  readonly target: string;
  readonly xattrs: Readonly<Record<string, string>>;
  /** Identity of the file behind hard links. */
  readonly inode: object;
  /** No layer has an entry for this directory: it is there because something is in it. */
  readonly isImplied: boolean;
}

export interface Image {
  readonly tree: ReadonlyMap<string, TreeEntry>;
  readonly config: Readonly<Record<string, unknown>>;
}

interface Descriptor {
  readonly digest: string;
  readonly size: number;
}

interface BlobReader {
  (descriptor: Descriptor): Buffer;
}

/** A directory of blobs as an OCI layout names them, or by the bare hash. */
function openBlobs(directory: string): BlobReader {
  return ({ digest, size }) => {
    const bytes = readFileSync(join(directory, digest.slice(digest.indexOf(':') + 1)));
    const actual = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    if (actual !== digest || bytes.length !== size)
      throw new Error(`blob ${digest} of ${size} bytes is ${actual} of ${bytes.length}`);
    return bytes;
  };
}

async function* readTar(bytes: Buffer): AsyncGenerator<{ header: Header; content: Buffer }> {
  const reader = extract();
  Readable.from([bytes]).pipe(reader);
  for await (const entry of reader) {
    const chunks: Buffer[] = [];
    for await (const chunk of entry as AsyncIterable<Buffer>) chunks.push(chunk);
    yield { header: entry.header, content: Buffer.concat(chunks) };
  }
}

const IMPLIED: TreeEntry = {
  type: 'directory',
  mode: 0o755,
  owner: '0:0',
  content: Buffer.alloc(0),
  target: '',
  xattrs: {},
  inode: {},
  isImplied: true,
};

const isBelow = (path: string, directory: string): boolean => path.startsWith(`${directory}/`);

function removeBelow(tree: Map<string, TreeEntry>, directory: string): void {
  for (const path of [...tree.keys()]) if (isBelow(path, directory)) tree.delete(path);
}

function makeParents(tree: Map<string, TreeEntry>, path: string): void {
  const parent = path.slice(0, path.lastIndexOf('/'));
  if (parent === '' || tree.get(parent)?.type === 'directory') return;
  makeParents(tree, parent);
  tree.set(parent, IMPLIED);
}

function entryOf(header: Header, content: Buffer): TreeEntry {
  const prefix = 'SCHILY.xattr.';
  const xattrs = Object.entries((header.pax ?? {}) as Readonly<Record<string, string>>)
    .filter(([name]) => name.startsWith(prefix))
    .map(([name, value]) => [name.slice(prefix.length), Buffer.from(value).toString('hex')] as const);
  const isDevice = header.type === 'character-device' || header.type === 'block-device';
  const type = header.type === 'contiguous-file' ? 'file' : header.type;
  return {
    type: type as EntryType,
    mode: header.mode & 0o7777,
    owner: `${header.uid}:${header.gid}`,
    content,
    target: isDevice ? `${header.devmajor},${header.devminor}` : linkOf(header),
    xattrs: Object.fromEntries(xattrs),
    inode: {},
    isImplied: false,
  };
}

// why: the reader gives null, and its types say string.
const linkOf = ({ linkname }: { readonly linkname: string | null }): string => linkname ?? '';

const pathOf = (name: string): string => `/${name.replace(/^(\.?\/)+/, '').replace(/\/+$/, '')}`;

async function applyLayer(tree: Map<string, TreeEntry>, tar: Buffer): Promise<void> {
  // A whiteout hides what lower layers have, whatever its place in the archive.
  const added = new Map<string, TreeEntry>();
  for await (const { header, content } of readTar(tar)) {
    const path = pathOf(header.name);
    if (path === '/' || path === '/.') continue;
    const cut = path.lastIndexOf('/');
    const [parent, name] = [path.slice(0, cut), path.slice(cut + 1)];
    if (name === '.wh..wh..opq') removeBelow(tree, parent);
    else if (name.startsWith('.wh.')) {
      const hidden = `${parent}/${name.slice('.wh.'.length)}`;
      tree.delete(hidden);
      removeBelow(tree, hidden);
    } else if (header.type === 'link') {
      const target = added.get(pathOf(linkOf(header)));
      if (target === undefined) throw new Error(`${path} is a hard link to ${linkOf(header)}, not there`);
      added.set(path, target);
    } else added.set(path, entryOf(header, content));
  }
  for (const [path, entry] of added) {
    makeParents(tree, path);
    if (entry.type !== 'directory') removeBelow(tree, path);
    tree.set(path, entry);
  }
}

interface Manifest {
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

async function readManifest(manifest: Manifest, readBlob: BlobReader): Promise<Image> {
  const document = JSON.parse(readBlob(manifest.config).toString()) as {
    config?: Record<string, unknown>;
    rootfs: { diff_ids: string[] };
  };
  const tree = new Map<string, TreeEntry>();
  for (const [at, layer] of manifest.layers.entries()) {
    const bytes = readBlob(layer);
    const tar = bytes.readUInt16BE(0) === 0x1f8b ? gunzipSync(bytes) : bytes;
    const diffID = `sha256:${createHash('sha256').update(tar).digest('hex')}`;
    if (diffID !== document.rootfs.diff_ids[at]) throw new Error(`layer ${at} has the diffID ${diffID}`);
    await applyLayer(tree, tar);
  }
  if (manifest.layers.length !== document.rootfs.diff_ids.length)
    throw new Error('diffIDs and layers differ');
  return { tree, config: document.config ?? {} };
}

/** Reads the only image of an OCI layout. */
export async function readOciLayout(directory: string): Promise<Image> {
  const readBlob = openBlobs(join(directory, 'blobs', 'sha256'));
  const index = JSON.parse(readFileSync(join(directory, 'index.json'), 'utf8')) as {
    manifests: Descriptor[];
  };
  const [described, ...more] = index.manifests;
  if (described === undefined || more.length > 0) throw new Error('the layout does not hold one image');
  return readManifest(JSON.parse(readBlob(described).toString()) as Manifest, readBlob);
}

/** Reads what the `dir:` transport of containers/image wrote: `manifest.json` beside the blobs. */
export async function readDirectoryTransport(directory: string): Promise<Image> {
  const manifest = JSON.parse(readFileSync(join(directory, 'manifest.json'), 'utf8')) as Manifest;
  return readManifest(manifest, openBlobs(directory));
}
