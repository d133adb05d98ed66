/**
 * A bundle's config as a container spec: every member that a Linux container has.
 *
 * Spec: OCI runtime-spec v1.2, config.md and config-linux.md.
 */
import { existsSync, statSync } from 'node:fs';
import { isAbsolute, join, resolve } from 'node:path';
import { PROPAGATION } from '../../../native/plan-ops.ts';
import { TsbuildError } from '../../base/errors.ts';
import { hookStreamsOf, keepsGroups, pidfdReceiverOf } from '../annotations.ts';
import type { CgroupDescription } from '../cgroups/cgroup.ts';
import type { ContainerSpec, IdMaps, NamespaceChoice, ProcessSpec, TimeOffset } from '../runtime.ts';
import { streamsOwnerOf } from '../streams-owner.ts';
import { borrowsSys } from './borrowed-sys.ts';
import type { Fields } from './fields.ts';
import { parseHooks } from './hooks-document.ts';
import { ownIdMaps, parseIdMaps } from './id-maps.ts';
import { memoryPolicyOf, personalityOf } from './machine-document.ts';
import { propagationOf } from './mount-options.ts';
import { choiceOf, KINDS, parseNamespaces, type Namespaces } from './namespaces-document.ts';
import { hasBoundDev, parseDevices, parseMounts } from './mounts-document.ts';
import { parseProcess } from './process-document.ts';
import type { Notified } from './notify-socket.ts';
import { netDevicesOf } from './net-devices-document.ts';
import { parseSeccomp } from './seccomp-document.ts';
import { PROCESS_STATE_VERSION, stateParts } from './state-document.ts';
import { checkSysctls } from './sysctls-document.ts';

export interface ContainerRequest {
  readonly id: string;
  /** Absolute. */
  readonly bundle: string;
  readonly cgroup: CgroupDescription | undefined;
  readonly pivot: boolean;
  readonly keyring: boolean;
  /** The program waits there for its start; absent: it runs at once. */
  readonly startSocket?: string;
  readonly consoleSocket?: string;
  readonly pidfdSocket?: string;
  readonly preserveFds?: ProcessSpec['preserveFds'];
  readonly notified?: Notified;
  /** A terminal is copied to the caller's. */
  readonly foreground?: boolean;
  /** Appended to the process's own. */
  readonly env: readonly string[];
  readonly warn: (message: string) => void;
}

/** Throws SPEC_INVALID, naming the member. */
export function parseContainer(config: Fields, request: ContainerRequest): ContainerSpec {
  const linux = config.fields('linux');
  const namespaces = parseNamespaces(linux);
  const isNewUser = choiceOf(namespaces, 'user') === 'new';
  const idMaps = parseIdMaps(linux) ?? (isNewUser ? ownIdMaps() : undefined);
  const { id, bundle, cgroup, notified } = request;
  const annotations = config.record('annotations');
  const pidfdSocket = request.pidfdSocket ?? pidfdReceiverOf(annotations);
  const parts = stateParts(config, request);
  const program = parseProcess(config.fields('process'), request.warn);
  const userMaps = userMapsOf(choiceOf(namespaces, 'user'), idMaps);
  const memoryPolicy = memoryPolicyOf(linux);
  const personality = personalityOf(linux);
  return {
    ...program,
    env: [...program.env, ...request.env, ...(notified?.env ?? [])],
    ...(notified === undefined ? {} : { notify: notified.notify }),
    user: { ...program.user, keepGroups: keepsGroups(annotations) },
    id,
    root: rootOf(config, request),
    ...namesOf(config, namespaces),
    ...spaces(namespaces),
    ...(idMaps === undefined ? {} : { idMaps }),
    ...timeOffsets(linux),
    netDevices: netDevicesOf(linux, namespaces),
    initialAffinity: 'all',
    ...streamsOwnerOf(program, userMaps, true),
    plainTerminal: request.foreground === true,
    kernelMounts: false,
    mounts: [
      ...parseMounts(config, {
        bundle,
        rootfs: resolve(bundle, config.fields('root').text('path') ?? ''),
        cgroup: cgroup?.place,
        hasCgroupNamespace: choiceOf(namespaces, 'cgroup') === 'new',
        hasMountNamespace: choiceOf(namespaces, 'mount') === 'new',
        borrowsSys: borrowsSys(namespaces),
        userMaps,
      }),
      ...(notified === undefined ? [] : [notified.mount]),
    ],
    devices: hasBoundDev(config) ? [] : parseDevices(linux),
    maskedPaths: linux.texts('maskedPaths'),
    readonlyPaths: linux.texts('readonlyPaths'),
    sysctls: checkSysctls(linux.record('sysctl'), namespaces, config.text('domainname')),
    hooks: { ...parseHooks(config.fields('hooks')), streams: hookStreamsOf(annotations) },
    state: parts,
    seccomp: linux.has('seccomp')
      ? parseSeccomp(linux.fields('seccomp'), (metadata) => listenerParts(parts, metadata))
      : 'unconfined',
    ...(memoryPolicy === undefined ? {} : { memoryPolicy }),
    ...(personality === undefined ? {} : { personality }),
    ...(request.keyring ? { keyring: `_ses.${id}` } : {}),
    ...(cgroup === undefined ? {} : { cgroup }),
    ...(request.startSocket === undefined ? {} : { startSocket: request.startSocket }),
    ...(request.consoleSocket === undefined ? {} : { consoleSocket: request.consoleSocket }),
    ...(pidfdSocket === undefined ? {} : { pidfdSocket: resolve(bundle, pidfdSocket) }),
    ...(request.preserveFds === undefined ? {} : { preserveFds: request.preserveFds }),
    survive: true,
  };
}

