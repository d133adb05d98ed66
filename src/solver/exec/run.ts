/**
 * RunOp: a process in the root file system of input 0; what it changed becomes a layer.
 *
 * The key (design D6): the parent by content, argv, the environment really visible, cwd, user, network mode,
 * mounts with their sources by content, platform, names given by --add-host. Not secrets, not predefined proxies, not limits.
 */
import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { TsbuildError } from '../../base/errors.ts';
import type { Json } from '../../base/json.ts';
import { requireEntitlements, type Entitlement } from '../../graph/entitlements.ts';
import type { RunOp } from '../../graph/ops.ts';
import { openTree } from '../../layer/open-tree.ts';
import { resolveRunUser } from '../../oci/user.ts';
import type {
  ContainerMount,
  ContainerSpec,
  ContainerUser,
  ExitStatus,
  MemoryReport,
  Runtime,
} from '../../runtime/runtime.ts';
import type { MountStub, SnapshotName, Snapshotter } from '../../../snapshotter/snapshotter.ts';
import type { Mount } from '../../../native/mount.ts';
import type { OpHandler, VertexContext } from '../handler.ts';
import type { Listing } from '../listing.ts';
import { identityOf, pushLayer, type StackResult } from '../result.ts';
import type { Stacks } from '../stack.ts';
import { asJson } from '../solve.ts';
import { areOwnersPlain, OWNERS_DIRECTORY, readOwnerFiles, type OwnerFiles } from './owner-files.ts';
import { createOutputTail } from './output-tail.ts';
import { describeMemory } from '../../base/memory-text.ts';
import { MEMORY_HINT, stepError } from './step-error.ts';
import { createMask, holdsSecret } from './secret-mask.ts';

/** What a RUN needs mounted, and how to give it back afterwards. */
export interface PreparedMounts extends AsyncDisposable {
  readonly mounts: readonly ContainerMount[];
  readonly env: readonly string[];
  /** Places for them that must not appear in the layer. */
  readonly stubs: readonly MountStub[];
  /** Values that must not be seen. */
  readonly secrets: readonly Uint8Array[];
}

/** Of everything mounted besides the root, for the key; the rest as in CacheMap. */
export interface MountsIdentity {
  readonly named: Json;
  readonly listings: readonly Listing[];
  readonly remember: () => void;
}

export interface RunHandlerOptions {
  readonly snapshotter: () => Promise<Snapshotter>;
  readonly runtime: () => Promise<Runtime>;
  readonly stacks: Stacks;
  /** The complete spec for a step, with the defaults of the runtime. */
  readonly containerSpec: (input: StepSpecInput) => Promise<ContainerSpec>;
  readonly mountIdentity: (context: VertexContext<RunOp>) => Promise<MountsIdentity>;
  readonly prepareMounts: (context: VertexContext<RunOp>) => Promise<PreparedMounts>;
  /** Places that must exist in every container; they never appear in the layer. */
  readonly stubs: () => Promise<readonly MountStub[]>;
  /** Seconds; later mtimes are clamped (SOURCE_DATE_EPOCH). */
  readonly maxMtime?: number;
  readonly now: () => number;
  /** `NAME:IP`, in every step's /etc/hosts; as the user gave them. */
  readonly extraHosts: readonly string[];
  /** Asked here and not only where the graph is made: a graph may come from anywhere (CVE-2024-23653). */
  readonly allowed: ReadonlySet<Entitlement>;
  /** Gives back what belongs to a step besides its mounts, its cgroup; says what memory it had. */
  readonly endStep: (spec: ContainerSpec, hasRun: boolean) => Promise<MemoryReport | undefined>;
}

export interface StepSpecInput {
  readonly mounts: readonly Mount[];
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly user: ContainerUser;
  readonly home: string;
  readonly network: RunOp['network'];
  readonly volumes: readonly ContainerMount[];
  readonly privileged: boolean;
  /** It sees secrets: no core file may keep them. */
  readonly confidential: boolean;
  readonly hostname?: string;
}

interface Owners {
  readonly files: OwnerFiles;
  readonly isPlain: boolean;
}

