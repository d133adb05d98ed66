/**
 * From a process spec to operations: limits, scheduling, identity, filter, program.
 *
 * A filter without no_new_privs needs CAP_SYS_ADMIN, so it is installed before the identity changes; with it, the
 * filter comes last, so that profiles need not allow what only we do.
 */
import { constants } from 'node:os';
import type { PlanOp } from '../../native/plan-ops.ts';
import { TsbuildError } from '../base/errors.ts';
import { ALL_CAPABILITIES, capabilityMask } from './capabilities.ts';
import type { Machine } from './machine.ts';
import type { CapabilitySets, ProcessSpec } from './runtime.ts';
import { compileProfile, filterFlags } from './seccomp/compile-profile.ts';
import { defaultFilter } from './seccomp/default-filter.ts';
import { encodeProgram } from './seccomp/program.ts';

const RLIMITS: Readonly<Record<string, number>> = {
  RLIMIT_CPU: 0,
  RLIMIT_FSIZE: 1,
  RLIMIT_DATA: 2,
  RLIMIT_STACK: 3,
  RLIMIT_CORE: 4,
  RLIMIT_RSS: 5,
  RLIMIT_NPROC: 6,
  RLIMIT_NOFILE: 7,
  RLIMIT_MEMLOCK: 8,
  RLIMIT_AS: 9,
  RLIMIT_LOCKS: 10,
  RLIMIT_SIGPENDING: 11,
  RLIMIT_MSGQUEUE: 12,
  RLIMIT_NICE: 13,
  RLIMIT_RTPRIO: 14,
  RLIMIT_RTTIME: 15,
};

/** Where programs are looked for when the environment does not say. */
const FALLBACK_PATH = '/bin:/usr/bin';

/** What the launcher's parent does: it may what the process itself perhaps may not. */
export function outsideOps(spec: ProcessSpec): readonly PlanOp[] {
  return [
    ...(spec.oomScoreAdj === undefined
      ? []
      : [{ op: 'parentOom', subject: 'oomScoreAdj', score: spec.oomScoreAdj } as const]),
    ...(spec.cgroup?.before ?? []),
    ...(spec.consoleSocket === undefined
      ? []
      : [{ op: 'console', subject: 'console socket', path: spec.consoleSocket } as const]),
    ...(spec.pidfdSocket === undefined
      ? []
      : [{ op: 'pidfd', subject: 'pidfd socket', path: spec.pidfdSocket } as const]),
    ...(spec.streamsOwner === undefined
      ? []
      : [{ op: 'streamsOwner', subject: 'standard streams', ...spec.streamsOwner } as const]),
    ...listenerOps(spec),
  ];
}

/** As many processors as the kernel may be built for. */
const ALL_PROCESSORS = new Uint8Array(1024).fill(0xff);

/** What the process does first of all. */
export function insideOps(spec: ProcessSpec): readonly PlanOp[] {
  const { initialAffinity: wanted } = spec;
  return [
    ...(spec.cgroup?.inside ?? []),
    ...(wanted === undefined
      ? []
      : [
          {
            op: 'affinity',
            subject: 'initial cpu affinity',
            mask: wanted === 'all' ? ALL_PROCESSORS : wanted,
          } as const,
        ]),
  ];
}

function listenerOps({ seccomp }: ProcessSpec): readonly PlanOp[] {
  if (typeof seccomp === 'string' || seccomp.listenerPath === undefined) return [];
  return [
    {
      op: 'listener',
      subject: 'seccomp.listenerPath',
      path: seccomp.listenerPath,
      parts: seccomp.listenerState ?? ['', '', '', ''],
    },
  ];
}

export function terminalOps(spec: ProcessSpec): readonly PlanOp[] {
  if (!spec.terminal) return [];
  const { rows, columns } = spec.consoleSize ?? { rows: 0, columns: 0 };
  return [
    {
      op: 'terminal',
      subject: 'terminal',
      uid: spec.user.uid,
      gid: 5,
      rows,
      columns,
      plain: spec.plainTerminal === true,
    },
  ];
}

/** Limits and scheduling: before a start is waited for, so that a refusal is told by whoever creates. */
export function tuningOps(spec: ProcessSpec): readonly PlanOp[] {
  const must = spec.strictRlimits === true;
  return [
    ...spec.rlimits.map(
      ({ type, soft, hard }) =>
        ({ op: 'rlimit', subject: `rlimit ${type}`, resource: resourceOf(type), soft, hard, must }) as const,
    ),
    ...(spec.scheduling === undefined
      ? []
      : [{ op: 'scheduler', subject: 'scheduler', ...spec.scheduling } as const]),
    ...(spec.ioPriority === undefined
      ? []
      : [{ op: 'ioPriority', subject: 'ioPriority', value: spec.ioPriority } as const]),
    ...(spec.cpuAffinity === undefined
      ? []
      : [{ op: 'affinity', subject: 'cpu affinity', mask: spec.cpuAffinity } as const]),
    ...(spec.memoryPolicy === undefined
      ? []
      : [
          {
            op: 'memoryPolicy',
            subject: 'memoryPolicy',
            mode: spec.memoryPolicy.mode,
            mask: spec.memoryPolicy.nodes,
          } as const,
        ]),
    ...(spec.personality === undefined
      ? []
      : [{ op: 'personality', subject: 'personality', value: spec.personality } as const]),
    { op: 'umask', subject: 'umask', mask: spec.umask },
  ];
}

