/**
 * The host's /sys, for a user namespace without a network namespace of its own: the kernel shows sysfs only to who may
 * do everything in the network namespace.
 */
import { PROPAGATION } from '../../../native/plan-ops.ts';
import type { Attachment } from '../runtime.ts';
import type { Fields } from './fields.ts';
import { parseMountOptions, type MountOptions } from './mount-options.ts';
import { choiceOf, type Namespaces } from './namespaces-document.ts';

type Mount = Attachment & { readonly kind: 'attach' };

export function borrowsSys(namespaces: Namespaces): boolean {
  const [user, network] = [choiceOf(namespaces, 'user'), choiceOf(namespaces, 'network')];
  return network === 'host' ? user !== 'host' : network !== 'new' && user === 'new';
}

export function isSysfs(mount: Fields): boolean {
  return mount.text('type') === 'sysfs' && !parseMountOptions(mount.texts('options')).bind;
}

/** why: with the host's /sys come its cgroups, which are none of the container's. */
export const NO_CGROUPS: Mount = {
  ...({ kind: 'attach', type: 'tmpfs', source: 'tmpfs', target: '/sys/fs/cgroup' } as const),
  ...{ bind: false, recursive: false, copyUp: false, remount: false },
  ...{ set: 0x0f, clear: 0, setBelow: 0, clearBelow: 0, propagation: 0 },
  options: [['mode', '0755']],
};

/** All that is mounted below it is read-only. */
export function borrowedSys(target: string, { set }: MountOptions): Mount {
  return {
    ...({ kind: 'attach', type: 'none', source: '/sys', target } as const),
    ...{ bind: true, recursive: true, copyUp: false, remount: false, outside: true },
    ...{ set, clear: 0, setBelow: set | 1, clearBelow: 0, options: [] },
    propagation: PROPAGATION.private | PROPAGATION.recursive,
  };
}
