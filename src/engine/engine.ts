/**
 * The engine: everything that a command needs, opened when it is first asked for.
 *
 * A cached build touches neither snapshots nor containers nor a registry, so their code is not even loaded. The
 * state root may be shared by any number of engines, in this and in other processes.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, TsbuildError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { openCompressedBlobs, type CompressedBlobs } from '../content/compressed-blobs.ts';
import { openContentStore, type ContentStore } from '../content/content-store.ts';
import { openImageStore, type ImageStore } from '../image/image-store.ts';
import { createForms, type Forms } from '../image/manifest.ts';
import { openLayerStore } from '../layer/layer-store.ts';
import type { LayerStore } from '../layer/layer.ts';
import type { Platform } from '../oci/documents.ts';
import type { Registry } from '../registry/registry.ts';
import { openContainerStore, type ContainerStore } from '../runtime/container-store.ts';
import type { Networks } from '../runtime/network/contract.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { openRecordStore, type RecordStore } from '../solver/records.ts';
import { openVolumes, type Volumes } from './volumes.ts';
import type { StepNetwork } from './step-network.ts';
import type { Snapshotter } from '../../snapshotter/snapshotter.ts';

export interface EngineOptions {
  /** Directory of all state, absolute. */
  readonly root: string;
  readonly host: Host;
  /** The machine's own platform. */
  readonly platform: Platform;
  /** How many steps may run at a time. */
  readonly parallelism: number;
  /** The host's name, for containers that share its network. */
  readonly hostname: string;
  readonly random: (size: number) => Uint8Array;
  /**
   * argv of a program that cleans up after a container whose id is added to it; run by the container's monitor where
   * nobody else does. Empty: the next command does.
   */
  readonly cleanupCommand: readonly string[];
  /** Text of the host's resolv.conf. */
  readonly resolvConf: () => string;
  readonly openRegistry: () => Promise<Registry>;
}

export interface Engine extends AsyncDisposable {
  readonly options: EngineOptions;
  readonly host: Host;
  readonly content: ContentStore;
  readonly layers: LayerStore;
  readonly compressed: CompressedBlobs;
  readonly images: ImageStore;
  readonly forms: Forms;
  readonly records: RecordStore;
  readonly containers: ContainerStore;
  readonly volumes: Volumes;
  readonly snapshotter: () => Promise<Snapshotter>;
  readonly runtime: () => Promise<Runtime>;
  readonly networks: () => Promise<Networks>;
  /** What RUN joins where the Dockerfile asks for no other network. */
  readonly stepNetwork: () => Promise<StepNetwork>;
  readonly registry: () => Promise<Registry>;
  /** Path for a new temporary file, on the disk of the state root. */
  readonly spool: () => string;
}

/** Throws PERMISSION_DENIED or IO_FAILED where the state root cannot be used. */
export function openEngine(options: EngineOptions): Engine {
  const { root, host } = options;
  makeRoot(root);
  const content = openContentStore(join(root, 'content'), host);
  const layers = openLayerStore(join(root, 'layers'), host);
  const compressed = openCompressedBlobs(join(root, 'compressed'), host);
  const images = openImageStore({ root: join(root, 'images'), host, content, layers, compressed });
  const snapshotter = once(async () => {
    const { openSnapshotter } = await import('../../snapshotter/open.ts');
    return openSnapshotter({ root: join(root, 'snapshots'), host, layers });
  });
  const runtime = once(async () => {
    const [{ createRuntime }, { locateNative }, { probeMachine }] = await Promise.all([
      import('../runtime/launch-runtime.ts'),
      import('../../native/locate.ts'),
      import('./machine.ts'),
    ]);
    return createRuntime({
      launcher: locateNative('tsbuild-launch'),
      machine: probeMachine(root, options.platform),
    });
  });
  const networks = once(async () => {
    const [{ openNetworks }, { createNetCall }, { locateNative }] = await Promise.all([
      import('../runtime/network/open-networks.ts'),
      import('../../native/net-call.ts'),
      import('../../native/locate.ts'),
    ]);
    return openNetworks({
      root,
      host,
      call: createNetCall(locateNative('tsbuild-launch')),
      resolvConf: options.resolvConf,
      runDirectory: '/run/tsbuild',
      netnsDirectory: '/run/netns',
    });
  });
  const stepNetwork = once(async () => {
    const { openStepNetwork } = await import('./step-network.ts');
    return openStepNetwork({
      networks: await networks.get(),
      runtime: await runtime.get(),
      host,
      resolvConf: options.resolvConf,
      hostname: options.hostname,
    });
  });
  const registry = once(options.openRegistry);
  return {
    options,
    host,
    content,
    layers,
    compressed,
    images,
    forms: createForms({ content, layers, compressed, images }),
    records: openRecordStore(join(root, 'records'), host),
    containers: openContainerStore({
      root: join(root, 'containers'),
      host,
      random: options.random,
    }),
    volumes: openVolumes({
      root: join(root, 'volumes'),
      host,
      random: options.random,
      containerExists: (id) => existsSync(join(root, 'containers', id)),
    }),
    snapshotter: snapshotter.get,
    runtime: runtime.get,
    networks: networks.get,
    stepNetwork: stepNetwork.get,
    registry: registry.get,
    spool() {
      const directory = join(root, 'spool');
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      return join(directory, host.unique());
    },
    async [Symbol.asyncDispose]() {
      await (await runtime.opened())?.[Symbol.asyncDispose]();
      const attachedAs = (await stepNetwork.opened())?.attachedAs;
      if (attachedAs !== undefined) await (await networks.get()).detach(attachedAs);
      await (await snapshotter.opened())?.[Symbol.asyncDispose]();
      await (await registry.opened())?.[Symbol.asyncDispose]();
    },
  };
}

function makeRoot(root: string): void {
  try {
    mkdirSync(root, { recursive: true, mode: 0o711 });
  } catch (error) {
    const denied = errnoOf(error) === 'EACCES' || errnoOf(error) === 'EPERM';
    const reason = error instanceof Error ? error.message : String(error);
    throw new TsbuildError(
      denied ? 'PERMISSION_DENIED' : 'IO_FAILED',
      `cannot use the state root ${JSON.stringify(root)}: ${reason}`,
      {
        cause: error,
        hint: denied
          ? 'run as root, or name a directory of your own with --root'
          : 'name another directory with --root',
      },
    );
  }
}

interface Once<T> {
  readonly get: () => Promise<T>;
  /** What was opened, if it was. */
  readonly opened: () => Promise<T | undefined>;
}

function once<T>(open: () => Promise<T>): Once<T> {
  let promise: Promise<T> | undefined;
  return {
    get: () => (promise ??= open()),
    opened: () => (promise === undefined ? Promise.resolve(undefined) : promise.catch(() => undefined)),
  };
}
