/** Pausing everything in a cgroup. Specs: cgroup-v1/freezer-subsystem.rst; cgroup-v2.rst, cgroup.freeze. */
import { setTimeout as sleep } from 'node:timers/promises';
import { TsbuildError } from '../../base/errors.ts';
import { directoryOf, type CgroupPlace } from './cgroup.ts';
import { cgroupError, readCgroupFile, tryWrite } from './files.ts';
import { holderOf } from './hierarchies.ts';

type State = 'frozen' | 'thawed';

interface Freezer {
  readonly file: string;
  readonly version: 1 | 2;
  readonly state: () => State;
}

function freezerOf(place: CgroupPlace): Freezer | undefined {
  const holder = holderOf(place, 'freezer');
  if (holder === undefined) return undefined;
  const directory = directoryOf(holder);
  if (holder.version === 1) {
    const file = `${directory}/freezer.state`;
    return { file, version: 1, state: () => (readCgroupFile(file) === 'FROZEN' ? 'frozen' : 'thawed') };
  }
  return {
    file: `${directory}/cgroup.freeze`,
    version: 2,
    state: () =>
      /^frozen 1$/m.test(readCgroupFile(`${directory}/cgroup.events`) ?? '') ? 'frozen' : 'thawed',
  };
}

const ROUNDS = 500;

/**
 * Resolves when every process has stopped. Throws CGROUP_FAILED where they do not within some seconds (a process in
 * an uninterruptible wait); what was frozen goes on then. KERNEL_UNSUPPORTED without a freezer.
 */
export async function freeze(place: CgroupPlace): Promise<void> {
  const freezer = required(place);
  for (let round = 0; round < ROUNDS; round += 1) {
    write(freezer, 'frozen');
    if (freezer.state() === 'frozen') return;
    // why: v1 can hang in FREEZING when a process forks at the wrong moment; a short thaw lets it go on.
    if (freezer.version === 1 && round % 50 === 49) write(freezer, 'thawed');
    await sleep(round < 20 ? 1 : 10);
  }
  write(freezer, 'thawed');
  throw cgroupError('pause the container: its processes do not stop', freezer.file, 'EBUSY');
}

export async function thaw(place: CgroupPlace): Promise<void> {
  const freezer = freezerOf(place);
  if (freezer === undefined || readCgroupFile(freezer.file) === undefined) return;
  write(freezer, 'thawed');
  for (let round = 0; round < ROUNDS && freezer.state() === 'frozen'; round += 1) await sleep(1);
}

export function isFrozen(place: CgroupPlace): boolean {
  return freezerOf(place)?.state() === 'frozen';
}

function required(place: CgroupPlace): Freezer {
  const freezer = freezerOf(place);
  if (freezer !== undefined) return freezer;
  throw new TsbuildError(
    'KERNEL_UNSUPPORTED',
    'cannot pause: no cgroup hierarchy of this machine has a freezer',
    {
      hint: 'mount cgroup2, or the v1 hierarchy "freezer"',
    },
  );
}

function write({ file, version }: Freezer, state: State): void {
  const text = version === 1 ? (state === 'frozen' ? 'FROZEN' : 'THAWED') : state === 'frozen' ? '1' : '0';
  const refused = tryWrite(file, text);
  if (refused !== undefined)
    throw cgroupError(state === 'frozen' ? 'pause the container' : 'resume the container', file, refused);
}
