/** create, run, start, state, kill, delete, pause, resume. */
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { TsbuildError } from '../../base/errors.ts';
import { createContainer, type Created } from '../../runtime/oci/create.ts';
import {
  deleteContainer,
  killContainer,
  pauseContainer,
  removeContainer,
  resumeContainer,
  runPoststart,
  signalOf,
  startContainer,
  stateOf,
} from '../../runtime/oci/lifecycle.ts';
import { changeMounts } from '../../runtime/oci/late-mounts.ts';
import type { ExitStatus } from '../../runtime/runtime.ts';
import type { Arguments } from './arguments.ts';
import { containerId, flag, option, type Command, type Session } from './command.ts';

const CREATE_OPTIONS = [
  option('bundle', 'directory of the bundle (default: the current one)', 'b'),
  option('config', 'its config, in the bundle (default: config.json)', 'f'),
  option('console-socket', "unix socket that gets the terminal's master"),
  option('pidfd-socket', 'unix socket that gets a pidfd of the process'),
  option('pid-file', 'file that gets the process id'),
  option('preserve-fds', 'pass this many more descriptors, from 3 on'),
  flag('no-pivot', 'cover the old root instead of pivot_root(2)'),
  flag('no-new-keyring', "keep the caller's session keyring"),
  flag('no-subreaper', 'ignored'),
];

async function create(
  args: Arguments,
  { context, cwd, env }: Session,
  mode: { readonly waits: boolean; readonly foreground: boolean },
): Promise<Created> {
  const listening = Number(env['LISTEN_FDS'] ?? 0);
  const [consoleSocket, pidfdSocket] = [args.text('console-socket'), args.text('pidfd-socket')];
  const created = await createContainer(context, {
    id: containerId(args),
    bundle: resolve(cwd, args.text('bundle') ?? '.'),
    config: args.text('config') ?? 'config.json',
    pivot: !args.has('no-pivot'),
    keyring: !args.has('no-new-keyring'),
    preserveFds: (args.number('preserve-fds') ?? 0) + listening,
    env: listening > 0 ? [`LISTEN_FDS=${listening}`, 'LISTEN_PID=1'] : [],
    ...(env['NOTIFY_SOCKET'] === undefined ? {} : { notifySocket: env['NOTIFY_SOCKET'] }),
    ...(consoleSocket === undefined ? {} : { consoleSocket: resolve(cwd, consoleSocket) }),
    ...(pidfdSocket === undefined ? {} : { pidfdSocket: resolve(cwd, pidfdSocket) }),
    ...mode,
  });
  writePidFile(args, cwd, created.record.pid);
  return created;
}

export function writePidFile(args: Arguments, cwd: string, pid: number): void {
  const path = args.text('pid-file');
  if (path !== undefined) writeFileSync(resolve(cwd, path), `${pid}`);
}

export const CREATE: Command = {
  name: 'create',
  usage: '[OPTION]... CONTAINER',
  summary: 'create a container, which waits for its start',
  options: CREATE_OPTIONS,
  async run(args, session) {
    await create(args, session, { waits: true, foreground: false });
    return 0;
  },
};

export const RUN: Command = {
  name: 'run',
  usage: '[OPTION]... CONTAINER',
  summary: 'create a container and start it',
  options: [
    ...CREATE_OPTIONS,
    flag('detach', 'do not wait for its end', 'd'),
    flag('keep', 'do not delete it when it has ended'),
  ],
  async run(args, session) {
    const { context } = session;
    const foreground = !args.has('detach');
    const { record, attached } = await create(args, session, { waits: false, foreground });
    if (attached !== undefined) session.forwardSignals(record.pid);
    try {
      await runPoststart(context, record);
    } catch (error) {
      await deleteContainer(context, record.id, { force: true });
      throw error;
    }
    if (attached === undefined) return 0;
    const code = exitCode(await attached.exited);
    // why: somebody may have deleted it in the meantime.
    if (!args.has('keep')) await removeContainer(context, record).catch(ignoreGone);
    return code;
  },
};

function ignoreGone(error: unknown): void {
  if (!(error instanceof TsbuildError) || error.code !== 'SPEC_INVALID') throw error;
}

export function exitCode(status: ExitStatus): number {
  return status.kind === 'exited' ? status.code : 128 + status.signal;
}

export const START: Command = {
  name: 'start',
  usage: 'CONTAINER',
  summary: 'start the program of a created container',
  options: [],
  async run(args, { context }) {
    await startContainer(context, containerId(args));
    return 0;
  },
};

export const STATE: Command = {
  name: 'state',
  usage: 'CONTAINER',
  summary: 'print the state of a container as JSON',
  options: [],
  run(args, { context: { store }, print }) {
    const record = store.read(containerId(args));
    print(`${JSON.stringify(stateOf(record, store.statusOf(record)), null, 2)}\n`);
    return 0;
  },
};

export const KILL: Command = {
  name: 'kill',
  usage: 'CONTAINER [SIGNAL]',
  summary: 'send a signal (default: SIGTERM) to the first process of a container',
  options: [flag('all', 'to every process of the container', 'a')],
  async run(args, { context }) {
    const id = containerId(args, 2);
    await killContainer(context, id, signalOf(args.words[1] ?? 'SIGTERM'), args.has('all'));
    return 0;
  },
};

export const DELETE: Command = {
  name: 'delete',
  usage: 'CONTAINER',
  summary: 'delete what a stopped container holds',
  options: [
    flag('force', 'end it first; no error where there is none', 'f'),
    flag('regex', 'all containers whose id matches'),
  ],
  async run(args, { context }) {
    const id = containerId(args);
    const force = args.has('force');
    const ids = args.has('regex')
      ? context.store.list().flatMap((record) => (new RegExp(id).test(record.id) ? [record.id] : []))
      : [id];
    for (const each of ids)
      try {
        await deleteContainer(context, each, { force });
      } catch (error) {
        if (!force || !(error instanceof TsbuildError) || error.code !== 'CONTAINER_NOT_FOUND') throw error;
        // What a creation that was killed left behind.
        context.store.remove(each);
      }
    return 0;
  },
};

export const PAUSE: Command = {
  name: 'pause',
  usage: 'CONTAINER',
  summary: 'suspend all processes of a container',
  options: [],
  async run(args, { context }) {
    await pauseContainer(context, containerId(args));
    return 0;
  },
};

export const MOUNTS: Command = {
  name: 'mounts',
  usage: '[add|remove] CONTAINER FILE',
  summary: 'mount what a document (a list of mounts) says in a container that runs, or unmount it',
  options: [],
  async run(args, { context, cwd }) {
    const [action, id = '', file, ...more] = args.words;
    if ((action !== 'add' && action !== 'remove') || file === undefined || more.length > 0)
      throw new TsbuildError('USAGE', 'usage: mounts add|remove CONTAINER FILE');
    await changeMounts(context, { id, action, file: resolve(cwd, file) });
    return 0;
  },
};

export const RESUME: Command = {
  name: 'resume',
  usage: 'CONTAINER',
  summary: 'let them go on',
  options: [],
  async run(args, { context }) {
    await resumeContainer(context, containerId(args));
    return 0;
  },
};
