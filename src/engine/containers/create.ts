/** `create`: from a request to a container on disk that only has to be started. */
import { statSync } from 'node:fs';
import { TsbuildError } from '../../base/errors.ts';
import type { StoredImage } from '../../image/image-store.ts';
import { formatTime, type Platform } from '../../oci/documents.ts';
import { formatPlatform, isCompatible } from '../../oci/platform.ts';
import { parseReference, withDefaultTag } from '../../oci/reference.ts';
import type { ContainerConfig, StoredContainer } from '../../runtime/container.ts';
import type { IsolationOptions } from '../../runtime/container-options.ts';
import { parseExposed, publishAll } from '../../runtime/network/port-spec.ts';
import type { Engine } from '../engine.ts';
import { snapshotOfImage } from '../export-rootfs.ts';
import { withinBudget } from '../gc/within-budget.ts';
import { pullImage } from '../pull.ts';
import type { CallOptions } from '../with-vertex.ts';
import { commandOf, healthCheckOf, mergeEnv, stopSignalOf } from './image-wishes.ts';
import { imageUser } from './image-user.ts';
import { populateVolumes } from './populate.ts';
import type { CreateRequest } from './request.ts';
import { resolveIsolation, type ResolvedIsolation } from './resolve-isolation.ts';

/** As docker's "local" driver. */
const LOG_DEFAULTS = { maxSize: 20 << 20, maxFiles: 5 };
const STOP_TIMEOUT_S = 10;

export interface CreateOptions extends CallOptions {
  /** It is started by this process at once: where this is killed before, the container is litter (`creator`). */
  readonly forRun?: boolean;
}

/**
 * Pulls the image where it must. Throws IMAGE_NOT_FOUND, CONTAINER_NAME_IN_USE, USER_NOT_FOUND, SPEC_INVALID,
 * CONTAINER_NOT_FOUND (whose namespaces or volumes are asked for), registry errors; nothing is left then.
 */
export async function createContainer(
  engine: Engine,
  request: CreateRequest,
  options: CreateOptions,
): Promise<StoredContainer> {
  using _lease = engine.leases.enter();
  const image = await findImage(engine, request, options);
  const snapshot = await withinBudget(engine.budget, options.signal, (signal) =>
    snapshotOfImage(engine, image, { ...options, signal }),
  );
  const { config } = image.config;
  const asked = request.user ?? config.User ?? '';
  const user = await imageUser(engine, {
    image: image.id,
    snapshot,
    user: asked,
    groups: request.isolation.groups,
  });
  const command = commandOf(request, image.config);
  let held: ResolvedIsolation | undefined;
  let created: StoredContainer | undefined;
  try {
    const container = engine.containers.create(request.name, ({ id, name }) => {
      held = resolveIsolation(request.isolation, {
        containerID: id,
        imageVolumes: Object.keys(config.Volumes ?? {}),
        volumes: engine.volumes,
        containerOf: (reference) => mountsOf(engine, reference),
      });
      const { uid, gid, additionalGids, home } = user;
      return {
        version: 1,
        id,
        name,
        created: formatTime(engine.host.now()),
        image: { id: image.id, name: request.image, ...(snapshot === undefined ? {} : { snapshot }) },
        ...command,
        user: asked,
        ...lifeOf(engine, request, image, options),
        anonymousVolumes: held.anonymousVolumes,
        input: {
          args: [...command.entrypoint, ...command.command],
          env: mergeEnv(config.Env ?? [], request.env),
          cwd: request.workdir ?? config.WorkingDir ?? '/',
          user: { uid, gid, additionalGids },
          home,
          hostname: hostnameOf(engine, request, id),
          terminal: request.terminal,
          extraHosts: request.extraHosts,
        },
        isolation: held.isolation,
        ...networkOf(request, image),
      };
    });
    created = container;
    await populateVolumes(engine, snapshot, container.config.isolation.mounts, options.signal);
    return container;
  } catch (error) {
    if (created !== undefined) engine.containers.remove(created.id);
    if (held !== undefined) releaseVolumes(engine, held);
    throw error;
  }
}