export function createRunHandler(options: RunHandlerOptions): OpHandler<RunOp> {
  /** Of states of this build. why: most steps leave them as they are, and reading them takes a mount. */
  const owners = new Map<SnapshotName | undefined, Owners>();

  async function ownersOf(snapshotter: Snapshotter, name: SnapshotName | undefined): Promise<Owners> {
    const known = owners.get(name);
    if (known !== undefined) return known;
    await using view = await snapshotter.view(name);
    using tree = openTree(view.mounts);
    const read = { files: readOwnerFiles(tree), isPlain: areOwnersPlain(tree) };
    owners.set(name, read);
    return read;
  }

  return {
    async cacheMap(context) {
      const { op, inputs } = context;
      requireEntitlements(op, options.allowed);
      const parent = rootOf(inputs[0]);
      const mounts = await options.mountIdentity(context);
      return {
        ...{ listings: mounts.listings, remember: mounts.remember },
        named: {
          kind: 'run',
          parent: identityOf(parent),
          args: op.args,
          env: visibleEnv(op),
          cwd: op.cwd,
          user: op.user,
          network: op.network,
          security: op.security,
          mounts: mounts.named,
          script: asJson(op.script ?? null),
          platform: asJson(op.platform),
          ...(op.hostname === undefined ? {} : { hostname: op.hostname }),
          ...(options.extraHosts.length === 0 ? {} : { extraHosts: options.extraHosts }),
          ...(options.maxMtime === undefined ? {} : { maxMtime: options.maxMtime }),
        },
      };
    },

    async exec(context) {
      requireEntitlements(context.op, options.allowed);
      const parent = rootOf(context.inputs[0]);
      const snapshotter = await options.snapshotter();
      const name = await options.stacks.snapshotOf(parent);
      const known = await ownersOf(snapshotter, name);
      const user = resolveRunUser(context.op.user, known.files);
      await using mounts = await options.prepareMounts(context);
      await using active = await snapshotter.prepare(name, {
        stubs: [...(await options.stubs()), ...mounts.stubs],
      });
      const spec = await options.containerSpec({
        mounts: active.mounts,
        args: context.op.args,
        env: [...context.op.env, ...mounts.env],
        cwd: context.op.cwd,
        user,
        home: user.home,
        network: context.op.network,
        volumes: mounts.mounts,
        privileged: context.op.security === 'insecure',
        confidential: mounts.secrets.length > 0,
        ...(context.op.hostname === undefined ? {} : { hostname: context.op.hostname }),
      });
      await runToEnd(options, spec, context, mounts.secrets);
      const keepsOwners = known.isPlain && active.mounts.every(isUntouched);
      const { layer, snapshot } = await active.commit({
        ...(options.maxMtime === undefined ? {} : { maxMtime: options.maxMtime }),
        onPacking: context.onPacking,
      });
      if (keepsOwners) owners.set(snapshot.name, known);
      if (mounts.secrets.length > 0 && (await holdsSecret(layer.tar(), mounts.secrets)))
        context.progress.warn(
          'the layer of this step holds the value of a secret, and everybody who gets the image can read it',
          'use the secret where it is mounted, and write no copy of it',
        );
      return pushLayer(parent, { diffID: layer.diffID, created: options.now() });
    },
  };
}

/** why: 125 to 127 are what `run` hands on; a build that fails ends with 1, whatever its step did. */
async function startStep<T>(start: () => Promise<T>): Promise<T> {
  try {
    return await start();
  } catch (error) {
    if (!(error instanceof TsbuildError) || error.exitCode === undefined) throw error;
    const { code, message, hint } = error;
    throw new TsbuildError(code, message, { cause: error, ...(hint === undefined ? {} : { hint }) });
  }
}

async function runToEnd(
  options: RunHandlerOptions,
  spec: ContainerSpec,
  context: VertexContext,
  secrets: readonly Uint8Array[],
): Promise<void> {
  const { progress, signal } = context;
  let outcome: StepOutcome | undefined;
  let memory: MemoryReport | undefined;
  try {
    outcome = await runProcess(await options.runtime(), spec, context, secrets);
  } finally {
    memory = await options.endStep(spec, outcome !== undefined);
  }
  const { status, lines } = outcome;
  if (signal.aborted) throw new TsbuildError('ABORTED', 'the build was aborted');
  if (status.kind === 'exited' && status.code === 0) {
    if (memory !== undefined && memory.kills > 0)
      progress.warn(`a process of this step was killed: ${describeMemory(memory)}`, MEMORY_HINT);
    return;
  }
  throw stepError(status, lines, memory);
}

interface StepOutcome {
  readonly status: ExitStatus;
  /** The last of its output. */
  readonly lines: readonly string[];
}

async function runProcess(
  runtime: Runtime,
  spec: ContainerSpec,
  { signal, progress }: VertexContext,
  secrets: readonly Uint8Array[],
): Promise<StepOutcome> {
  const tail = createOutputTail();
  const masks = { stdout: createMask(secrets), stderr: createMask(secrets) };
  const show = (stream: 'stdout' | 'stderr', data: Uint8Array): void => {
    if (data.byteLength === 0) return;
    tail.add(data);
    progress.log(stream, data);
  };
  await using container = await startStep(() =>
    runtime.start(
      spec,
      {
        kind: 'capture',
        onOutput: (stream, data) => show(stream, masks[stream].push(data)),
      },
      { signal, onWarning: (message) => progress.warn(message) },
    ),
  );
  const status = await container.exited;
  show('stdout', masks.stdout.end());
  show('stderr', masks.stderr.end());
  return { status, lines: tail.lines() };
}

/** A link that leads nowhere is there. */
function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** Whether it is known that a process changed nothing where users are written down. */
function isUntouched(mount: Mount): boolean {
  return (
    mount.kind === 'overlay' && mount.upper !== undefined && !isThere(join(mount.upper, OWNERS_DIRECTORY))
  );
}

function rootOf(input: unknown): StackResult {
  const result = input as StackResult | undefined;
  if (result?.kind !== 'stack')
    throw new TsbuildError('SPEC_INVALID', 'cannot run in something that is no root file system');
  return result;
}

function visibleEnv(op: RunOp): readonly string[] {
  const volatile = new Set(op.volatileEnv);
  return op.env.filter((entry) => !volatile.has(entry.slice(0, Math.max(0, entry.indexOf('=')))));
}
