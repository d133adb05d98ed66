/** What RUN may use: `--shm-size`, `--ulimit`, `--memory`, `--cpus` and their kin, as docker's. No part of any key. */
import { availableParallelism } from 'node:os';
import { TsbuildError } from '../../base/errors.ts';
import { suggest } from '../../base/suggest.ts';
import { limitResources } from '../../engine/containers/resources.ts';
import type { Resources } from '../../engine/handlers.ts';
import type { Rlimit } from '../../runtime/runtime.ts';
import { parseSize } from '../../../frontend/lower/run-mounts.ts';
import type { ParsedFlags } from '../flags.ts';
import { readCgroupDriver } from './cgroup-driver.ts';
import { parseLimits } from './run-flags/limits.ts';

const LIMITS: readonly string[] = [
  ...['core', 'cpu', 'data', 'fsize', 'locks', 'memlock', 'msgqueue', 'nice', 'nofile', 'nproc', 'rss'],
  ...['rtprio', 'rttime', 'sigpending', 'stack'],
];
const UNLIMITED = Number.POSITIVE_INFINITY;

/** Throws USAGE. */
export function readResources(
  flags: ParsedFlags,
  env: Readonly<Record<string, string | undefined>>,
): Resources {
  const cgroupDriver = readCgroupDriver(flags, env);
  const size = flags.text('shm-size');
  const parent = flags.text('cgroup-parent');
  const shmSize = size === undefined ? undefined : parseSize(size);
  if (size !== undefined && (shmSize === undefined || shmSize <= 0))
    throw new TsbuildError('USAGE', `invalid --shm-size ${JSON.stringify(size)}`, {
      hint: 'write e.g. 128m',
    });
  return {
    rlimits: flags.list('ulimit').map(parseLimit),
    limits: readLimits(flags),
    ...(shmSize === undefined ? {} : { shmSize }),
    // why: below the root of the hierarchies, as docker has it; not below our own cgroup.
    ...(parent === undefined ? {} : { cgroupParent: cgroupDriver === 'systemd' ? parent : `/${parent}` }),
    ...(cgroupDriver === undefined ? {} : { cgroupDriver }),
  };
}

/** why: 125 is what `run` ends with; a build's command line that makes no sense ends with 2. */
function readLimits(flags: ParsedFlags): Resources['limits'] & object {
  try {
    return limitResources(parseLimits(flags, availableParallelism()));
  } catch (error) {
    if (!(error instanceof TsbuildError) || error.exitCode === undefined) throw error;
    const { code, message, hint } = error;
    throw new TsbuildError(code, message, { cause: error, ...(hint === undefined ? {} : { hint }) });
  }
}

function parseLimit(word: string): Rlimit {
  const fail = (message: string, hint: string): TsbuildError =>
    new TsbuildError('USAGE', `invalid --ulimit ${JSON.stringify(word)}: ${message}`, { hint });
  const match = /^([a-z]+)=(-1|\d{1,15}|unlimited)(?::(-1|\d{1,15}|unlimited))?$/.exec(word);
  const [, name = '', softText = '', hardText = softText] = match ?? [];
  if (match === null) throw fail('it is not NAME=SOFT[:HARD]', 'write e.g. nofile=1024:4096');
  if (!LIMITS.includes(name)) {
    const near = suggest(name, LIMITS);
    throw fail(
      `unknown limit ${JSON.stringify(name)}`,
      near === undefined ? `use one of ${LIMITS.join(', ')}` : `did you mean ${near}?`,
    );
  }
  const [soft, hard] = [parseValue(softText), parseValue(hardText)];
  if (soft > hard) throw fail('the soft limit is above the hard one', 'write SOFT:HARD');
  return { type: `RLIMIT_${name.toUpperCase()}`, soft, hard };
}

function parseValue(text: string): number {
  return text === 'unlimited' || text === '-1' ? UNLIMITED : Number(text);
}
