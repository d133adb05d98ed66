/** Commands of a container's life. */
import type { CommandEntry } from '../command.ts';
import type { FlagSpec, FlagTable } from '../flags.ts';
import type * as Stop from '../commands/containers/stop.ts';
import { FILTER, MANY } from './flag-tables.ts';
import { CREATE_FLAGS } from './run-flag-table.ts';

const STOP_FLAGS: FlagTable = {
  time: { kind: 'text', short: 't', value: 'SECONDS', help: 'before SIGKILL; -1: never' },
  timeout: { kind: 'text', value: 'SECONDS', help: 'the same' },
  signal: { kind: 'text', short: 's', value: 'SIGNAL', help: 'instead of its stop signal' },
};
const ATTACH_FLAGS: FlagTable = {
  'detach-keys': {
    kind: 'text',
    value: 'KEYS',
    help: 'keys that leave the terminal (default ctrl-p,ctrl-q)',
  },
  'sig-proxy': { kind: 'boolean', initially: true, help: 'hand signals on to it' },
};
const FORCE: FlagSpec = { kind: 'boolean', short: 'f', help: 'kill what runs; do not ask' };

const EXEC_FLAGS: FlagTable = {
  detach: { kind: 'boolean', short: 'd', help: 'leave the process alone, without its output' },
  'detach-keys': {
    kind: 'text',
    value: 'KEYS',
    help: 'keys that leave its terminal (default ctrl-p,ctrl-q)',
  },
  interactive: { kind: 'boolean', short: 'i', help: 'keep standard input open' },
  tty: { kind: 'boolean', short: 't', help: 'give it a terminal' },
  user: { kind: 'text', short: 'u', value: 'USER[:GROUP]', help: 'who it runs as' },
  workdir: { kind: 'text', short: 'w', value: 'DIR', help: 'working directory' },
  env: { kind: 'list', short: 'e', value: 'NAME[=VALUE]', help: 'environment variable' },
  'env-file': { kind: 'list', value: 'FILE', help: 'read environment variables from FILE' },
  privileged: { kind: 'boolean', help: 'give it all capabilities' },
};

const LOG_FLAGS: FlagTable = {
  follow: { kind: 'boolean', short: 'f', help: 'go on until it ends' },
  tail: { kind: 'text', short: 'n', value: 'N', help: 'the last lines (default all)' },
  since: { kind: 'text', value: 'TIME', help: 'from then on: a date, seconds since 1970, or e.g. 10m ago' },
  until: { kind: 'text', value: 'TIME', help: 'up to then' },
  timestamps: { kind: 'boolean', short: 't', help: 'show when each line was written' },
  details: { kind: 'boolean', help: 'accepted: there are no details' },
};

type Run = CommandEntry['run'];
const stop =
  (pick: (module: typeof Stop) => Run): Run =>
  async (flags, session) =>
    pick(await import('../commands/containers/stop.ts'))(flags, session);

function command(
  name: string,
  usage: string,
  summary: string,
  flags: FlagTable,
  run: Run,
  more: { readonly minimum?: number; readonly maximum?: number; readonly stopAtFirst?: true } = {},
): CommandEntry {
  return { spec: { name, usage, summary, flags, minimum: 1, maximum: MANY, ...more }, run };
}

export const CONTAINER_LIFE_COMMANDS: readonly CommandEntry[] = [
  command(
    'create',
    '[OPTIONS] IMAGE [COMMAND [ARG…]]',
    'Make a container and do not start it.',
    CREATE_FLAGS,
    async (flags, session) => (await import('../commands/run.ts')).runCreate(flags, session),
    { stopAtFirst: true },
  ),
  command(
    'start',
    '[OPTIONS] CONTAINER…',
    'Start containers that do not run.',
    {
      ...ATTACH_FLAGS,
      ...FILTER,
      all: { kind: 'boolean', help: 'all of them, or those that --filter leaves' },
      attach: { kind: 'boolean', short: 'a', help: 'show its output and hand signals on' },
      interactive: { kind: 'boolean', short: 'i', help: 'give it standard input, too' },
    },
    async (flags, session) => (await import('../commands/containers/start.ts')).runStart(flags, session),
    { minimum: 0 },
  ),
  command(
    'attach',
    '[OPTIONS] CONTAINER',
    'Join the streams of a container that runs.',
    { ...ATTACH_FLAGS, 'no-stdin': { kind: 'boolean', help: 'do not give it standard input' } },
    async (flags, session) => (await import('../commands/containers/start.ts')).runAttach(flags, session),
    { maximum: 1 },
  ),
  command(
    'exec',
    '[OPTIONS] CONTAINER COMMAND [ARG…]',
    'Run a further command in a container.',
    EXEC_FLAGS,
    async (flags, session) => (await import('../commands/containers/exec.ts')).runExec(flags, session),
    { minimum: 2, stopAtFirst: true },
  ),
  command(
    'logs',
    '[OPTIONS] CONTAINER',
    'Show what a container has written.',
    LOG_FLAGS,
    async (flags, session) => (await import('../commands/containers/logs.ts')).runLogs(flags, session),
    { maximum: 1 },
  ),
  command(
    'stop',
    '[OPTIONS] CONTAINER…',
    'End containers in order.',
    STOP_FLAGS,
    stop((m) => m.runStop),
  ),
  command(
    'restart',
    '[OPTIONS] CONTAINER…',
    'Stop containers and start them again.',
    STOP_FLAGS,
    stop((m) => m.runRestart),
  ),
  command(
    'kill',
    '[OPTIONS] CONTAINER…',
    'Send a signal to containers.',
    { signal: { kind: 'text', short: 's', value: 'SIGNAL', help: 'the signal (default KILL)' } },
    stop((m) => m.runKill),
  ),
  command(
    'wait',
    'CONTAINER…',
    'Wait for containers to end, and print their exit codes.',
    {},
    stop((m) => m.runWait),
  ),
  command(
    'pause',
    'CONTAINER…',
    'Freeze containers.',
    {},
    stop((m) => m.runPause),
  ),
  command(
    'unpause',
    'CONTAINER…',
    'Let frozen containers go on.',
    {},
    stop((m) => m.runUnpause),
  ),
  command(
    'rename',
    'CONTAINER NAME',
    'Give a container another name.',
    {},
    stop((m) => m.runRename),
    {
      minimum: 2,
      maximum: 2,
    },
  ),
  command(
    'rm',
    '[OPTIONS] CONTAINER…',
    'Remove containers.',
    {
      force: FORCE,
      volumes: { kind: 'boolean', short: 'v', help: 'their anonymous volumes, too' },
      link: { kind: 'boolean', short: 'l', help: 'accepted: there are no links' },
    },
    stop((m) => m.runRemove),
  ),
  command(
    'container prune',
    '[OPTIONS]',
    'Remove all containers that do not run.',
    {
      filter: {
        kind: 'list',
        value: 'KEY=VALUE',
        help: 'only what matches, as of ps; and until=TIME, label!=',
      },
      force: { ...FORCE, help: 'do not ask' },
    },
    stop((m) => m.runContainerPrune),
    { minimum: 0, maximum: 0 },
  ),
  {
    ...command(
      'container cleanup',
      'ID',
      'Clean up after a container.',
      {},
      stop((m) => m.runContainerCleanup),
      {
        maximum: 1,
      },
    ),
    hidden: true,
  },
];
