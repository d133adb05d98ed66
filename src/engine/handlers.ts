/** The handlers of a build, with their collaborators. */
import { join } from 'node:path';
import { tryLock } from '../../native/sys.ts';
import type { Digest } from '../base/digest.ts';
import { TsbuildError } from '../base/errors.ts';
import type { Entitlement } from '../graph/entitlements.ts';
import type { BuildGraph } from '../graph/graph.ts';
import type { RunOp } from '../graph/ops.ts';
import { createCopyHandler } from '../solver/exec/copy.ts';
import { identityOfPath } from '../solver/exec/path-identity.ts';
import { openEarlierLayers } from '../solver/exec/copy/earlier-layers.ts';
import { createContextHandler } from '../solver/exec/context.ts';
import { createGitHandler, type GitSources } from '../solver/exec/git.ts';
import { createHttpHandler } from '../solver/exec/http.ts';
import { createImageHandler } from '../solver/exec/image.ts';
import { createMergeHandler } from '../solver/exec/merge.ts';
import type { CacheMountUse } from '../solver/exec/cache-mounts.ts';
import { createRunMounts } from '../solver/exec/run-mounts.ts';
import { createRunHandler } from '../solver/exec/run.ts';
import type { OpHandlers } from '../solver/handler.ts';
import type { RecordStore } from '../solver/records.ts';
import { createStacks } from '../solver/stack.ts';
import type { Resources as CgroupResources } from '../runtime/cgroups/resources.ts';
import type { CgroupDriver } from '../runtime/cgroups/driver.ts';
import type { ContainerInput } from '../runtime/default-spec.ts';
import type { Rlimit } from '../runtime/runtime.ts';
import type { Contexts } from './contexts.ts';
import { takeFileLock } from './file-lock.ts';
import type { StepCgroups } from './step-cgroups.ts';
import type { Engine } from './engine.ts';
import type { OpenLayer } from './layer-access.ts';
import type { LayerLoss } from './layer-loss.ts';

/** What every step may use; no part of any key. */
export interface Resources {
  readonly rlimits: readonly Rlimit[];
  readonly shmSize?: number;
  /** Limits of cgroups. */
  readonly limits?: CgroupResources;
  /** Cgroup that those of the steps are made in; of systemd, a slice. */
  readonly cgroupParent?: string;
  /** Absent: cgroupfs. */
  readonly cgroupDriver?: CgroupDriver;
}

export interface HandlerInputs {
  readonly engine: Engine;
  readonly records: RecordStore;
  /** Whether a COPY may pack its files before it is known that it must: see CopyHandlerOptions. */
  readonly speculates: boolean;
  /** Brings cache mounts from elsewhere. */
  readonly arrive?: ((mount: CacheMountUse) => Promise<void>) | undefined;
  readonly openLayer: OpenLayer;
  readonly giveUp?: LayerLoss['giveUp'];
  readonly contexts: Contexts;
  readonly graph: Pick<BuildGraph, 'sourceDateEpoch'>;
  readonly extraHosts: readonly string[];
  readonly warn: (message: string) => void;
  readonly resources: Resources;
  readonly allowed: ReadonlySet<Entitlement>;
  readonly secret: (id: string) => Promise<Uint8Array | undefined>;
  readonly sshSocket: (id: string) => string | undefined;
  readonly git: () => Promise<GitSources>;
}

export interface OpenHandlers {
  readonly handlers: OpHandlers;
  /** To be called when nothing is executed any more. */
  readonly end: () => Promise<void>;
}

