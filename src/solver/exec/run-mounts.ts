/**
 * What a RUN mounts besides its root: binds from stages and contexts, caches, tmpfs, secrets, ssh.
 *
 * Sources count for the key by content, those too that caches begin with; caches themselves, secrets and ssh do not.
 * Everything is mounted from where it lies; what a writable bind receives goes to a scratch directory that is removed
 * with the step.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { toByteString } from '../../base/byte-string.ts';
import { TsbuildError } from '../../base/errors.ts';
import type { Json } from '../../base/json.ts';
import { removeTree } from '../../base/remove-tree.ts';
import type { RunMount, RunOp } from '../../graph/ops.ts';
import { openTree } from '../../layer/open-tree.ts';
import type { ContainerMount } from '../../runtime/runtime.ts';
import type { Mount } from '../../../native/mount.ts';
import type { MountStub, Snapshotter } from '../../../snapshotter/snapshotter.ts';
import type { VertexContext } from '../handler.ts';
import { identityOf } from '../result.ts';
import { asJson } from '../solve.ts';
import type { Stacks } from '../stack.ts';
import { createCacheMounts, type CacheMount, type CacheMountOptions } from './cache-mounts.ts';
import { openAgentSocket } from './agent-socket.ts';
import type { PathIdentity } from './path-identity.ts';
import type { MountsIdentity, PreparedMounts } from './run.ts';

export interface RunMountOptions extends CacheMountOptions {
  readonly snapshotter: () => Promise<Snapshotter>;
  readonly stacks: Stacks;
  readonly contextDirectory: (name: string) => string;
  readonly identityOfPath: (
    context: VertexContext<RunOp>,
    input: number,
    path: string,
  ) => Promise<PathIdentity>;
  /** Value of a secret; undefined where the user gave none. */
  readonly secret: (id: string) => Promise<Uint8Array | undefined>;
  /** Path of an agent's socket. */
  readonly sshSocket: (id: string) => string | undefined;
}

export interface RunMounts {
  identity(context: VertexContext<RunOp>): Promise<MountsIdentity>;
  prepare(context: VertexContext<RunOp>): Promise<PreparedMounts>;
}

type BindMount = Extract<RunMount, { kind: 'bind' }>;
type SecretMount = Extract<RunMount, { kind: 'secret' }>;
type SshMount = Extract<RunMount, { kind: 'ssh' }>;

interface Prepared {
  readonly mounts: ContainerMount[];
  readonly env: string[];
  readonly stubs: MountStub[];
  readonly secrets: Uint8Array[];
  readonly cleanups: (() => Promise<void> | void)[];
}

