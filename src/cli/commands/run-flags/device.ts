/** `--device HOST[:CONTAINER[:rwm]]` and `--device-cgroup-rule`. Source: docker/cli, container/opts.go, parseDevice. */
import type { DeviceRequest, DeviceRuleRequest } from '../../../runtime/container-options.ts';
import { badFlag } from './bad-flag.ts';
import { cleanPath } from './fields.ts';

/** Throws USAGE. */
export function parseDevice(text: string): DeviceRequest {
  const parts = text.split(':');
  const fail = (reason: string, hint?: string): never => {
    throw badFlag('--device', text, reason, hint);
  };
  if (parts.length > 3 || parts.includes(''))
    fail(`invalid device specification: ${text}`, 'write HOST[:CONTAINER[:rwm]]');
  const [source = '', second = source, third = 'rwm'] = parts;
  const isMode = parts.length === 2 && /^[rwm]+$/.test(second);
  const access = isMode ? second : third;
  if (!/^[rwm]{1,3}$/.test(access) || new Set(access).size < access.length)
    fail(`bad mode specified: ${access}`, 'use r, w and m');
  const path = (given: string): string => cleanPath(given) ?? fail(`${given} is not an absolute path`);
  return { source: path(source), target: path(isMode ? source : second), access };
}

/** `c 1:3 rwm`, `*` for all numbers. Throws USAGE. */
export function parseDeviceRule(text: string): DeviceRuleRequest {
  const match = /^([acb]) (\d{1,9}|\*):(\d{1,9}|\*) ([rwm]{1,3})$/.exec(text);
  if (match === null)
    throw badFlag(
      '--device-cgroup-rule',
      text,
      `invalid device cgroup format '${text}'`,
      'write e.g. "c 1:3 rwm"',
    );
  const [, type, major = '*', minor = '*', access = ''] = match;
  return {
    type: type as 'a' | 'b' | 'c',
    ...(major === '*' ? {} : { major: Number(major) }),
    ...(minor === '*' ? {} : { minor: Number(minor) }),
    access,
  };
}
