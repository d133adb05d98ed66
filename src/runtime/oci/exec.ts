/** `exec`: a further process in a container, as its config or a process document says. */
import { readFileSync } from 'node:fs';
import { isAbsolute, posix } from 'node:path';
import { FIRST_HANDED_ON } from '../../../native/launcher.ts';
import { TsbuildError } from '../../base/errors.ts';
import type { JsonObject } from '../../base/json.ts';
import { directoryOf, type CgroupDescription, type CgroupPlace } from '../cgroups/cgroup.ts';
import { placeOfProcess } from '../cgroups/place-of.ts';
import { layOutExec } from '../layout.ts';
import { execTarget } from '../process-namespaces.ts';
import type { ExecSpec } from '../runtime.ts';
import { streamsOwnerOf } from '../streams-owner.ts';
import { idMapsOfProcess } from './id-maps.ts';
import { listenerParts } from './container-document.ts';
import type { RuntimeContext } from './create.ts';
import { Fields, readFields } from './fields.ts';
import { descriptorsFrom3, startDetached, startForeground, type Foreground } from './launch.ts';
import { personalityOf } from './machine-document.ts';
import { affinityOf, parseProcess } from './process-document.ts';
import { parseSeccomp } from './seccomp-document.ts';
import { stateParts } from './state-document.ts';
import type { ContainerRecord } from './record.ts';

export interface ExecRequest {
  readonly id: string;
  /** A process document; else what the container's own says, changed by the rest. */
  readonly processFile?: string;
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly cwd?: string;
  readonly user?: { readonly uid: number; readonly gid?: number };
  readonly additionalGids: readonly number[];
  readonly capabilities: readonly string[];
  readonly tty?: boolean;
  readonly noNewPrivileges?: boolean;
  readonly apparmor?: string;
  readonly processLabel?: string;
  readonly consoleSocket?: string;
  readonly pidfdSocket?: string;
  readonly preserveFds: number;
  readonly detach: boolean;
  readonly ignorePaused: boolean;
  /** Cgroups below the container's: `PATH` for all, `controller[,controller]:PATH` for some. */
  readonly cgroups: readonly string[];
}

/** Throws CONTAINER_NOT_RUNNING, CONTAINER_NOT_FOUND, COMMAND_*, SPEC_INVALID. */
export async function execInContainer(
  context: RuntimeContext,
  request: ExecRequest,
): Promise<number | Foreground> {
  const { store, launcher, machine, warn, debug } = context;
  const record = store.read(request.id);
  const status = store.statusOf(record);
  if (status === 'paused' && !request.ignorePaused)
    throw new TsbuildError(
      'CONTAINER_NOT_RUNNING',
      'cannot exec in a paused container (use --ignore-paused to override)',
    );
  if (status === 'stopped' || status === 'creating')
    throw new TsbuildError('CONTAINER_NOT_RUNNING', 'cannot exec in a stopped container');
  const spec = specOf(context, record, request);
  if (spec.terminal && request.detach && spec.consoleSocket === undefined)
    throw new TsbuildError(
      'SPEC_INVALID',
      'cannot allocate tty if runtime will detach without setting console socket',
    );
  if (!request.detach && spec.consoleSocket !== undefined)
    throw new TsbuildError(
      'SPEC_INVALID',
      'cannot use console socket if runtime will not detach or allocate tty',
    );
  const launch = {
    ...{ launcher, ops: layOutExec(spec, machine), spec, warn, debug },
    descriptors: spec.preserveFds?.targets ?? [],
  };
  return request.detach ? startDetached(launch) : startForeground(launch);
}

function specOf(
  { store, warn, handedOn }: RuntimeContext,
  record: ContainerRecord,
  request: ExecRequest,
): ExecSpec {
  const config = store.readConfig(record.id);
  const linux = config.fields('linux');
  const own = config.fields('process');
  const document =
    request.processFile === undefined
      ? changed(own, request)
      : inherited(readFields(request.processFile), own);
  const { consoleSocket, pidfdSocket, preserveFds } = request;
  const personality = personalityOf(linux);
  const program = parseProcess(document, warn);
  return {
    ...program,
    ...streamsOwnerOf(program, idMapsOfProcess(record.pid), true),
    ...affinityOf(document),
    ...(personality === undefined ? {} : { personality }),
    plainTerminal: !request.detach,
    seccomp: linux.has('seccomp')
      ? parseSeccomp(linux.fields('seccomp'), (metadata) =>
          listenerParts(stateParts(config, record), metadata),
        )
      : 'unconfined',
    ...(record.cgroup === undefined ? {} : { cgroup: membership(record, record.cgroup, request.cgroups) }),
    ...(consoleSocket === undefined ? {} : { consoleSocket }),
    ...(pidfdSocket === undefined ? {} : { pidfdSocket }),
    ...(preserveFds === 0
      ? {}
      : { preserveFds: { first: FIRST_HANDED_ON, targets: descriptorsFrom3(preserveFds, handedOn) } }),
    survive: true,
    target: execTarget(record.pid, BigInt(record.pidStart)),
  };
}

