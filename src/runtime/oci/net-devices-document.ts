/** `linux.netDevices` of a config. Spec: OCI runtime-spec v1.3, config-linux.md "Network Devices". */
import { TsbuildError } from '../../base/errors.ts';
import type { NetDevice } from '../runtime.ts';
import type { Fields } from './fields.ts';
import { choiceOf, type Namespaces } from './namespaces-document.ts';

/** What the kernel takes for a name: IFNAMSIZ, no slash, no colon, nothing blank. */
const NAME = /^(?!\.{1,2}$)[^/:\s]{1,15}$/;

/** Throws SPEC_INVALID. */
export function netDevicesOf(linux: Fields, namespaces: Namespaces): readonly NetDevice[] {
  const given = linux.fields('netDevices');
  const devices = Object.keys(given.object).map((name): NetDevice => {
    const inside = given.fields(name).text('name') ?? '';
    return { name, inside: inside === '' ? name : inside };
  });
  if (devices.length > 0 && choiceOf(namespaces, 'network') === 'host')
    throw new TsbuildError('SPEC_INVALID', 'unable to move network devices without a private NET namespace');
  for (const name of devices.flatMap((device) => [device.name, device.inside]))
    if (!NAME.test(name))
      throw new TsbuildError('SPEC_INVALID', `invalid network device name ${JSON.stringify(name)}`);
  const names = new Set(devices.map(({ inside }) => inside));
  if (names.size < devices.length)
    throw new TsbuildError('SPEC_INVALID', `${linux.nameOf('netDevices')} has a name twice`);
  return devices;
}
