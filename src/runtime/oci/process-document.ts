/** `process` of a config (and what `exec --process` reads) as a process spec. Spec: OCI runtime-spec v1.2, config.md. */
import { TsbuildError } from '../../base/errors.ts';
import { ALL_CAPABILITIES } from '../capabilities.ts';
import type { CapabilitySets, ProcessSpec, Rlimit } from '../runtime.ts';
import { parseSet } from './cpu-set.ts';
import { schedulerOf } from './scheduler-document.ts';
import type { Fields } from './fields.ts';

/** What a process is besides its document; a further process inherits it from its container. */
export type ProcessPart = Omit<
  ProcessSpec,
  'seccomp' | 'cgroup' | 'preserveFds' | 'survive' | 'consoleSocket'
>;

/** `warn` hears of what is passed over. Throws SPEC_INVALID. */
export function parseProcess(document: Fields, warn: (message: string) => void): ProcessPart {
  const cwd = document.text('cwd') ?? '';
  if (!cwd.startsWith('/'))
    throw new TsbuildError(
      'SPEC_INVALID',
      `the working directory (process, cwd) must be an absolute path: ${JSON.stringify(cwd)}`,
    );
  const args = document.texts('args');
  if (args.length === 0) throw new TsbuildError('SPEC_INVALID', 'process.args must not be empty');
  const user = document.fields('user');
  const size = document.fields('consoleSize');
  const [rows, columns] = [size.number('height') ?? 0, size.number('width') ?? 0];
  const env = environmentOf(document);
  const oomScoreAdj = document.number('oomScoreAdj');
  return {
    args,
    env,
    cwd,
    user: {
      uid: idOf(user, 'uid'),
      gid: idOf(user, 'gid'),
      additionalGids: user.numbers('additionalGids'),
    },
    umask: user.number('umask') ?? 0o022,
    terminal: document.flag('terminal'),
    ...(rows > 0 && columns > 0 ? { consoleSize: { rows, columns } } : {}),
    capabilities: [],
    capabilitySets: capabilitySets(document.fields('capabilities'), warn),
    noNewPrivileges: document.flag('noNewPrivileges'),
    rlimits: rlimits(document),
    strictRlimits: true,
    ...(oomScoreAdj === undefined ? {} : { oomScoreAdj }),
    ...labels(document),
    ...scheduling(document),
    findHome: !env.some((entry) => entry.startsWith('HOME=')),
  };
}

/** Of a variable that is there several times the last entry counts, and an empty HOME is none. */
function environmentOf(document: Fields): readonly string[] {
  const entries = document.texts('env');
  const nameOf = (entry: string): string => entry.split('=', 1)[0] ?? '';
  const last = new Map(entries.map((entry, index) => [nameOf(entry), index]));
  return entries.filter((entry, index) => last.get(nameOf(entry)) === index && entry !== 'HOME=');
}

function idOf(user: Fields, name: string): number {
  const id = user.number(name) ?? 0;
  if (Number.isInteger(id) && id >= 0 && id < 0xffffffff) return id;
  throw new TsbuildError('SPEC_INVALID', `${user.nameOf(name)} is no id: ${id}`);
}

function capabilitySets(fields: Fields, warn: (message: string) => void): CapabilitySets {
  const set = (name: string): readonly string[] =>
    fields.texts(name).filter((each) => {
      const isKnown = ALL_CAPABILITIES.includes(each);
      if (!isKnown) warn(`${fields.nameOf(name)}: unknown or unavailable capability ${JSON.stringify(each)}`);
      return isKnown;
    });
  const [permitted, inheritable] = [set('permitted'), set('inheritable')];
  const ambient = set('ambient').filter((each) => {
    const may = permitted.includes(each) && inheritable.includes(each);
    if (!may) warn(`can't raise ambient capability ${each}: operation not permitted`);
    return may;
  });
  return { bounding: set('bounding'), effective: set('effective'), permitted, inheritable, ambient };
}

function rlimits(document: Fields): readonly Rlimit[] {
  const limits = document.list('rlimits').map((each) => ({
    type: each.required('type', each.text('type')),
    soft: unlimited(each.required('soft', each.number('soft'))),
    hard: unlimited(each.required('hard', each.number('hard'))),
  }));
  const types = new Set(limits.map(({ type }) => type));
  if (types.size < limits.length)
    throw new TsbuildError('SPEC_INVALID', 'process.rlimits has an entry twice');
  return limits;
}

/** RLIM_INFINITY of JSON (2⁶⁴ − 1, or −1) is Infinity. */
function unlimited(value: number): number {
  return value < 0 || value >= 2 ** 63 ? Number.POSITIVE_INFINITY : value;
}

function labels(document: Fields): Pick<ProcessSpec, 'apparmorProfile' | 'selinuxLabel'> {
  const [apparmorProfile, selinuxLabel] = [document.text('apparmorProfile'), document.text('selinuxLabel')];
  return {
    ...(apparmorProfile === undefined ? {} : { apparmorProfile }),
    ...(selinuxLabel === undefined ? {} : { selinuxLabel }),
  };
}

const IO_CLASSES = ['', 'IOPRIO_CLASS_RT', 'IOPRIO_CLASS_BE', 'IOPRIO_CLASS_IDLE'];

function scheduling(document: Fields): Pick<ProcessSpec, 'scheduling' | 'ioPriority'> {
  return {
    ...(document.has('scheduler') ? { scheduling: schedulerOf(document.fields('scheduler')) } : {}),
    ...(document.has('ioPriority') ? { ioPriority: ioPriorityOf(document.fields('ioPriority')) } : {}),
  };
}

/** `execCPUAffinity`, which is for further processes alone; without it they may use all processors of the cgroup. */
export function affinityOf(document: Fields): Pick<ProcessSpec, 'cpuAffinity' | 'initialAffinity'> {
  const cpus = document.fields('execCPUAffinity');
  const [initial = '', final = ''] = [cpus.text('initial'), cpus.text('final')];
  return {
    initialAffinity: initial === '' ? 'all' : parseSet(initial, 'cpus'),
    ...(final === '' ? {} : { cpuAffinity: parseSet(final, 'cpus') }),
  };
}

function ioPriorityOf(priority: Fields): number {
  const name = priority.text('class') ?? '';
  const number = IO_CLASSES.indexOf(name);
  const level = priority.number('priority') ?? 0;
  if (number < 1) throw new TsbuildError('SPEC_INVALID', `invalid ioPriority.class: ${JSON.stringify(name)}`);
  if (level < 0 || level > 7) throw new TsbuildError('SPEC_INVALID', `invalid ioPriority.priority: ${level}`);
  return (number << 13) | level;
}
