/** `linux.resources` of a config, and what `update --resources` reads: the same shape. */
import type { DeviceRate, DeviceRule, Resources } from '../cgroups/resources.ts';
import { TsbuildError } from '../../base/errors.ts';
import type { Fields } from './fields.ts';

export function parseResources(resources: Fields): Resources {
  const pids = resources.fields('pids').number('limit');
  const network = resources.fields('network');
  const classID = network.number('classID');
  return {
    devices: resources.list('devices').map(deviceRule),
    memory: numbersOf(resources.fields('memory'), [
      ...['limit', 'swap', 'reservation', 'kernel', 'kernelTCP', 'swappiness'],
      ...['disableOOMKiller', 'checkBeforeUpdate'],
    ]),
    cpu: numbersOf(resources.fields('cpu'), [
      ...['shares', 'quota', 'burst', 'period', 'realtimeRuntime', 'realtimePeriod', 'cpus', 'mems', 'idle'],
    ]),
    ...(pids === undefined ? {} : { pids: { limit: pids } }),
    blockIO: blockIO(resources.fields('blockIO')),
    hugepageLimits: resources.list('hugepageLimits').map((each) => ({
      pageSize: each.required('pageSize', each.text('pageSize')),
      limit: each.required('limit', each.number('limit')),
    })),
    network: {
      ...(classID === undefined ? {} : { classID }),
      priorities: network.list('priorities').map((each) => ({
        name: each.required('name', each.text('name')),
        priority: each.required('priority', each.number('priority')),
      })),
    },
    rdma: Object.fromEntries(
      Object.keys(resources.fields('rdma').object).map((name) => [
        name,
        numbersOf(resources.fields('rdma').fields(name), ['hcaHandles', 'hcaObjects']),
      ]),
    ),
    unified: resources.record('unified'),
  };
}

/** The named members that are there; each is a number, a string or a boolean, as its name has it. */
function numbersOf(fields: Fields, names: readonly string[]): Record<string, never> {
  const found: Record<string, unknown> = {};
  for (const name of names) {
    if (!fields.has(name)) continue;
    if (name === 'cpus' || name === 'mems') found[name] = fields.text(name);
    else if (name === 'disableOOMKiller' || name === 'checkBeforeUpdate') found[name] = fields.flag(name);
    else found[name] = fields.number(name);
  }
  return found as Record<string, never>;
}

function blockIO(fields: Fields): NonNullable<Resources['blockIO']> {
  return {
    ...numbersOf(fields, ['weight', 'leafWeight']),
    weightDevice: fields.list('weightDevice').map((each) => ({
      ...numberOf(each),
      ...numbersOf(each, ['weight', 'leafWeight']),
    })),
    throttleReadBpsDevice: rates(fields, 'throttleReadBpsDevice'),
    throttleWriteBpsDevice: rates(fields, 'throttleWriteBpsDevice'),
    throttleReadIOPSDevice: rates(fields, 'throttleReadIOPSDevice'),
    throttleWriteIOPSDevice: rates(fields, 'throttleWriteIOPSDevice'),
  };
}

function numberOf(fields: Fields): { readonly major: number; readonly minor: number } {
  return {
    major: fields.required('major', fields.number('major')),
    minor: fields.required('minor', fields.number('minor')),
  };
}

function rates(fields: Fields, name: string): readonly DeviceRate[] {
  return fields
    .list(name)
    .map((each) => ({ ...numberOf(each), rate: each.required('rate', each.number('rate')) }));
}

const TYPES = ['a', 'b', 'c', 'u', 'p'] as const;

function deviceRule(fields: Fields): DeviceRule {
  const text = fields.text('type');
  const type = TYPES.find((each) => each === (text === undefined || text === '' ? 'a' : text));
  if (type === undefined)
    throw new TsbuildError('SPEC_INVALID', `${fields.nameOf('type')}: unknown type ${JSON.stringify(text)}`);
  const [major, minor, access] = [
    fields.number('major'),
    fields.number('minor'),
    fields.text('access')?.replace(/[^rwm]/g, ''),
  ];
  return {
    allow: fields.flag('allow'),
    type,
    ...(major === undefined || major < 0 ? {} : { major }),
    ...(minor === undefined || minor < 0 ? {} : { minor }),
    ...(access === undefined || access === '' ? {} : { access }),
  };
}
