/** From resources to a cgroup's description: which hierarchies, which directories, which values. Pure. */
import { posix } from 'node:path';
import { TsbuildError } from '../../base/errors.ts';
import type { PlanOp } from '../../../native/plan-ops.ts';
import { directoryOf, type CgroupDescription, type CgroupPlace, type PlaceInHierarchy } from './cgroup.ts';
import { compileDeviceProgram } from './device-program.ts';
import { isDeviceRule, ruleText } from './device-rules.ts';
import type { FileValue } from './file-value.ts';
import { holderOf, type Hierarchies, type Hierarchy } from './hierarchies.ts';
import { joinCgroup } from './join.ts';
import { DEFAULT_PARENT } from './remove.ts';
import type { DeviceRule, Resources } from './resources.ts';
import { valuesOf } from './values.ts';

export interface CgroupRequest {
  readonly hierarchies: Hierarchies;
  /** `/a/b`: below each mount point; `a/b`: below our own cgroup. */
  readonly path: string;
  readonly resources: Resources;
  /**
   * `all`: the container is a member of every hierarchy. `needed`: of those alone that limit something, tell of
   * memory, or can kill everything at once; what a build step needs, at a third of the price.
   */
  readonly membership: 'all' | 'needed';
  /** Before the subjects of errors, e.g. `linux.resources.`. */
  readonly subject?: string;
  /** Other processes may be in it. */
  readonly shared?: boolean;
  /** Its program wants to be SCHED_FIFO or SCHED_RR. */
  readonly isRealtime?: boolean;
}

/** Throws SPEC_INVALID, KERNEL_UNSUPPORTED. Without any hierarchy the description is empty. */
export function describeCgroup(request: CgroupRequest): CgroupDescription {
  const { hierarchies, resources, subject = '' } = request;
  const values = valuesOf(resources, (controller) => holderOf(hierarchies, controller)?.version);
  const devices = (resources.devices ?? []).filter(isDeviceRule);
  const place = placeOf(request, values, devices);
  const entry = joinCgroup(place);
  return {
    place,
    before: [
      ...makeOps(place, values, request.shared === true),
      ...realtimeOps(place, request),
      ...values.flatMap((each) => writeOps(place, each, subject)),
      ...deviceOps(place, devices, `${subject}devices`),
      ...entry.before,
    ],
    inside: entry.inside,
  };
}

/** The path of a cgroup in a hierarchy. Throws SPEC_INVALID for one that leads elsewhere. */
export function cgroupPath(path: string, self: string): string {
  const parts = (path.startsWith('/') ? path : `${self}/${path}`).split('/').filter((part) => part !== '');
  for (const part of parts)
    if (part === '.' || part === '..' || part.length > 255 || /[\0\n]/.test(part))
      throw new TsbuildError('SPEC_INVALID', `invalid path of a cgroup: ${JSON.stringify(path)}`, {
        hint: 'write it without "." and "..", as it stands below /sys/fs/cgroup',
      });
  return `/${parts.join('/')}`;
}

function placeOf(
  { hierarchies, path, membership }: CgroupRequest,
  values: readonly FileValue[],
  devices: readonly DeviceRule[],
): CgroupPlace {
  const wanted = new Set(['memory', ...values.map(({ controller }) => controller)]);
  if (devices.length > 0) wanted.add('devices');
  const isWanted = ({ controllers }: Hierarchy): boolean =>
    membership === 'all' || controllers.some((controller) => wanted.has(controller));
  const at = ({ self, ...hierarchy }: Hierarchy): PlaceInHierarchy => ({
    ...hierarchy,
    path: cgroupPath(path, self),
  });
  const { v1, unified } = hierarchies;
  return {
    driver: 'cgroupfs',
    v1: v1.filter(isWanted).map(at),
    ...(unified === undefined ? {} : { unified: at(unified) }),
  };
}

const V2_NAMES: Readonly<Record<string, string>> = { blkio: 'io' };

/** What every container's cgroup tells of, where the machine lets it. */
const TOLD = ['cpu', 'memory', 'pids', 'io', 'cpuset'];

function makeOps(place: CgroupPlace, values: readonly FileValue[], shared: boolean): readonly PlanOp[] {
  const make = (each: PlaceInHierarchy): PlanOp => ({
    op: 'cgroupMake',
    subject: 'cgroup',
    mountPoint: each.mountPoint,
    path: each.path,
    cpuset: each.version === 1 && each.controllers.includes('cpuset'),
    shared,
  });
  const { v1, unified } = place;
  if (unified === undefined) return v1.map(make);
  const held = values.filter(({ controller }) => holderOf(place, controller) === unified);
  const required = new Set(
    held
      .filter(({ controller }) => controller !== 'cgroup')
      .map(({ controller }) => V2_NAMES[controller] ?? controller),
  );
  return [
    ...v1.map(make),
    make(unified),
    {
      op: 'cgroupEnable',
      subject: 'cgroup',
      mountPoint: unified.mountPoint,
      path: unified.path.slice(0, unified.path.lastIndexOf('/')) || '/',
      required: [...required],
      optional: unified.controllers.filter((name) => TOLD.includes(name) && !required.has(name)),
    },
  ];
}

/** Of a second, for who asks for realtime and does not say how much: a tenth, since all have less than one. */
const REALTIME_SHARE = 100_000;

/** v1 gives a new cgroup none, and so does our parent of all containers. */
function realtimeOps(place: CgroupPlace, { resources, isRealtime }: CgroupRequest): readonly PlanOp[] {
  const { realtimeRuntime = 0, realtimePeriod = 0 } = resources.cpu ?? {};
  const holder = holderOf(place, 'cpu');
  const runtime = realtimeRuntime > 0 || isRealtime !== true ? realtimeRuntime : REALTIME_SHARE;
  if (runtime <= 0 || holder?.version !== 1) return [];
  const isOurs = posix.dirname(holder.path) === DEFAULT_PARENT;
  return [
    {
      ...{ op: 'cgroupRealtime', subject: 'realtime', directory: directoryOf(holder) },
      parent: isOurs ? posix.dirname(directoryOf(holder)) : '',
      ...{ runtime, period: realtimePeriod },
    },
  ];
}

/** The place that holds a value's file. */
export function placeOfValue(place: CgroupPlace, { controller }: FileValue): PlaceInHierarchy | undefined {
  return controller === 'cgroup' ? place.unified : holderOf(place, controller);
}

function writeOps(place: CgroupPlace, value: FileValue, prefix: string): readonly PlanOp[] {
  const holder = placeOfValue(place, value);
  if (holder === undefined) return [];
  const directory = directoryOf(holder);
  return [
    {
      op: 'cgroupWrite',
      subject: `${prefix}${value.subject}`,
      choices: value.choices.map(([file, text]) => [`${directory}/${file}`, text] as const),
      optional: value.optional === true,
    },
  ];
}

function deviceOps(place: CgroupPlace, rules: readonly DeviceRule[], subject: string): readonly PlanOp[] {
  const holder = holderOf(place, 'devices');
  if (rules.length === 0 || holder === undefined) return [];
  const directory = directoryOf(holder);
  if (holder.version === 2)
    return [{ op: 'cgroupDevices', subject, directory, program: compileDeviceProgram(rules) }];
  return rules.map((rule, index) => ({
    op: 'cgroupWrite',
    subject: `${subject}[${index}]`,
    choices: [[`${directory}/devices.${rule.allow ? 'allow' : 'deny'}`, ruleText(rule)]],
    optional: false,
  }));
}
