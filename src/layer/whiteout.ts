/**
 * Whiteouts: how a layer's tar says "the parent's entry is gone".
 *
 * `.wh.<name>` deletes `<name>`; `.wh..wh..opq` hides everything that the parents have in that directory. Other
 * `.wh..wh.` names are AUFS metadata and mean nothing. Inside snapshots a deletion is a 0:0 character device and
 * an opaque directory an xattr, as overlayfs has them; the two forms meet at the tar boundary alone.
 *
 * Spec: OCI image-spec v1.1.1, layer.md, "Whiteouts"; kernel Documentation/filesystems/overlayfs.rst.
 */
import { toText, type ByteString } from '../base/byte-string.ts';
import { TsbuildError } from '../base/errors.ts';
import type { Directory, EntryStat } from './tree.ts';

const PREFIX = '.wh.';
const META_PREFIX = '.wh..wh.';
/** An entry of a directory that hides what the parents have in it. */
export const OPAQUE_NAME = '.wh..wh..opq';

export const OPAQUE_XATTR = 'trusted.overlay.opaque';

export type WhiteoutMeaning =
  | { readonly kind: 'delete'; readonly name: ByteString }
  | { readonly kind: 'opaque' }
  | { readonly kind: 'ignore' };

/** undefined: an ordinary name. */
export function whiteoutMeaning(name: ByteString): WhiteoutMeaning | undefined {
  if (!name.startsWith(PREFIX)) return undefined;
  if (name === OPAQUE_NAME) return { kind: 'opaque' };
  if (name.startsWith(META_PREFIX)) return { kind: 'ignore' };
  const deleted = name.slice(PREFIX.length);
  return deleted === '' || deleted === '.' || deleted === '..'
    ? { kind: 'ignore' }
    : { kind: 'delete', name: deleted };
}

/** Throws ARCHIVE_INVALID: in a layer, what has such a name would delete something else instead of being there. */
export function requireNoWhiteout(path: ByteString): void {
  const name = path.slice(path.lastIndexOf('/') + 1);
  if (name.startsWith(PREFIX))
    throw new TsbuildError(
      'ARCHIVE_INVALID',
      `${JSON.stringify(`/${toText(path)}`)} would be a name that means a deletion in images`,
      { hint: 'give it another name, leave it out, or put it into an archive' },
    );
}

export function whiteoutName(name: ByteString): ByteString {
  return PREFIX + name;
}

/** A deletion, as upper directories have it. */
export function isWhiteout(stat: EntryStat): boolean {
  return stat.type === 'char' && stat.major === 0 && stat.minor === 0;
}

/** `y` alone means opaque: `x` marks directories with whiteouts of another form. */
export function isOpaque(holder: Directory, name: ByteString): boolean {
  return holder.xattr(name, OPAQUE_XATTR)?.[0] === 0x79;
}
