/** `tsbuild run`: an image's layers, writable and thrown away at the end, and the runtime that RUN uses too. */
import { statSync } from 'node:fs';
import { TsbuildError } from '../base/errors.ts';
import type { StoredImage } from '../image/image-store.ts';
import { openTree } from '../layer/open-tree.ts';
import type { Platform } from '../oci/documents.ts';
import { resolveGroups, resolveRunUser, type ResolvedRunUser } from '../oci/user.ts';
import { parseReference, withDefaultTag } from '../oci/reference.ts';
import { createContainerSpec, DEFAULT_STUBS } from '../runtime/default-spec.ts';
import type { IsolationOptions } from '../runtime/container-options.ts';
import type { ExitStatus, Signal, Stdio } from '../runtime/runtime.ts';
import { readOwnerFiles } from '../solver/exec/owner-files.ts';
import type { ActiveSnapshot } from '../../snapshotter/snapshotter.ts';
import { isolationAtStart, mountStubs } from './containers/isolation.ts';
import { populateVolumes } from './containers/populate.ts';
import { resolveIsolation } from './containers/resolve-isolation.ts';
import { startFacts } from './containers/start-facts.ts';
import type { Engine } from './engine.ts';
import { snapshotOfImage } from './export-rootfs.ts';
import { pullImage } from './pull.ts';
import type { CallOptions } from './with-vertex.ts';

export interface RunRequest {
  readonly image: string;
  /** Instead of the image's CMD; undefined: the image's. */
  readonly command: readonly string[];
  readonly entrypoint?: readonly string[];
  readonly env: readonly string[];
  readonly workdir?: string;
  readonly user?: string;
  readonly network: 'host' | 'none';
  readonly terminal: boolean;
  readonly stdio: Stdio;
  readonly extraHosts: readonly string[];
  readonly isolation: IsolationOptions;
  readonly pull: 'always' | 'missing' | 'never';
  readonly platform?: Platform;
}

export interface RunOptions extends CallOptions {
  /** Told once the program runs; what it returns is called when it has ended. */
  readonly onStarted?: (container: { kill(signal: Signal): void }) => void;
  readonly onWarning?: (message: string) => void;
}

/** Resolves when the program has ended and everything is cleaned up. Throws IMAGE_NOT_FOUND, COMMAND_*, USER_NOT_FOUND, … */
export async function runImage(
  engine: Engine,
  request: RunRequest,
  options: RunOptions,
): Promise<ExitStatus> {
  const image = await findImage(engine, request, options);
  const { config } = image.config;
  const args = argsOf(request, image);
  const snapshotter = await engine.snapshotter();
  const name = await snapshotOfImage(engine, image);
  const id = `run-${engine.host.unique().replaceAll('.', '-')}`;
  const user = await userOf(engine, name, request.user ?? config.User ?? '', request.isolation.groups);
  using volumes = holdVolumes(engine, id, request.isolation, Object.keys(config.Volumes ?? {}));
  const { isolation } = volumes;
  await populateVolumes(engine, name, isolation.mounts, options.signal);
  const { input } = isolationAtStart(isolation, startFacts(engine));
  await using active: ActiveSnapshot = await snapshotter.prepare(name, {
    stubs: [...DEFAULT_STUBS, ...mountStubs(isolation.mounts, isFile)],
  });
  const runtime = await engine.runtime();
  const isHost = isolation.namespaces.uts?.kind === 'host' || request.network === 'host';
  const spec = createContainerSpec({
    id,
    mounts: active.mounts,
    args,
    env: mergeEnv(config.Env ?? [], request.env),
    cwd: request.workdir ?? config.WorkingDir ?? '/',
    user,
    home: user.home,
    hostname: isolation.hostname ?? (isHost ? engine.options.hostname : id.slice(0, 12)),
    network: request.network,
    terminal: request.terminal,
    resolvConf: engine.options.resolvConf(),
    extraHosts: request.extraHosts,
    ...input,
  });
  await using container = await runtime.start(spec, request.stdio, {
    signal: options.signal,
    ...(options.onWarning === undefined ? {} : { onWarning: options.onWarning }),
  });
  options.onStarted?.(container);
  return await container.exited;
}

interface HeldVolumes extends Disposable {
  readonly isolation: IsolationOptions;
}

/** Disposing lets go of the volumes, and removes those that are the container's alone. */
function holdVolumes(
  engine: Engine,
  containerID: string,
  options: IsolationOptions,
  imageVolumes: readonly string[],
): HeldVolumes {
  const { volumes, containers } = engine;
  const { isolation, anonymousVolumes } = resolveIsolation(options, {
    containerID,
    imageVolumes,
    volumes,
    containerOf: (reference) => ({ id: containers.require(reference).id, mounts: [] }),
  });
  return {
    isolation,
    [Symbol.dispose]() {
      for (const mount of isolation.mounts)
        if (mount.kind === 'volume' && mount.name !== undefined) volumes.release(mount.name, containerID);
      for (const name of anonymousVolumes) volumes.remove(name);
    },
  };
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === false;
}

async function findImage(
  engine: Engine,
  { image: text, pull, platform }: RunRequest,
  options: CallOptions,
): Promise<StoredImage> {
  const local = pull === 'always' ? undefined : await engine.images.find(text);
  if (local !== undefined) return local;
  if (pull === 'never') return engine.images.require(text);
  return pullImage(
    engine,
    withDefaultTag(parseReference(text)),
    platform ?? engine.options.platform,
    options,
  );
}

function argsOf({ entrypoint, command }: RunRequest, { config: { config } }: StoredImage): readonly string[] {
  const args =
    entrypoint === undefined
      ? [...(config.Entrypoint ?? []), ...(command.length > 0 ? command : (config.Cmd ?? []))]
      : [...entrypoint, ...command];
  if (args.length === 0)
    throw new TsbuildError(
      'SPEC_INVALID',
      'there is no command to run: the image has neither CMD nor ENTRYPOINT',
      { hint: 'name one after the image', exitCode: 125 },
    );
  return args;
}

function mergeEnv(base: readonly string[], more: readonly string[]): readonly string[] {
  const merged = new Map(base.map((entry) => [entry.split('=', 1)[0] ?? '', entry]));
  for (const entry of more) merged.set(entry.split('=', 1)[0] ?? '', entry);
  return [...merged.values()];
}

async function userOf(
  engine: Engine,
  name: Awaited<ReturnType<typeof snapshotOfImage>>,
  text: string,
  groups: readonly string[],
): Promise<ResolvedRunUser> {
  await using view = await (await engine.snapshotter()).view(name);
  using tree = openTree(view.mounts);
  const files = readOwnerFiles(tree);
  const user = resolveRunUser(text, files);
  return { ...user, additionalGids: [...new Set([...user.additionalGids, ...resolveGroups(groups, files)])] };
}
