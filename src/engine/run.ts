/** `tsbuild run`: an image's layers, writable and thrown away at the end, and the runtime that RUN uses too. */
import { TsbuildError } from '../base/errors.ts';
import type { StoredImage } from '../image/image-store.ts';
import { openTree } from '../layer/open-tree.ts';
import type { Platform } from '../oci/documents.ts';
import { resolveRunUser, type ResolvedRunUser } from '../oci/user.ts';
import { parseReference, withDefaultTag } from '../oci/reference.ts';
import { createContainerSpec, DEFAULT_STUBS } from '../runtime/default-spec.ts';
import type { ContainerMount, ExitStatus, Signal, Stdio } from '../runtime/runtime.ts';
import { readOwnerFiles } from '../solver/exec/owner-files.ts';
import type { ActiveSnapshot } from '../../snapshotter/snapshotter.ts';
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
  readonly hostname?: string;
  readonly network: 'host' | 'none';
  readonly terminal: boolean;
  readonly stdio: Stdio;
  readonly volumes: readonly ContainerMount[];
  readonly extraHosts: readonly string[];
  readonly readonlyRoot: boolean;
  readonly privileged: boolean;
  readonly capabilities?: readonly string[];
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
  const user = await userOf(engine, name, request.user ?? config.User ?? '');
  await using active: ActiveSnapshot = await snapshotter.prepare(name, { stubs: [...DEFAULT_STUBS] });
  const runtime = await engine.runtime();
  const id = `run-${engine.host.unique().replaceAll('.', '-')}`;
  const spec = createContainerSpec({
    id,
    mounts: active.mounts,
    args,
    env: mergeEnv(config.Env ?? [], request.env),
    cwd: request.workdir ?? config.WorkingDir ?? '/',
    user,
    home: user.home,
    hostname: request.hostname ?? (request.network === 'host' ? hostnameOf(engine) : id.slice(0, 12)),
    network: request.network,
    terminal: request.terminal,
    resolvConf: engine.options.resolvConf(),
    extraHosts: request.extraHosts,
    volumes: request.volumes,
    readonlyRoot: request.readonlyRoot,
    privileged: request.privileged,
    ...(request.capabilities === undefined ? {} : { capabilities: request.capabilities }),
  });
  await using container = await runtime.start(spec, request.stdio, {
    signal: options.signal,
    ...(options.onWarning === undefined ? {} : { onWarning: options.onWarning }),
  });
  options.onStarted?.(container);
  return await container.exited;
}

function hostnameOf(engine: Engine): string {
  return engine.options.hostname;
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
): Promise<ResolvedRunUser> {
  await using view = await (await engine.snapshotter()).view(name);
  using tree = openTree(view.mounts);
  return resolveRunUser(text, readOwnerFiles(tree));
}
