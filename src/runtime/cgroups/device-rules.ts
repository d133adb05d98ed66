/** Which devices a container may make and open: rules of the config, and what everybody may. Pure. */
import { TsbuildError } from '../../base/errors.ts';
import type { DeviceRule } from './resources.ts';

const open = (type: 'b' | 'c', major: number, minor: number): DeviceRule => ({
  allow: true,
  type,
  major,
  minor,
  access: 'rwm',
});

/** Making any node is harmless, opening it is not; then null, zero, full, tty, random, urandom, console, ptmx and ptys. */
export const DEFAULT_DEVICES: readonly DeviceRule[] = [
  { allow: true, type: 'c', access: 'm' },
  { allow: true, type: 'b', access: 'm' },
  open('c', 1, 3),
  open('c', 1, 5),
  open('c', 1, 7),
  open('c', 1, 8),
  open('c', 1, 9),
  open('c', 5, 0),
  open('c', 5, 1),
  open('c', 5, 2),
  { allow: true, type: 'c', major: 136, access: 'rwm' },
];

export const NO_DEVICES: DeviceRule = { allow: false, access: 'rwm' };
export const ALL_DEVICES: DeviceRule = { allow: true, access: 'rwm' };

/** Rules of a container of ours: nothing but the usual ones and what it was given; or everything. */
export function containerDevices(
  given: readonly DeviceRule[],
  { privileged }: { readonly privileged: boolean },
): readonly DeviceRule[] {
  return privileged ? [ALL_DEVICES] : [NO_DEVICES, ...DEFAULT_DEVICES, ...given];
}

/**
 * Rules of an OCI config: the usual devices come after them, as every runtime has it, since /dev must be made, and
 * what `more` says comes last.
 */
export function configDevices(
  given: readonly DeviceRule[],
  more: readonly DeviceRule[] = [],
): readonly DeviceRule[] {
  return [...given, ...DEFAULT_DEVICES, ...more];
}

/** One rule as devices.allow and devices.deny of v1 take it. Spec: cgroup-v1/devices.rst. */
export function ruleText(rule: DeviceRule): string {
  const { type = 'a', access } = checkRule(rule);
  if (type === 'a') return 'a';
  const number = (value: number | undefined): string => (value === undefined || value < 0 ? '*' : `${value}`);
  return `${type === 'u' ? 'c' : type} ${number(rule.major)}:${number(rule.minor)} ${access}`;
}

/** Whether a rule speaks of devices at all: a pipe is none. */
export function isDeviceRule({ type }: DeviceRule): boolean {
  return type !== 'p';
}

/** Throws SPEC_INVALID. */
export function checkRule(rule: DeviceRule): DeviceRule & { readonly access: string } {
  const access = rule.access === undefined || rule.access === '' ? 'rwm' : rule.access;
  if (!/^[rwm]{1,3}$/.test(access))
    throw new TsbuildError('SPEC_INVALID', `invalid access ${JSON.stringify(access)} in a rule for devices`, {
      hint: 'use r, w and m',
    });
  for (const number of [rule.major ?? 0, rule.minor ?? 0])
    if (!Number.isInteger(number) || number < -1 || number > 0xffffffff)
      throw new TsbuildError('SPEC_INVALID', `invalid device number ${number} in a rule for devices`);
  return { ...rule, access };
}