/** What a process document leaves out is the container's. */
function inherited(document: Fields, own: Fields): Fields {
  const keep = [...['capabilities', 'apparmorProfile', 'selinuxLabel', 'noNewPrivileges', 'execCPUAffinity']];
  const from = Object.fromEntries(
    keep.filter((name) => own.has(name)).map((name) => [name, own.object[name]]),
  );
  return new Fields({ ...from, ...document.object }, '');
}

function changed(own: Fields, request: ExecRequest): Fields {
  if (request.args.length === 0) throw new TsbuildError('USAGE', 'process args cannot be empty');
  const { object } = own;
  const user: JsonObject = {
    ...own.fields('user').object,
    ...(request.user === undefined
      ? {}
      : { uid: request.user.uid, gid: request.user.gid ?? own.fields('user').number('gid') ?? 0 }),
    additionalGids: [...own.fields('user').numbers('additionalGids'), ...request.additionalGids],
  };
  const { rlimits, oomScoreAdj, scheduler, ioPriority } = object;
  return new Fields(
    {
      ...{ rlimits, oomScoreAdj, scheduler, ioPriority, user },
      args: request.args,
      env: environment(own.texts('env'), request.env),
      cwd: request.cwd ?? own.text('cwd') ?? '/',
      terminal: request.tty ?? false,
      capabilities: withCapabilities(own.fields('capabilities'), request.capabilities),
      // why: whoever may exec shall not get rid of it by leaving out a flag.
      noNewPrivileges: request.noNewPrivileges === true || own.flag('noNewPrivileges'),
      apparmorProfile: request.apparmor ?? object['apparmorProfile'],
      selinuxLabel: request.processLabel ?? object['selinuxLabel'],
      ...(own.has('execCPUAffinity') ? { execCPUAffinity: object['execCPUAffinity'] } : {}),
    },
    'process',
  );
}

/** Later entries win; the container's HOME is not the HOME of another user. */
function environment(own: readonly string[], more: readonly string[]): readonly string[] {
  const names = new Set(more.map((entry) => entry.split('=', 1)[0]));
  return [...own.filter((entry) => !names.has(entry.split('=', 1)[0])), ...more];
}

/** As runc has it: ambient only where the container has inheritable ones, which stay as they are. */
function withCapabilities(own: Fields, more: readonly string[]): JsonObject {
  if (more.length === 0) return own.object;
  const names = more.map((name) => (name.startsWith('CAP_') ? name : `CAP_${name}`));
  const add = (set: string): readonly string[] => [...new Set([...own.texts(set), ...names])];
  return {
    ...own.object,
    ...{ bounding: add('bounding'), effective: add('effective'), permitted: add('permitted') },
    inheritable: own.texts('inheritable'),
    ambient: own.texts('inheritable').length > 0 ? add('ambient') : own.texts('ambient'),
  };
}

function hasInnerControllers(directory: string): boolean {
  try {
    return readFileSync(`${directory}/cgroup.subtree_control`, 'utf8').trim() !== '';
  } catch {
    // Gone: its processes are elsewhere.
    return true;
  }
}

/** Entering the container's cgroup, or one below it. Throws SPEC_INVALID for one elsewhere. */
function membership(
  { pid }: ContainerRecord,
  recorded: CgroupPlace,
  wanted: readonly string[],
): CgroupDescription {
  // why: an init that gives controllers to cgroups of its own leaves the one it began in closed to processes (v2).
  const isClosed =
    recorded.unified !== undefined && recorded.v1.length === 0 && wanted.length === 0
      ? hasInnerControllers(directoryOf(recorded.unified))
      : false;
  const unified = isClosed ? placeOfProcess(pid)?.unified : undefined;
  const place = unified === undefined ? recorded : { ...recorded, unified };
  const paths = new Map<string, string>();
  for (const each of wanted) {
    const [, controllers = '', path = ''] = /^(?:([^:/]+):)?(.*)$/.exec(each) ?? [];
    if (posix.normalize(`/${path}`) !== (isAbsolute(path) ? path : `/${path}`).replace(/(.)\/$/, '$1'))
      throw new TsbuildError('SPEC_INVALID', `bad --cgroup: ${path} is not a sub cgroup path`);
    for (const controller of controllers === '' ? [''] : controllers.split(',')) {
      const isKnown =
        controller === '' ||
        place.v1.some((at) => at.controllers.includes(controller) || `name=${at.name}` === controller);
      if (!isKnown) throw new TsbuildError('SPEC_INVALID', `unknown controller ${controller} in --cgroup`);
      paths.set(controller, path.replace(/^\/+|\/+$/g, ''));
    }
  }
  const below = (controllers: readonly string[]): string => {
    const path =
      controllers.map((name) => paths.get(name)).find((found) => found !== undefined) ?? paths.get('') ?? '';
    return path === '' ? '' : `/${path}`;
  };
  return {
    place,
    before: [
      ...place.v1.map(
        (at) =>
          ({
            op: 'cgroupTasks',
            subject: 'adding pid to cgroup',
            path: `${directoryOf(at)}${below(at.controllers)}/tasks`,
          }) as const,
      ),
      ...(place.unified === undefined
        ? []
        : [
            {
              op: 'cgroupBorn',
              subject: 'adding pid to cgroup',
              path: `${directoryOf(place.unified)}${below([])}`,
            } as const,
          ]),
    ],
    inside: place.v1.length === 0 ? [] : [{ op: 'cgroupSelf', subject: 'cgroup' }],
  };
}
