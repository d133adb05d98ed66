/** exec. */
import { resolve } from 'node:path';
import { TsbuildError } from '../../base/errors.ts';
import { execInContainer, type ExecRequest } from '../../runtime/oci/exec.ts';
import type { Arguments } from './arguments.ts';
import { flag, option, type Command, type Session } from './command.ts';
import { exitCode, writePidFile } from './lifecycle-commands.ts';

export const EXEC: Command = {
  name: 'exec',
  usage: 'CONTAINER COMMAND [ARG…]',
  summary: 'run a further process in a container',
  stop: true,
  options: [
    option('process', 'process document (JSON)', 'p'),
    option('console-socket', "unix socket that gets the terminal's master"),
    option('pidfd-socket', 'unix socket that gets a pidfd of the process'),
    option('pid-file', 'file that gets the process id'),
    flag('detach', 'do not wait for its end', 'd'),
    flag('tty', 'give it a terminal', 't'),
    option('user', 'UID[:GID]', 'u'),
    option('additional-gids', 'further group', 'g'),
    option('cwd', 'working directory'),
    option('env', 'variable (NAME=VALUE)', 'e'),
    option('cap', 'further capability', 'c'),
    flag('no-new-privs', 'set no_new_privs'),
    option('apparmor', 'AppArmor profile'),
    option('process-label', 'SELinux label'),
    option('preserve-fds', 'pass this many more descriptors, from 3 on'),
    option('cgroup', "cgroup below the container's, PATH or CONTROLLER[,…]:PATH"),
    flag('ignore-paused', 'also where the container is paused'),
    flag('no-subreaper', 'ignored'),
  ],
  async run(args, session) {
    const { context, cwd } = session;
    const started = await execInContainer(context, requestOf(args, session));
    writePidFile(args, cwd, typeof started === 'number' ? started : started.pid);
    if (typeof started === 'number') return 0;
    session.forwardSignals(started.pid);
    return exitCode(await started.exited);
  },
};

function requestOf(args: Arguments, { cwd }: Session): ExecRequest {
  const [id, ...words] = args.words;
  if (id === undefined) throw new TsbuildError('USAGE', 'container id cannot be empty');
  const [file, socket, directory] = [args.text('process'), args.text('console-socket'), args.text('cwd')];
  const [apparmor, processLabel] = [args.text('apparmor'), args.text('process-label')];
  const [user, pidfdSocket] = [args.text('user'), args.text('pidfd-socket')];
  return {
    id,
    ...(file === undefined ? {} : { processFile: resolve(cwd, file) }),
    args: words,
    env: args.list('env'),
    ...(directory === undefined ? {} : { cwd: directory }),
    ...(user === undefined ? {} : { user: parseUser(user) }),
    additionalGids: args.list('additional-gids').map(Number),
    capabilities: args.list('cap'),
    tty: args.has('tty'),
    noNewPrivileges: args.has('no-new-privs'),
    ...(apparmor === undefined ? {} : { apparmor }),
    ...(processLabel === undefined ? {} : { processLabel }),
    ...(socket === undefined ? {} : { consoleSocket: resolve(cwd, socket) }),
    ...(pidfdSocket === undefined ? {} : { pidfdSocket: resolve(cwd, pidfdSocket) }),
    preserveFds: args.number('preserve-fds') ?? 0,
    detach: args.has('detach'),
    ignorePaused: args.has('ignore-paused'),
    cgroups: args.list('cgroup'),
  };
}

/** Numbers alone: names are the engine's to resolve (and a number must not be mistaken, CVE-2026-30892). */
function parseUser(text: string): { readonly uid: number; readonly gid?: number } {
  const match = /^(\d{1,10})(?::(\d{1,10}))?$/.exec(text);
  const [uid, gid] = [Number(match?.[1]), match?.[2] === undefined ? undefined : Number(match[2])];
  if (match === null || uid >= 0xffffffff || (gid ?? 0) >= 0xffffffff)
    throw new TsbuildError('USAGE', `invalid user ${JSON.stringify(text)}: write UID[:GID]`);
  return { uid, ...(gid === undefined ? {} : { gid }) };
}