/** What `idmap` of a mount means where it names no mappings: the container's, or those of the namespace that it joins. */
function userMapsOf(user: NamespaceChoice, own: IdMaps | undefined): IdMaps | undefined {
  if (user === 'host') return undefined;
  return own ?? { uids: [], gids: [], ...(user === 'new' ? {} : { namespace: user.join }) };
}

function invalid(message: string): TsbuildError {
  return new TsbuildError('SPEC_INVALID', message);
}

function spaces(namespaces: Namespaces): Pick<ContainerSpec, 'network' | 'namespaces'> {
  const network = choiceOf(namespaces, 'network');
  return {
    network: network === 'new' ? 'none' : network,
    namespaces: Object.fromEntries(KINDS.map((kind) => [kind, choiceOf(namespaces, kind)])),
  };
}

function namesOf(config: Fields, namespaces: Namespaces): Pick<ContainerSpec, 'hostname' | 'domainname'> {
  const hostname = config.text('hostname') ?? '';
  const domainname = config.text('domainname') ?? '';
  if (hostname !== '' && choiceOf(namespaces, 'uts') === 'host')
    throw invalid('unable to set hostname without a private UTS namespace');
  if (domainname !== '' && choiceOf(namespaces, 'uts') === 'host')
    throw invalid('unable to set domainname without a private UTS namespace');
  return { hostname, ...(domainname === '' ? {} : { domainname }) };
}

function rootOf(config: Fields, { bundle, pivot }: ContainerRequest): ContainerSpec['root'] {
  const root = config.fields('root');
  const path = root.required('path', root.text('path'));
  const source = isAbsolute(path) ? path : join(bundle, path);
  if (!existsSync(source) || !statSync(source).isDirectory())
    throw invalid(`invalid rootfs: ${JSON.stringify(source)} does not exist or is no directory`);
  const name = config.fields('linux').text('rootfsPropagation') ?? '';
  const propagation = propagationOf(name === '' ? 'rslave' : name);
  if (propagation === undefined) throw invalid(`rootfsPropagation=${JSON.stringify(name)} is not supported`);
  return {
    mounts: [{ kind: 'bind', source, readonly: false, recursive: true }],
    readonly: root.flag('readonly'),
    point: source,
    // why: nothing can be mounted from what is unbindable, so only the container's root becomes that.
    propagation:
      (propagation & PROPAGATION.unbindable) === 0
        ? propagation
        : PROPAGATION.private | (propagation & PROPAGATION.recursive),
    ...(name === '' ? {} : { ownPropagation: propagation }),
    pivot,
  };
}

function timeOffsets(linux: Fields): Pick<ContainerSpec, 'timeOffsets'> {
  const offsets = linux.fields('timeOffsets');
  const offset = (name: string): TimeOffset | undefined =>
    offsets.has(name)
      ? {
          secs: offsets.fields(name).number('secs') ?? 0,
          nanosecs: offsets.fields(name).number('nanosecs') ?? 0,
        }
      : undefined;
  const [monotonic, boottime] = [offset('monotonic'), offset('boottime')];
  if (monotonic === undefined && boottime === undefined) return {};
  return {
    timeOffsets: {
      ...(monotonic === undefined ? {} : { monotonic }),
      ...(boottime === undefined ? {} : { boottime }),
    },
  };
}

/** ContainerProcessState of the spec: the container's state inside, the pid twice. */
export function listenerParts(
  [a, b, c]: readonly [string, string, string],
  metadata: string,
): readonly [string, string, string, string] {
  const head = JSON.stringify({ ociVersion: PROCESS_STATE_VERSION, fds: ['seccompFd'], metadata });
  return [`${head.slice(0, -1)},"state":${a}`, b, `${c},"pid":`, '}'];
}
