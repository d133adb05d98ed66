/** ADD of an archive: its entries below the destination, which is their root. */
import { toText, type ByteString } from '../../../base/byte-string.ts';
import { TsbuildError } from '../../../base/errors.ts';
import type { Ownership } from '../../../oci/user.ts';
import { CAPABILITY } from '../../../layer/pack-entry.ts';
import type { TarEntry } from '../../../layer/tar-header.ts';
import type { Archive, ArchiveEntry } from './archive.ts';
import type { LayerPlan } from './layer-plan.ts';
import type { Created, Planned } from './planned.ts';
import { joinPath } from './selected.ts';

const MAX_LINKS = 40;

export interface ArchivePlacing {
  readonly plan: LayerPlan;
  readonly destination: ByteString;
  readonly created: Created;
  /** --chown: forced on everything that the archive names. */
  readonly owner: Ownership | undefined;
  /** Distinguishes this archive's hard links from others'. */
  readonly identity: string;
  /** A file of what the layer is put onto; undefined: there is none. */
  readonly fileBelow: (path: ByteString) => Planned | undefined;
}

export function placeArchive(archive: Archive, placing: ArchivePlacing): void {
  const { plan, destination, created } = placing;
  // Directories that an archive only implies are plain, whatever --chown says.
  const implied: Created = { owner: { uid: 0, gid: 0 }, mode: 0o755, mtime: created.mtime };
  plan.ensureDirectories(destination, { ...created, mode: 0o755 }, true);
  const links = new Map<ByteString, string>();
  for (const [index, each] of archive.entries.entries()) {
    const { entry } = each;
    const path = resolveBelow(plan, destination, entry.path);
    if (entry.path === '') {
      if (destination !== '') plan.putDirectory(destination, plannedOf(each, archive, placing));
      continue;
    }
    plan.ensureDirectories(path, implied, false);
    if (entry.type === 'hardlink') placeLink(path, entry, placing, links);
    else if (entry.type === 'directory') {
      if (plan.typeAt(path) === 'directory') plan.putDirectory(path, plannedOf(each, archive, placing));
      else plan.replace(path, plannedOf(each, archive, placing));
    } else {
      const inode = `${placing.identity}:${index}`;
      links.set(path, inode);
      plan.replace(path, {
        ...plannedOf(each, archive, placing),
        ...(entry.type === 'file' ? { inode } : {}),
      });
    }
  }
}

function placeLink(
  path: ByteString,
  entry: TarEntry,
  placing: ArchivePlacing,
  links: Map<ByteString, string>,
): void {
  const target = resolveBelow(placing.plan, placing.destination, entry.linkname ?? '');
  const inode = links.get(target) ?? takeAlong(target, placing);
  if (inode === undefined)
    throw new TsbuildError(
      'ARCHIVE_INVALID',
      `${JSON.stringify(toText(entry.path))} is a hard link to ${JSON.stringify(toText(entry.linkname ?? ''))}, which is neither in the archive nor in the image`,
    );
  links.set(target, inode);
  const original = placing.plan.plannedAt(target);
  if (original === undefined) return;
  links.set(path, inode);
  // why: which of the names comes first in the layer is not known yet, so each can stand for the file.
  placing.plan.replace(path, original);
}

/** A file that lies there already goes into the layer, whose links lead nowhere else. Returns what names of it share. */
function takeAlong(
  target: ByteString,
  { plan, identity, owner, created, fileBelow }: ArchivePlacing,
): string | undefined {
  const there = plan.plannedAt(target) ?? fileBelow(target);
  if (there?.type !== 'file') return undefined;
  const inode = there.inode ?? `${identity}:/${target}`;
  plan.ensureDirectories(target, created, false);
  plan.replace(target, { ...there, ...owner, inode });
  return inode;
}

function plannedOf({ entry, offset }: ArchiveEntry, archive: Archive, { owner }: ArchivePlacing): Planned {
  const { uid, gid } = owner ?? entry;
  const capability = entry.xattrs?.get(CAPABILITY);
  return {
    type: entry.type,
    mode: entry.mode,
    uid,
    gid,
    mtime: entry.mtime,
    size: entry.size,
    ...(entry.type === 'file' ? { content: { kind: 'range', fd: archive.fd, offset } as const } : {}),
    ...(entry.linkname === undefined ? {} : { link: entry.linkname }),
    ...(entry.major === undefined ? {} : { major: entry.major }),
    ...(entry.minor === undefined ? {} : { minor: entry.minor }),
    ...(capability === undefined ? {} : { capability }),
  };
}

/** Where a name leads with `destination` as the root: symlinks on the way cannot leave it. */
function resolveBelow(plan: LayerPlan, destination: ByteString, name: ByteString): ByteString {
  const rest = name.split('/').reverse();
  const at: ByteString[] = [];
  let links = 0;
  for (let part = rest.pop(); part !== undefined; part = rest.pop()) {
    if (part === '' || part === '.') continue;
    if (part === '..') {
      at.pop();
      continue;
    }
    const path = joinPath(destination, [...at, part].join('/'));
    const isLast = rest.length === 0;
    if (!isLast && plan.typeAt(path) === 'symlink') {
      links += 1;
      if (links > MAX_LINKS)
        throw new TsbuildError(
          'ARCHIVE_INVALID',
          `too many symbolic links at ${JSON.stringify(toText(name))}`,
        );
      const target = plan.linkAt(path) ?? '';
      if (target.startsWith('/')) at.length = 0;
      rest.push(...target.split('/').reverse());
      continue;
    }
    at.push(part);
  }
  return joinPath(destination, at.join('/')).replace(/\/$/, '');
}
