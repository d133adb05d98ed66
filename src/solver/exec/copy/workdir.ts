/** WORKDIR: the directories on the way to the working directory, made where they are missing. */
import { toByteString, toText, type ByteString } from '../../../base/byte-string.ts';
import { TsbuildError } from '../../../base/errors.ts';
import type { CopyOp } from '../../../graph/ops.ts';
import type { Tree } from '../../../layer/tree.ts';
import { resolveWorkdirUser } from '../../../oci/user.ts';
import { readOwnerFiles } from '../owner-files.ts';
import type { LayerPlan } from './layer-plan.ts';

/** Also those that `..` leaves. `mtime` in seconds. */
export function planWorkdir(
  op: CopyOp,
  plan: LayerPlan,
  parent: Tree,
  mtime: number,
  warn: (message: string) => void,
): void {
  const names = op.destination.split('/');
  const paths = names
    .flatMap((name, index) => (name === '..' ? [names.slice(0, index).join('/')] : []))
    .concat(op.destination)
    .map((written) => parent.resolve(toByteString(written)))
    .filter((path) => isMissing(parent, path));
  if (paths.length === 0) return;
  const user = op.workdirUser ?? '';
  const owner = resolveWorkdirUser(user, readOwnerFiles(parent), (name) =>
    warn(`WORKDIR: the image has no user ${JSON.stringify(name)}; the directory will belong to root`),
  );
  for (const path of paths) plan.ensureDirectories(path, { owner, mode: 0o755, mtime }, true);
}

function isMissing(parent: Tree, path: ByteString): boolean {
  const there = path === '' ? undefined : parent.lstat(path);
  if (there !== undefined && there.type !== 'directory')
    throw new TsbuildError(
      'COPY_DESTINATION_INVALID',
      `WORKDIR ${JSON.stringify(`/${toText(path)}`)} is not a directory in the image`,
    );
  return path !== '' && there === undefined;
}
