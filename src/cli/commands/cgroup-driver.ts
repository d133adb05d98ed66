/** `--cgroup-driver`, or TSBUILD_CGROUP_DRIVER where it is not given: who makes cgroups, tsbuild itself or systemd. */
import { TsbuildError } from '../../base/errors.ts';
import type { CgroupDriver } from '../../runtime/cgroups/driver.ts';
import type { ParsedFlags } from '../flags.ts';

const VARIABLE = 'TSBUILD_CGROUP_DRIVER';

/** undefined: not chosen. Throws USAGE. */
export function readCgroupDriver(
  flags: Pick<ParsedFlags, 'text'>,
  env: Readonly<Record<string, string | undefined>>,
): CgroupDriver | undefined {
  const given = flags.text('cgroup-driver');
  const text = given ?? env[VARIABLE] ?? '';
  if (text === 'cgroupfs' || text === 'systemd') return text;
  if (text === '' && given === undefined) return undefined;
  throw new TsbuildError(
    'USAGE',
    `invalid ${given === undefined ? VARIABLE : '--cgroup-driver'} ${JSON.stringify(text)}`,
    { hint: 'use cgroupfs or systemd' },
  );
}
