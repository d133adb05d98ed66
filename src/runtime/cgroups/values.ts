/**
 * What is written into which file, in which order, for given resources. Pure.
 */
import { TsbuildError } from '../../base/errors.ts';
import { value, type FileValue, type VersionOf } from './file-value.ts';
import type { Resources } from './resources.ts';
import { valuesOfBlockIO } from './values-io.ts';
import { valuesOfCpu } from './values-cpu.ts';
import { valuesOfMemory } from './values-memory.ts';

/** Throws SPEC_INVALID for what makes no sense, KERNEL_UNSUPPORTED where no hierarchy has the controller. */
export function valuesOf(resources: Resources, versionOf: VersionOf): readonly FileValue[] {
  const values = [
    ...valuesOfMemory(resources.memory ?? {}, versionOf('memory')),
    ...valuesOfCpu(resources.cpu ?? {}, versionOf),
    ...valuesOfPids(resources.pids),
    ...valuesOfBlockIO(resources.blockIO ?? {}, versionOf('blkio')),
    ...valuesOfHugepages(resources.hugepageLimits ?? [], versionOf('hugetlb')),
    ...valuesOfNetwork(resources.network ?? {}),
    ...valuesOfRdma(resources.rdma ?? {}),
  ];
  for (const { subject, controller, optional } of values)
    if (versionOf(controller) === undefined && optional !== true) throw missing(subject, controller);
  return [
    ...values.filter(({ controller }) => versionOf(controller) !== undefined),
    ...valuesOfUnified(resources.unified ?? {}, versionOf),
  ];
}

function missing(subject: string, controller: string): TsbuildError {
  return new TsbuildError(
    'KERNEL_UNSUPPORTED',
    `cannot set ${subject}: no cgroup hierarchy of this machine has the controller ${JSON.stringify(controller)}`,
    { hint: 'leave that limit out, or enable the controller (kernel command line, /sys/fs/cgroup)' },
  );
}

function valuesOfPids(pids: Resources['pids']): readonly FileValue[] {
  const limit = pids?.limit;
  return limit === undefined ? [] : [value('pids.limit', 'pids', ['pids.max', limit <= 0 ? 'max' : limit])];
}

function valuesOfHugepages(
  limits: NonNullable<Resources['hugepageLimits']>,
  version: 1 | 2 | undefined,
): readonly FileValue[] {
  return limits.flatMap(({ pageSize, limit }, index) => {
    if (!/^[0-9]+[KMG]B$/.test(pageSize))
      throw new TsbuildError('SPEC_INVALID', `invalid page size ${JSON.stringify(pageSize)}`, {
        hint: 'write it as in /sys/fs/cgroup, e.g. 2MB',
      });
    const file = version === 1 ? 'limit_in_bytes' : 'max';
    const subject = `hugepageLimits[${index}]`;
    return [
      value(subject, 'hugetlb', [`hugetlb.${pageSize}.${file}`, limit]),
      // Reservations, which fail early instead of with SIGBUS; kernel >= 5.7.
      { ...value(subject, 'hugetlb', [`hugetlb.${pageSize}.rsvd.${file}`, limit]), optional: true },
    ];
  });
}

function valuesOfNetwork({ classID, priorities }: NonNullable<Resources['network']>): readonly FileValue[] {
  return [
    ...(classID === undefined || classID === 0
      ? []
      : [value('network.classID', 'net_cls', ['net_cls.classid', classID])]),
    ...(priorities ?? []).map(({ name, priority }, index) =>
      value(`network.priorities[${index}]`, 'net_prio', ['net_prio.ifpriomap', `${name} ${priority}`]),
    ),
  ];
}

function valuesOfRdma(rdma: NonNullable<Resources['rdma']>): readonly FileValue[] {
  return Object.entries(rdma).map(([device, { hcaHandles, hcaObjects }]) =>
    value(`rdma.${device}`, 'rdma', [
      'rdma.max',
      [
        device,
        ...(hcaHandles === undefined ? [] : [`hca_handle=${hcaHandles}`]),
        ...(hcaObjects === undefined ? [] : [`hca_object=${hcaObjects}`]),
      ].join(' '),
    ]),
  );
}

/** Pseudo controller: files that every v2 cgroup has. */
const CORE = 'cgroup';

function valuesOfUnified(
  unified: NonNullable<Resources['unified']>,
  versionOf: VersionOf,
): readonly FileValue[] {
  return Object.entries(unified).flatMap(([file, text]) => {
    if (!/^[a-z0-9_]+(\.[A-Za-z0-9_]+)+$/.test(file))
      throw new TsbuildError('SPEC_INVALID', `invalid name of a cgroup file: ${JSON.stringify(file)}`);
    const name = file.slice(0, file.indexOf('.'));
    const controller = name === 'io' ? 'blkio' : name;
    const subject = `unified.${file}`;
    if (versionOf(controller === CORE ? 'freezer' : controller) !== 2) {
      if (controller === CORE) throw missing(subject, CORE);
      throw new TsbuildError(
        'KERNEL_UNSUPPORTED',
        `cannot set ${subject}: the controller ${JSON.stringify(name)} is in no cgroup v2 hierarchy of this machine`,
        { hint: 'use the field of linux.resources that stands for it' },
      );
    }
    // A file that takes one key at a time gets one write for each line.
    return text
      .split('\n')
      .filter(Boolean)
      .map((line) => value(subject, controller, [file, line]));
  });
}
