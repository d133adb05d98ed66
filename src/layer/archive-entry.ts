/** Entries of archives from anywhere that become files of a layer (`import`, ADD): what cannot be one is refused, not kept. */
import { toText, type ByteString } from '../base/byte-string.ts';
import { TsbuildError } from '../base/errors.ts';
import { CAPABILITY } from './pack-entry.ts';
import type { TarEntry } from './tar-header.ts';

/** As Linux has it (NAME_MAX, and MAJOR and MINOR of a dev_t). */
const NAME_MAX = 255;
const MAJOR_MAX = 0xfff;
const MINOR_MAX = 0xfffff;
/** struct vfs_ns_cap_data takes 24. */
const CAPABILITY_MAX = 64;

/**
 * The entry as a layer keeps it: of xattrs, file capabilities alone, and nothing of the header that they came in. Throws
 * ARCHIVE_INVALID.
 */
export function layerEntryOf({ xattrs, ...entry }: TarEntry): TarEntry {
  const { path, major = 0, minor = 0 } = entry;
  for (const part of path.split('/')) {
    if (part.startsWith('.wh.'))
      // why: in a layer such a name would delete a file of the base instead of being one.
      throw invalid(path, 'a name that means a deletion in images', 'unpack it with RUN tar instead');
    if (part.length > NAME_MAX)
      throw invalid(path, `a name of ${part.length} bytes: ${NAME_MAX} are the most`);
  }
  if (major > MAJOR_MAX || minor > MINOR_MAX)
    throw invalid(path, `a device ${major}:${minor}, which Linux does not have`);
  const capability = xattrs?.get(CAPABILITY);
  if (capability === undefined) return entry;
  if (capability.byteLength > CAPABILITY_MAX)
    throw invalid(path, `a file with capabilities of ${capability.byteLength} bytes`);
  return { ...entry, xattrs: new Map([[CAPABILITY, Uint8Array.from(capability)]]) };
}

function invalid(path: ByteString, what: string, hint?: string): TsbuildError {
  const name = toText(path);
  const shown = JSON.stringify(name.length > 300 ? `${name.slice(0, 300)}…` : name);
  return new TsbuildError('ARCHIVE_INVALID', `the archive holds ${shown}, ${what}`, {
    ...(hint === undefined ? {} : { hint }),
  });
}
