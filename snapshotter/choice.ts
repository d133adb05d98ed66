/**
 * Which driver this machine can have, and why.
 *
 * What was found is noted, with the circumstances that it depends on: the boot and the user namespace. A note that says
 * yes is believed; where it says no the way is tried again by whoever wants to know it exactly (`doctor`).
 */
import { closeSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { openOverlayRoot } from '../native/overlay.ts';
import { writeFileAtomic } from '../src/base/atomic-file.ts';
import { TsbuildError } from '../src/base/errors.ts';
import type { Host } from '../src/base/host.ts';
import { isJsonObject } from '../src/base/json.ts';
import { isBtrfs } from './btrfs.ts';
import { DRIVERS, type Driver } from './driver.ts';
import { askFuse } from './fuse-overlayfs.ts';
import { makeProbeDirectories } from './probe-directories.ts';
import { tryErofs, type ErofsAnswer, type ErofsSupport } from './erofs-probe.ts';

export interface ChoiceOptions {
  /** Directory of all drivers. */
  readonly root: string;
  readonly host: Host;
}

export interface Choice {
  readonly driver: Driver;
  /** How, and why none that is better: one line for each. */
  readonly reasons: readonly string[];
}

/** `isFresh`: what was noted does not count. */
export async function chooseDriver(options: ChoiceOptions, isFresh = false): Promise<Choice> {
  const erofs = await askErofs(options, isFresh);
  if (erofs.usable) return { driver: 'erofs', reasons: [describeSupport(erofs.support)] };
  const reasons = [`erofs cannot be used: ${erofs.reason}`];
  const overlay = askOverlay(options);
  if (overlay === undefined) return { driver: 'overlay', reasons };
  reasons.push(`overlay cannot be used: ${overlay}`);
  const fuse = askFuse(options);
  if (fuse === undefined) return { driver: 'fuse-overlayfs', reasons };
  return { driver: 'copy', reasons: [...reasons, `fuse-overlayfs cannot be used: ${fuse}`] };
}

/** Drivers that work here besides the chosen one, where --storage-driver asks for them. */
export function otherDrivers(options: ChoiceOptions, chosen: Driver): readonly Driver[] {
  const works: Readonly<Record<Driver, () => boolean>> = {
    // It would have been chosen.
    erofs: () => false,
    overlay: () => askOverlay(options) === undefined,
    'fuse-overlayfs': () => askFuse(options) === undefined,
    btrfs: () => isBtrfs(options.root),
    copy: () => true,
  };
  return DRIVERS.filter((driver) => driver !== chosen && works[driver]());
}

export function describeSupport({ device, attached }: ErofsSupport): string {
  const what = device === 'file' ? 'mounts layers from their files' : 'mounts layers from loop devices';
  return attached ? `${what}, attached for each overlay` : what;
}

/** Throws KERNEL_UNSUPPORTED. */
export async function erofsSupport(options: ChoiceOptions): Promise<ErofsSupport> {
  const noted = readNote(options);
  const answer = noted?.usable === true ? noted : await askErofs(options, true);
  if (answer.usable) return answer.support;
  throw new TsbuildError('KERNEL_UNSUPPORTED', `this machine does not mount EROFS images: ${answer.reason}`, {
    hint: 'leave --storage-driver out, or take overlay',
  });
}

const noteOf = ({ root }: ChoiceOptions): string => join(root, 'overlay', 'erofs.json');

async function askErofs(options: ChoiceOptions, isFresh: boolean): Promise<ErofsAnswer> {
  const noted = isFresh ? undefined : readNote(options);
  if (noted !== undefined) return noted;
  const answer = await tryErofs(join(options.root, 'overlay', 'staging', options.host.unique()));
  const circumstances = describeCircumstances();
  writeFileAtomic(options.host, noteOf(options), JSON.stringify({ circumstances, ...answer }), {
    mode: 0o600,
  });
  return answer;
}

function readNote(options: ChoiceOptions): ErofsAnswer | undefined {
  let note: unknown;
  try {
    note = JSON.parse(readFileSync(noteOf(options), 'utf8'));
  } catch {
    return undefined;
  }
  if (!isJsonObject(note) || note['circumstances'] !== describeCircumstances()) return undefined;
  const { usable, reason, support } = note;
  if (usable === false) return { usable, reason: typeof reason === 'string' ? reason : '' };
  if (usable !== true || !isJsonObject(support)) return undefined;
  const { device, attached } = support;
  if ((device !== 'file' && device !== 'loop') || typeof attached !== 'boolean') return undefined;
  return { usable, support: { device, attached } };
}

/** What was tried in another way does not count. */
const NOTE_VERSION = 2;

function describeCircumstances(): string {
  return `${NOTE_VERSION} ${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()} ${readlinkSync('/proc/self/ns/user')}`;
}

/** Tried with empty directories, one of them to write to: file systems may be good for others alone. undefined: it works. */
export function askOverlay({ root, host }: ChoiceOptions): string | undefined {
  const probe = join(root, 'overlay', 'staging', host.unique());
  try {
    const { lower, upper, work } = makeProbeDirectories(probe);
    closeSync(openOverlayRoot([lower], upper, work));
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    rmSync(probe, { recursive: true, force: true });
  }
}