export function createHandlers({
  engine,
  records,
  speculates,
  arrive,
  openLayer,
  giveUp,
  contexts,
  graph,
  extraHosts,
  warn,
  resources,
  allowed,
  secret,
  sshSocket,
  git,
}: HandlerInputs): OpenHandlers {
  const { host, images, layers, content, snapshotter, runtime, spool } = engine;
  const { root, resolvConf } = engine.options;
  const stacks = createStacks({ snapshotter, openLayer, giveUp });
  const time = graph.sourceDateEpoch === undefined ? {} : { maxMtime: graph.sourceDateEpoch };
  const now = (): number => host.now();
  const copyOptions = {
    snapshotter,
    stacks,
    layers,
    records,
    spool,
    now,
    context: (name: string) => contexts.open(name),
    earlier: openEarlierLayers(join(root, 'copies'), host, layers),
    speculates,
    blobPath: (blob: Digest) => content.path(blob),
    ...time,
  };
  const runMounts = createRunMounts({
    root: join(root, 'run'),
    host,
    retention: engine.retention,
    snapshotter,
    stacks,
    async openLayer(diffID) {
      const layer = await openLayer(diffID);
      if (layer === undefined)
        throw new TsbuildError('BLOB_NOT_FOUND', `cannot find the bytes of layer ${diffID}`);
      return layer;
    },
    contextDirectory: (name) => contexts.directory(name),
    identityOfPath: (context, input, path) => identityOfPath(copyOptions, context, input, path),
    secret,
    sshSocket,
    tryLock,
    takeTurn: (name) => takeFileLock(join(root, 'locks', 'caches', name), 'lock a cache'),
    ...(arrive === undefined ? {} : { arrive }),
  });
  const stepNetworking = async (
    wanted: RunOp['network'],
  ): Promise<Pick<ContainerInput, 'network' | 'resolvConf' | 'extraHosts'>> => {
    const step = wanted === 'default' ? await engine.stepNetwork() : undefined;
    for (const note of step?.takeNotes() ?? []) warn(note);
    const gateway = step?.hostGateway ?? '127.0.0.1';
    return {
      network: step?.network ?? (wanted === 'none' ? 'none' : 'host'),
      resolvConf: step?.resolvConf ?? resolvConf(),
      extraHosts: extraHosts.map((entry) => entry.replace(/([:=])host-gateway$/, `$1${gateway}`)),
    };
  };
  let steps = 0;
  const { limits = {}, cgroupParent, cgroupDriver = 'cgroupfs', ...processLimits } = resources;
  let opened: Promise<StepCgroups> | undefined;
  const cgroups = (): Promise<StepCgroups> =>
    (opened ??= import('./step-cgroups.ts').then(({ createStepCgroups }) =>
      createStepCgroups({
        ...{ host, limits, driver: cgroupDriver },
        ...(cgroupParent === undefined ? {} : { parent: cgroupParent }),
      }),
    ));
  const handlers: OpHandlers = {
    image: createImageHandler({
      async configOf(id) {
        const image = await images.byID(id);
        if (image === undefined)
          throw new TsbuildError('IMAGE_NOT_FOUND', `image ${id} is no longer in the store`);
        return image.config;
      },
    }),
    context: createContextHandler(),
    merge: createMergeHandler(),
    copy: createCopyHandler(copyOptions),
    run: createRunHandler({
      allowed,
      extraHosts,
      snapshotter,
      runtime,
      stacks,
      now,
      mountIdentity: (context) => runMounts.identity(context),
      prepareMounts: (context) => runMounts.prepare(context),
      stubs: async () => (await import('../runtime/default-spec.ts')).DEFAULT_STUBS,
      async containerSpec(input) {
        const { createContainerSpec, BUILD_HOSTNAME } = await import('../runtime/default-spec.ts');
        steps += 1;
        const spec = createContainerSpec({
          ...input,
          ...(await stepNetworking(input.network)),
          id: `step-${steps}`,
          hostname: input.hostname ?? BUILD_HOSTNAME,
          terminal: false,
          ...processLimits,
        });
        return { ...spec, cgroup: await (await cgroups()).prepare({ privileged: input.privileged }) };
      },
      endStep: async (spec, hasRun) => (await cgroups()).end(spec, hasRun),
      ...time,
    }),
    http: createHttpHandler({
      blobPath: (blob) => content.path(blob),
      async fetch(url, { signal, progress }) {
        const { fetchFile } = await import('./fetch-file.ts');
        return fetchFile(url, engine, { signal, progress, secret });
      },
    }),
    git: createGitHandler({ sources: git, layers, now }),
  };
  return { handlers, end: async () => (await opened)?.close() };
}
