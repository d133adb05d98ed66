/**
 * The content of what is copied, as one digest: part of a COPY's cache key (design D6).
 *
 * In it: relative paths, types, modes (unless --chmod replaces them), link targets, content, and for stages
 * owners (unless --chown replaces them) and file capabilities. Not in it: times, inodes, owners of context files.
 * Modes of directories count, sub-directories included.
 */
import { closeSync, readSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { toText, type ByteString } from '../../../base/byte-string.ts';
import { createDigester, type Digest } from '../../../base/digest.ts';
import { ioError } from '../../../base/errors.ts';
import type { CopyOp } from '../../../graph/ops.ts';
import type { Directory, EntryStat, Tree } from '../../../layer/tree.ts';
import type { StatCache } from '../context/stat-cache.ts';
import type { Selected } from './selected.ts';
import { walkSelected, type WalkOptions } from './walk.ts';

export const CAPABILITY = 'security.capability';

export interface DigestOptions extends WalkOptions {
  /** Files of a stage keep their owners and capabilities; files of the context have none. */
  readonly isContext: boolean;
  readonly statCache?: StatCache;
}

const buffer = Buffer.allocUnsafe(1 << 20);

export function digestSelection(
  tree: Tree,
  selection: readonly Selected[],
  op: Pick<CopyOp, 'chmod' | 'owner'>,
  options: DigestOptions,
): Digest {
  const digester = createHash('sha256');
  const keepsMode = op.chmod === undefined || !/^[0-7]+$/.test(op.chmod);
  const keepsOwner = !options.isContext && op.owner === undefined;
  const add = (relative: ByteString, stat: EntryStat, directory: Directory, name: ByteString): void => {
    const mode = keepsMode && stat.type !== 'symlink' ? stat.mode.toString(8) : '';
    const owner = keepsOwner ? `${stat.uid}:${stat.gid}` : '';
    digester.update(
      `${relative}\0${stat.type}\0${mode}\0${owner}\0${contentOf(directory, name, stat, options)}\n`,
      'latin1',
    );
  };
  for (const selected of selection) {
    const { stat } = selected;
    digester.update(`${selected.argument}\0${selected.pivot}\0${selected.asked}\0${stat.type}\n`, 'latin1');
    if (stat.type === 'directory') walkSelected(tree, selected, options, add);
    else {
      const slash = selected.path.lastIndexOf('/');
      using directory = tree.directory(selected.path.slice(0, Math.max(0, slash)));
      add('', stat, directory, selected.path.slice(slash + 1));
    }
  }
  return `sha256:${digester.digest('hex')}` as Digest;
}

function contentOf(directory: Directory, name: ByteString, stat: EntryStat, options: DigestOptions): string {
  if (stat.type === 'symlink') return directory.readlink(name);
  if (stat.type === 'char' || stat.type === 'block') return `${stat.major}:${stat.minor}`;
  if (stat.type !== 'file') return '';
  const known = options.statCache?.get(stat);
  const content = known ?? digestFile(directory, name, stat);
  if (known === undefined) options.statCache?.put(stat, content);
  const capability = options.isContext ? undefined : directory.xattr(name, CAPABILITY);
  return capability === undefined ? content : `${content} ${Buffer.from(capability).toString('hex')}`;
}

function digestFile(directory: Directory, name: ByteString, stat: EntryStat): Digest {
  const digester = createDigester();
  if (stat.size === 0) return digester.digest();
  try {
    const fd = directory.open(name);
    try {
      for (let n = readSync(fd, buffer); n > 0; n = readSync(fd, buffer))
        digester.update(buffer.subarray(0, n));
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw ioError(`read ${JSON.stringify(toText(name))}`, error);
  }
  return digester.digest();
}