/** A container that could not be made holds nothing; `sweep` of the volumes knows that it does not exist. */
function releaseVolumes(engine: Engine, { anonymousVolumes }: ResolvedIsolation): void {
  for (const name of anonymousVolumes)
    if (engine.volumes.holders(name).length === 0) engine.volumes.remove(name);
}

function mountsOf(
  { containers }: Engine,
  reference: string,
): { readonly id: string; readonly mounts: IsolationOptions['mounts'] } {
  const { id, config } = containers.require(reference);
  return { id, mounts: config.isolation.mounts };
}

type Life = Pick<
  ContainerConfig,
  | 'stdin'
  | 'labels'
  | 'annotations'
  | 'restart'
  | 'autoRemove'
  | 'init'
  | 'stopSignal'
  | 'stopTimeoutS'
  | 'healthCheck'
  | 'log'
  | 'detachKeys'
  | 'creator'
>;

function lifeOf(
  { host }: Engine,
  request: CreateRequest,
  { config: { config } }: StoredImage,
  { forRun }: CreateOptions,
): Life {
  const healthCheck = healthCheckOf(request.health, config);
  return {
    stdin: request.stdin,
    labels: { ...config.Labels, ...request.labels },
    annotations: request.annotations,
    restart: request.restart,
    autoRemove: request.autoRemove,
    init: request.init,
    stopSignal: stopSignalOf(request.stopSignal, config),
    stopTimeoutS: request.stopTimeoutS ?? STOP_TIMEOUT_S,
    log: { ...LOG_DEFAULTS, ...request.log },
    ...(healthCheck === undefined ? {} : { healthCheck }),
    ...(request.detachKeys === undefined ? {} : { detachKeys: request.detachKeys }),
    ...(forRun === true ? { creator: host.unique() } : {}),
  };
}

function hostnameOf({ options }: Engine, { isolation, network }: CreateRequest, id: string): string {
  const isHost = isolation.namespaces.uts?.kind === 'host' || network.kind === 'host';
  return isolation.hostname ?? (isHost ? options.hostname : id.slice(0, 12));
}

function networkOf(
  request: CreateRequest,
  { config: { config } }: StoredImage,
): Pick<ContainerConfig, 'network' | 'ports' | 'exposedPorts' | 'dns'> {
  const exposedPorts = [...new Set([...Object.keys(config.ExposedPorts ?? {}), ...request.exposedPorts])];
  return {
    network: request.network,
    ports: request.publishAll ? publishAll(exposedPorts.flatMap(parseExposed), request.ports) : request.ports,
    exposedPorts,
    dns: request.dns,
  };
}

export function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === false;
}

async function findImage(
  engine: Engine,
  { image: text, pull, platform }: CreateRequest,
  options: CallOptions,
): Promise<StoredImage> {
  const local = pull === 'always' ? undefined : await engine.images.find(text);
  const fits = platform === undefined || (local !== undefined && isCompatible(local.config, platform));
  if (local !== undefined && fits) return local;
  const isOther = local !== undefined && platform !== undefined;
  if (pull === 'never') {
    if (isOther) throw otherPlatform(text, local, platform);
    return engine.images.require(text);
  }
  try {
    const reference = withDefaultTag(parseReference(text));
    const wanted = platform ?? engine.options.platform;
    return await pullImage(engine, reference, wanted, { ...options, isLazy: true });
  } catch (error) {
    throw isOther && !options.signal.aborted ? otherPlatform(text, local, platform, error) : error;
  }
}

function otherPlatform(text: string, local: StoredImage, platform: Platform, cause?: unknown): TsbuildError {
  const [has, wanted] = [local.config, platform].map(formatPlatform);
  const message = `the local image ${JSON.stringify(text)} is for ${has}, not ${wanted}`;
  const hint = `leave out --platform, or name an image for ${wanted}`;
  return new TsbuildError('PLATFORM_NOT_FOUND', message, { hint, cause });
}