/** Identity, filter and program; nothing comes after them. */
export function programOps(spec: ProcessSpec, machine: Machine): readonly PlanOp[] {
  const filter = filterOps(spec, machine);
  const identity = [credentialsOp(spec, machine)];
  return [
    ...labelOps(spec),
    ...(spec.findHome === true ? [{ op: 'home', subject: 'HOME', uid: spec.user.uid } as const] : []),
    ...(spec.preserveFds === undefined
      ? []
      : [{ op: 'preserve', subject: 'descriptors', ...spec.preserveFds } as const]),
    { op: 'ready', subject: 'descriptors' },
    ...(spec.noNewPrivileges ? [{ op: 'noNewPrivs', subject: 'noNewPrivileges' } as const] : []),
    ...(spec.noNewPrivileges ? [...identity, ...filter] : [...filter, ...identity]),
    {
      op: 'exec',
      subject: 'command',
      args: spec.args,
      // why: the launcher replaces the last one by what /etc/passwd says.
      env: spec.findHome === true ? [...spec.env, 'HOME=/'] : spec.env,
      candidates: candidatesOf(spec),
    },
  ];
}

function labelOps({ apparmorProfile, selinuxLabel }: ProcessSpec): readonly PlanOp[] {
  return [
    ...(apparmorProfile === undefined || apparmorProfile === ''
      ? []
      : [
          {
            op: 'label',
            subject: 'apparmorProfile',
            file: 'apparmor/exec',
            value: `exec ${apparmorProfile}`,
          } as const,
        ]),
    ...(selinuxLabel === undefined || selinuxLabel === ''
      ? []
      : [{ op: 'label', subject: 'selinuxLabel', file: 'exec', value: selinuxLabel } as const]),
  ];
}

function credentialsOp(spec: ProcessSpec, machine: Machine): PlanOp {
  const { uid, gid, additionalGids: groups, keepGroups = false } = spec.user;
  const common = {
    ...({ op: 'credentials', subject: 'user and capabilities' } as const),
    ...{ uid, gid, groups, keepGroups },
  };
  const sets = spec.capabilitySets;
  if (sets !== undefined) return { ...common, ...grantable(sets, machine.bounding) };
  const wanted = capabilityMask(spec.capabilities);
  // Everything means everything that there is: no process can give what it does not have.
  const bounding = wanted === capabilityMask(ALL_CAPABILITIES) ? wanted & machine.bounding : wanted;
  return { ...common, bounding, effective: uid === 0 ? bounding : 0n };
}

/** What this process has not it cannot give: the kernel would refuse all for the sake of one. */
function grantable(
  sets: CapabilitySets,
  bounding: bigint,
): Record<'bounding' | 'effective' | 'permitted' | 'inheritable' | 'ambient', bigint> {
  const mask = (names: readonly string[]): bigint => capabilityMask(names) & bounding;
  return {
    bounding: mask(sets.bounding),
    effective: mask(sets.effective),
    permitted: mask(sets.permitted),
    inheritable: mask(sets.inheritable),
    ambient: mask(sets.ambient),
  };
}

function resourceOf(type: string): number {
  const number = RLIMITS[type];
  if (number === undefined) throw new TsbuildError('SPEC_INVALID', `unknown rlimit ${JSON.stringify(type)}`);
  return number;
}

function filterOps(spec: ProcessSpec, machine: Machine): readonly PlanOp[] {
  const { seccomp } = spec;
  if (seccomp === 'unconfined') return [];
  if (seccomp === 'default')
    return [{ op: 'seccomp', subject: 'seccomp', program: defaultFilter(spec.capabilities, machine.arch) }];
  const program = encodeProgram(compileProfile(seccomp, machine.arch));
  return [{ op: 'seccomp', subject: 'seccomp', program, flags: filterFlags(seccomp) }];
}

/** Where the program may be: as execvp(3) looks for it, in the container's own PATH. */
function candidatesOf({ args, env, cwd }: ProcessSpec): readonly string[] {
  const [program = ''] = args;
  // why: beside a directory of PATH no name would be the directory itself.
  if (program === '' || program.includes('/')) return [program];
  const path = env.findLast((entry) => entry.startsWith('PATH='))?.slice('PATH='.length) ?? FALLBACK_PATH;
  return path.split(':').map((directory) => `${directory === '' ? cwd : directory}/${program}`);
}

/** `ENOENT` for 2. */
export function errnoName(number: number): string {
  return Object.entries(constants.errno).find(([, value]) => value === number)?.[0] ?? `errno ${number}`;
}
