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
import { makeDirectories } from '../base/make-directories.ts';
import type { Retention } from '../base/retention.ts';
import { openCompressedBlobs, type CompressedBlobs } from '../content/compressed-blobs.ts';
import { openContentStore, type ContentStore } from '../content/content-store.ts';
import { layoutPath, openLazyBlobs, type LazyBlobs } from '../content/lazy-blobs.ts';
import { openImageStore, type ImageStore } from '../image/image-store.ts';
import { createLayerFiles, type LayerFiles } from '../image/layer-files.ts';
import { createForms, type Forms } from '../image/manifest.ts';
import { openLayerStore } from '../layer/layer-store.ts';
import type { LayerStore } from '../layer/layer.ts';
import type { Platform } from '../oci/documents.ts';
import { parseReference } from '../oci/reference.ts';
import type { Registry } from '../registry/registry.ts';
import { openContainerStore, type ContainerStore } from '../runtime/container-store.ts';
import type { Networks } from '../runtime/network/contract.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { openRecordStore, type RecordStore } from '../solver/records.ts';
import type { StepLocks } from '../solver/step-locks.ts';
import { openBudget, type Budget } from './gc/budget.ts';
import { openLeases, type Leases } from './gc/leases.ts';
import { openVolumes, type Volumes } from './volumes.ts';
import type { StepNetwork } from './step-network.ts';
import { endNotes } from './unchanged-notes.ts';
import type { Driver } from '../../snapshotter/driver.ts';
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
  /** Bytes that builds and pulls may leave below the root; absent: as many as the disk has. */
  readonly storageMax?: number;
  /** Of the snapshotter; absent: the best one that works. */
  readonly storageDriver?: Driver;
}

/** Disposing has the disk catch up with the layers and snapshots that were made (native/write-back.ts). */
export interface Engine extends AsyncDisposable {
  readonly options: EngineOptions;
  readonly host: Host;
  readonly content: ContentStore;
  readonly layers: LayerStore;
  readonly compressed: CompressedBlobs;
  /** Where blobs can be had that the store does not hold. */
  readonly blobs: LazyBlobs;
  readonly images: ImageStore;
  readonly layerFiles: LayerFiles;
  readonly forms: Forms;
  readonly records: RecordStore;
  readonly stepLocks: StepLocks;
  /** What this process needs of the state root, so that no garbage collection takes it. */
  readonly leases: Leases;
  readonly retention: Retention;
  /** `storage.max`. */
  readonly budget: Budget;
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
  const containers = openContainerStore({ root: join(root, 'containers'), host, random: options.random });
  const leases = openLeases(root, host);
  const budget = openBudget({ root, host, containers }, options.storageMax);
  const retention: Retention = {
    hold: (kind, name) => leases.hold(kind, name),
    touch: (path) => leases.touch(path),
    reserve: (bytes) => budget.reserve(bytes),
  };
  const content = openContentStore(join(root, 'content'), host, retention);
  const layers = openLayerStore(join(root, 'layers'), host, retention);
  const compressed = openCompressedBlobs(join(root, 'compressed'), host);
  const registry = once(options.openRegistry);
  const blobs = openLazyBlobs({
    root: join(root, 'known-blobs'),
    host,
    content,
    compressed,
    async sourceOf(repository) {
      const directory = layoutPath(repository);
      if (directory === undefined) return (await registry.get()).source(parseReference(repository));
      const { directoryFiles, layoutSource } = await import('./layout-files.ts');
      return layoutSource(directoryFiles(directory));
    },
  });
  const layerFiles = createLayerFiles({ content, layers, blobs });
  const images = openImageStore({ root: join(root, 'images'), host, content, layers, blobs, retention });
  const snapshotter = once(async () => {
    const { openChosenSnapshotter } = await import('../../snapshotter/open.ts');
    const { storageDriver: driver } = options;
    return openChosenSnapshotter({
      root: join(root, 'snapshots'),
      host,
      layers,
      retention,
      ...(driver === undefined ? {} : { driver }),
    });
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
  async function catchUp(): Promise<void> {
    const notes = [...layers.unsynced(), ...((await snapshotter.opened())?.unsynced() ?? [])];
    if (notes.length === 0) return;
    const { writeBack } = await import('../../native/write-back.ts');
    await writeBack(notes);
  }
  return {
    options,
    host,
    content,
    layers,
    compressed,
    blobs,
    images,
    layerFiles,
    forms: createForms({ content, layers, compressed, blobs, files: layerFiles }),
    records: openRecordStore(join(root, 'records'), host, () => endNotes(root, host)),
    stepLocks: {
      acquire: async (key, waiting) =>
        (await import('./step-locks.ts')).openStepLocks(root).acquire(key, waiting),
    },
    leases,
    retention,
    budget,
    containers,
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
      // why last: what is written durably meanwhile would wait for all of it. What the disk would not take loses its trust with
      // the next boot, and what was asked for has been done.
      await catchUp().catch(() => undefined);
    },
  };
}

function makeRoot(root: string): void {
  try {
    makeDirectories(root, 0o711);
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