export function createRunMounts(options: RunMountOptions): RunMounts {
  const caches = createCacheMounts(options);

  async function identityOfMount(
    context: VertexContext<RunOp>,
    mount: RunMount,
    paths: PathIdentity[],
  ): Promise<Json> {
    switch (mount.kind) {
      case 'bind': {
        const path = await options.identityOfPath(context, mount.input, mount.source);
        paths.push(path);
        return { ...asObject(mount), source: `${path.identity} ${mount.source}`, input: null };
      }
      case 'cache':
        return mount.input === undefined ? asJson(mount) : seededIdentity(context, mount, mount.input);
      case 'tmpfs':
        return asJson(mount);
      case 'secret':
      case 'ssh':
        // why: where it appears and under which name is visible to the command; its value must not count.
        return asJson(mount);
    }
  }

  /** why: with other files to begin with it is another cache (cache-mounts.ts), so what the command sees is other, too. */
  function seededIdentity({ inputs }: VertexContext<RunOp>, mount: CacheMount, input: number): Json {
    const { source = '/' } = mount;
    const seed = inputs[input];
    return {
      ...asObject(mount),
      input: null,
      source: `${seed === undefined ? '' : identityOf(seed)} ${source}`,
    };
  }

  async function add(context: VertexContext<RunOp>, mount: RunMount, into: Prepared): Promise<void> {
    switch (mount.kind) {
      case 'bind':
        return addBind(context, mount, into);
      case 'cache':
        return addCache(context, mount, into);
      case 'tmpfs':
        into.stubs.push({ path: mount.target, type: 'directory' });
        into.mounts.push({
          kind: 'tmpfs',
          target: mount.target,
          mode: 0o1777,
          ...(mount.size === undefined ? {} : { size: mount.size }),
        });
        return;
      case 'secret':
        return addSecret(mount, into);
      case 'ssh':
        return addSsh(mount, into);
    }
  }

  async function addBind(context: VertexContext<RunOp>, mount: BindMount, into: Prepared): Promise<void> {
    let mounts = await mountsOfInput(context, mount.input, into);
    into.stubs.push({ path: mount.target, type: typeIn(mounts, mount.source) });
    if (!mount.readonly) mounts = scratchOver(mounts, into);
    into.mounts.push({
      kind: 'assembled',
      mounts,
      source: mount.source,
      target: mount.target,
      readonly: mount.readonly,
    });
  }

  async function mountsOfInput(
    context: VertexContext<RunOp>,
    index: number,
    into: Prepared,
  ): Promise<readonly Mount[]> {
    const input = context.inputs[index];
    if (input?.kind === 'context')
      return [{ kind: 'bind', source: options.contextDirectory(input.name), readonly: true }];
    if (input?.kind !== 'stack')
      throw new TsbuildError('INSTRUCTION_UNSUPPORTED', 'cannot mount a fetched file');
    const view = await (await options.snapshotter()).view(await options.stacks.snapshotOf(input));
    into.cleanups.push(async () => view[Symbol.asyncDispose]());
    return view.mounts;
  }

  /** The same files, writable; what is written is thrown away. */
  function scratchOver(mounts: readonly Mount[], into: Prepared): readonly Mount[] {
    const directory = join(options.root, 'scratch', options.host.unique());
    const [upper, work] = [join(directory, 'upper'), join(directory, 'work')];
    for (const path of [upper, work]) mkdirSync(path, { recursive: true });
    into.cleanups.push(() => removeTree(directory));
    const lower = mounts.flatMap((mount) => (mount.kind === 'bind' ? [mount.source] : mount.lower));
    const [first] = mounts;
    const program = first?.kind === 'overlay' ? first.program : undefined;
    return [
      {
        ...{ kind: 'overlay', lower, upper, work, volatile: true },
        ...(program === undefined ? {} : { program }),
      },
    ];
  }

  async function addCache(context: VertexContext<RunOp>, mount: CacheMount, into: Prepared): Promise<void> {
    const cache = await caches.use(context, mount);
    into.cleanups.push(() => cache[Symbol.dispose]());
    into.stubs.push({ path: mount.target, type: 'directory' });
    into.mounts.push({
      kind: 'bind',
      source: cache.directory,
      target: mount.target,
      readonly: mount.readonly,
      recursive: false,
    });
  }

  async function addSecret(mount: SecretMount, into: Prepared): Promise<void> {
    const value = await options.secret(mount.id);
    if (value === undefined) {
      if (mount.required)
        throw new TsbuildError('INSTRUCTION_INVALID', `secret ${JSON.stringify(mount.id)} was not given`, {
          hint: `give it with --secret id=${mount.id},src=FILE or --secret id=${mount.id},env=NAME`,
          word: `id=${mount.id}`,
        });
      return;
    }
    into.secrets.push(value);
    if (mount.env !== undefined) into.env.push(`${mount.env}=${Buffer.from(value).toString('utf8')}`);
    if (mount.target === undefined) return;
    const { target, mode, uid, gid } = mount;
    into.stubs.push({ path: target, type: 'file' });
    into.mounts.push({ kind: 'file', target, content: value, mode, uid, gid, readonly: true });
  }

  async function addSsh(mount: SshMount, into: Prepared): Promise<void> {
    const agent = options.sshSocket(mount.id);
    if (agent === undefined) {
      if (mount.required)
        throw new TsbuildError('INSTRUCTION_INVALID', `ssh agent ${JSON.stringify(mount.id)} was not given`, {
          hint: `give it with --ssh ${mount.id}=SOCKET, or --ssh ${mount.id} where SSH_AUTH_SOCK is set`,
          word: 'type=ssh',
        });
      return;
    }
    const directory = join(options.root, 'agents', options.host.unique());
    const { uid, gid, mode } = mount;
    const socket = await openAgentSocket({ directory, agent, uid, gid, mode });
    into.cleanups.push(async () => socket[Symbol.asyncDispose]());
    into.stubs.push({ path: mount.target, type: 'file' });
    into.mounts.push({
      kind: 'bind',
      source: socket.path,
      target: mount.target,
      readonly: false,
      recursive: false,
    });
    into.env.push(`SSH_AUTH_SOCK=${mount.target}`);
  }

  return {
    async identity(context) {
      const paths: PathIdentity[] = [];
      const named = await Promise.all(
        context.op.mounts.map((mount) => identityOfMount(context, mount, paths)),
      );
      return {
        named,
        listings: paths.flatMap(({ listing }) => listing ?? []),
        remember() {
          for (const { remember } of paths) remember?.();
        },
      };
    },
    async prepare(context) {
      const prepared: Prepared = { mounts: [], env: [], stubs: [], secrets: [], cleanups: [] };
      const cleanUp = async (): Promise<void> => {
        for (let undo = prepared.cleanups.pop(); undo !== undefined; undo = prepared.cleanups.pop())
          await undo();
      };
      try {
        for (const mount of context.op.mounts) await add(context, mount, prepared);
        const { script } = context.op;
        if (script !== undefined)
          prepared.mounts.push({
            kind: 'file',
            target: script.path,
            content: script.content,
            mode: 0o755,
            uid: 0,
            gid: 0,
            readonly: true,
          });
      } catch (error) {
        await cleanUp();
        throw error;
      }
      return {
        mounts: prepared.mounts,
        env: prepared.env,
        stubs: prepared.stubs,
        secrets: prepared.secrets,
        [Symbol.asyncDispose]: cleanUp,
      };
    },
  };
}

/** What lies at a place that is to be mounted; a place that is not there is left to the launcher's error. */
function typeIn(mounts: readonly Mount[], source: string): MountStub['type'] {
  using tree = openTree(mounts);
  const type = tree.stat(toByteString(source))?.type;
  return type === undefined || type === 'directory' ? 'directory' : 'file';
}

function asObject(value: object): Record<string, Json> {
  return asJson(value) as Record<string, Json>;
}
