/** Limits and weights of block devices as files of cgroup v1 and v2. Pure. */
import { ioWeightOfBlkio } from './conversions.ts';
import type { BlockIOResources, DeviceNumber, DeviceRate } from './resources.ts';
import { value, type FileValue } from './file-value.ts';

const RATES = [
  ['throttleReadBpsDevice', 'blkio.throttle.read_bps_device', 'rbps'],
  ['throttleWriteBpsDevice', 'blkio.throttle.write_bps_device', 'wbps'],
  ['throttleReadIOPSDevice', 'blkio.throttle.read_iops_device', 'riops'],
  ['throttleWriteIOPSDevice', 'blkio.throttle.write_iops_device', 'wiops'],
] as const;

export function valuesOfBlockIO(blockIO: BlockIOResources, version: 1 | 2 | undefined): readonly FileValue[] {
  return [...weights(blockIO, version), ...rates(blockIO, version)];
}

const nameOf = ({ major, minor }: DeviceNumber): string => `${major}:${minor}`;

/** Files differ with the scheduler of the device: BFQ has its own, and CFQ went with kernel 5.0. */
function weights(blockIO: BlockIOResources, version: 1 | 2 | undefined): readonly FileValue[] {
  const { weight, leafWeight, weightDevice } = blockIO;
  const set = (subject: string, prefix: string, v1: string, amount: number | undefined): FileValue[] => {
    if (amount === undefined || amount === 0) return [];
    const bfq = `${prefix}${amount}`;
    return [
      version === 2
        ? value(
            `blockIO.${subject}`,
            'blkio',
            ['io.bfq.weight', bfq],
            ['io.weight', `${prefix === '' ? 'default ' : prefix}${ioWeightOfBlkio(amount)}`],
          )
        : value(`blockIO.${subject}`, 'blkio', [`blkio.${v1}`, bfq], [`blkio.bfq.${v1}`, bfq]),
    ];
  };
  return [
    ...set('weight', '', 'weight', weight),
    ...(version === 2 ? [] : set('leafWeight', '', 'leaf_weight', leafWeight)),
    ...(weightDevice ?? []).flatMap((device, index) => [
      ...set(`weightDevice[${index}]`, `${nameOf(device)} `, 'weight_device', device.weight),
      ...(version === 2
        ? []
        : set(`weightDevice[${index}]`, `${nameOf(device)} `, 'leaf_weight_device', device.leafWeight)),
    ]),
  ];
}

function rates(blockIO: BlockIOResources, version: 1 | 2 | undefined): readonly FileValue[] {
  return RATES.flatMap(([field, legacy, key]) =>
    (blockIO[field] ?? []).map((device: DeviceRate, index) => {
      const subject = `blockIO.${field}[${index}]`;
      if (version !== 2) return value(subject, 'blkio', [legacy, `${nameOf(device)} ${device.rate}`]);
      return value(subject, 'blkio', [
        'io.max',
        `${nameOf(device)} ${key}=${device.rate === 0 ? 'max' : device.rate}`,
      ]);
    }),
  );
}
