/**
 * Ranges of ids for containers with a user namespace: no two containers share one, nobody of the host is in one.
 *
 *   ROOT/userns/<n>   `<container>.<owner>`: the n-th range is that container's
 *
 * A claim is a file that is created exclusively; it counts while the container exists, or its maker lives.
 */
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readTextIfExists } from '../../base/atomic-file.ts';
import { namesIn } from '../../base/directory-names.ts';
import { errnoOf, ioError, TsbuildError } from '../../base/errors.ts';
import type { Host } from '../../base/host.ts';
import { isOwnerAlive } from '../../base/owner.ts';

/** Between those of systemd-nspawn and what is reserved (systemd, "Users, Groups, UIDs and GIDs"). */
const FIRST = 0x70000000 - 0x20000000;
export const RANGE_SIZE = 65536;
const RANGES = 4096;

export interface IdRangesOptions {
  /** `ROOT/userns`. */
  readonly root: string;
  readonly host: Host;
  readonly containerExists: (id: string) => boolean;
}

/** The first id of the container's range, the same at every start. Throws SPEC_INVALID (all are taken), IO_FAILED. */
export function claimRange({ root, host, containerExists }: IdRangesOptions, containerID: string): number {
  mkdirSync(root, { recursive: true, mode: 0o700 });
  const isTaken = (text: string): boolean => {
    const dot = text.indexOf('.');
    return containerExists(text.slice(0, dot)) || isOwnerAlive(text.slice(dot + 1));
  };
  const known = namesIn(root).find(
    (name) => readTextIfExists(join(root, name))?.startsWith(`${containerID}.`) === true,
  );
  if (known !== undefined && /^\d+$/.test(known)) return FIRST + Number(known) * RANGE_SIZE;
  for (let n = 0; n < RANGES; n += 1) {
    const claim = join(root, String(n));
    const text = readTextIfExists(claim);
    if (text !== undefined && (isTaken(text) || !takeAway(claim, text, join(root, `${host.unique()}.old`))))
      continue;
    if (create(claim, `${containerID}.${host.unique()}`)) return FIRST + n * RANGE_SIZE;
  }
  throw new TsbuildError('SPEC_INVALID', `all ${RANGES} ranges of ids are taken`, {
    hint: 'remove containers',
  });
}

function create(claim: string, text: string): boolean {
  try {
    writeFileSync(claim, text, { flag: 'wx', mode: 0o600 });
    return true;
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return false;
    throw ioError('claim a range of ids', error);
  }
}

/** Looks again at what it took: somebody may have claimed the range meanwhile, and gets it back. */
function takeAway(claim: string, text: string, away: string): boolean {
  try {
    renameSync(claim, away);
    const isSame = readFileSync(away, 'utf8') === text;
    if (!isSame) linkSync(away, claim);
    rmSync(away, { force: true });
    return isSame;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'EEXIST') return false;
    throw ioError('free a range of ids', error);
  }
}
