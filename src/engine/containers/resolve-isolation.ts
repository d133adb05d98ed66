/**
 * What `create` settles once for a container: which volumes it has (named, anonymous, the image's VOLUMEs, those of
 * other containers), which containers its namespaces are of. Synchronous, so that a container and its hold on
 * volumes come into being together.
 */
import { statSync } from 'node:fs';
import { ioError, TsbuildError } from '../../base/errors.ts';
import { makeDirectories } from '../../base/make-directories.ts';
import type { IsolationOptions, MountRequest, NamespaceOptions } from '../../runtime/container-options.ts';
import type { Volumes } from '../volumes.ts';

export interface CreateFacts {
  readonly containerID: string;
  /** VOLUME of the image. */
  readonly imageVolumes: readonly string[];
  readonly volumes: Volumes;
  /** Id and mounts of another container; throws CONTAINER_NOT_FOUND. */
  readonly containerOf: (reference: string) => {
    readonly id: string;
    readonly mounts: readonly MountRequest[];
  };
}

export interface ResolvedIsolation {
  /** Volumes are named, containers are ids, --volumes-from is carried out. */
  readonly isolation: IsolationOptions;
  readonly anonymousVolumes: readonly string[];
}

/** Throws SPEC_INVALID (two mounts at one place, a source that is not there), CONTAINER_NOT_FOUND, USAGE, IO_FAILED. */
export function resolveIsolation(options: IsolationOptions, facts: CreateFacts): ResolvedIsolation {
  const own = options.mounts;
  const twice = own.find(({ target }, at) => own.findIndex((each) => each.target === target) < at);
  if (twice !== undefined)
    throw new TsbuildError('SPEC_INVALID', `Duplicate mount point: ${twice.target}`, {
      hint: 'mount one thing at one place',
    });
  const namespaces = resolveNamespaces(options.namespaces, facts);
  const wanted = withImageVolumes(withOthers(options, facts), facts.imageVolumes);
  for (const mount of wanted) if (mount.kind === 'bind') requireSource(mount);
  const anonymousVolumes: string[] = [];
  const mounts = wanted.map((mount): MountRequest => {
    if (mount.kind !== 'volume') return mount;
    const volume = facts.volumes.hold(requestOf(mount), facts.containerID);
    if (mount.name === undefined) anonymousVolumes.push(volume.name);
    return { ...mount, name: volume.name };
  });
  return { isolation: { ...options, mounts, volumesFrom: [], namespaces }, anonymousVolumes };
}

function requestOf({ name, labels, options }: Extract<MountRequest, { kind: 'volume' }>): {
  readonly name?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, string>>;
} {
  return { labels, options, ...(name === undefined ? {} : { name }) };
}

/** Its own mounts win over those of other containers, later --volumes-from over earlier ones. */
function withOthers(
  { mounts, volumesFrom }: IsolationOptions,
  { containerOf }: CreateFacts,
): readonly MountRequest[] {
  const byTarget = new Map<string, MountRequest>();
  for (const { container, readonly } of volumesFrom)
    for (const mount of containerOf(container).mounts)
      if (mount.kind !== 'tmpfs')
        byTarget.set(mount.target, readonly === undefined ? mount : { ...mount, readonly });
  for (const mount of mounts) byTarget.set(mount.target, mount);
  return [...byTarget.values()];
}

function withImageVolumes(
  mounts: readonly MountRequest[],
  volumes: readonly string[],
): readonly MountRequest[] {
  const taken = new Set(mounts.map(({ target }) => target));
  const clean = (path: string): string =>
    `/${path
      .split('/')
      .filter((part) => part !== '' && part !== '.')
      .join('/')}`;
  const more = volumes.map(clean).filter((target) => !taken.has(target) && !target.split('/').includes('..'));
  return [
    ...mounts,
    ...more.map(
      (target) =>
        ({ kind: 'volume', target, readonly: false, nocopy: false, labels: {}, options: {} }) as const,
    ),
  ];
}

function requireSource({ source, createSource }: Extract<MountRequest, { kind: 'bind' }>): void {
  if (statSync(source, { throwIfNoEntry: false }) !== undefined) return;
  if (!createSource)
    throw new TsbuildError(
      'SPEC_INVALID',
      `invalid mount config for type "bind": bind source path does not exist: ${source}`,
      { hint: 'create it first, or use --volume' },
    );
  try {
    makeDirectories(source, 0o755);
  } catch (error) {
    throw ioError(`create the source of a mount, ${JSON.stringify(source)}`, error);
  }
}

function resolveNamespaces(namespaces: NamespaceOptions, { containerOf }: CreateFacts): NamespaceOptions {
  const resolved = <C extends { readonly kind: string }>(choice: C | undefined): C | undefined =>
    choice?.kind === 'container' && 'container' in choice && typeof choice.container === 'string'
      ? { ...choice, container: containerOf(choice.container).id }
      : choice;
  const given = {
    ...namespaces,
    pid: resolved(namespaces.pid),
    ipc: resolved(namespaces.ipc),
    uts: resolved(namespaces.uts),
    cgroup: resolved(namespaces.cgroup),
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}
