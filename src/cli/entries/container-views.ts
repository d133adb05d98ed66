/** Commands that look at containers. */
import type { CommandEntry } from '../command.ts';
import { UPDATE_FLAGS } from './run-flag-table.ts';
import { FILTER, FORMAT, INSPECT_FORMAT, MANY } from './flag-tables.ts';

export const CONTAINER_VIEW_COMMANDS: readonly CommandEntry[] = [
  {
    spec: {
      name: 'ps',
      usage: '[OPTIONS]',
      summary: 'List containers.',
      flags: {
        ...FORMAT,
        ...FILTER,
        all: { kind: 'boolean', short: 'a', help: 'those too that do not run' },
        last: { kind: 'text', short: 'n', value: 'N', help: 'the N newest, in any state' },
        latest: { kind: 'boolean', short: 'l', help: 'the newest, in any state' },
        'no-trunc': { kind: 'boolean', help: 'whole ids and texts' },
        quiet: { kind: 'boolean', short: 'q', help: 'ids only' },
        size: { kind: 'boolean', short: 's', help: 'with sizes' },
      },
      minimum: 0,
      maximum: 0,
    },
    run: async (flags, session) => (await import('../commands/container-views.ts')).runPs(flags, session),
  },
  {
    spec: {
      name: 'inspect',
      usage: '[OPTIONS] NAME…',
      summary: 'Show containers, images and volumes as JSON.',
      flags: {
        ...INSPECT_FORMAT,
        size: { kind: 'boolean', short: 's', help: 'sizes of containers, too' },
        type: { kind: 'text', value: 'TYPE', help: 'container, image, network or volume' },
      },
      minimum: 1,
      maximum: MANY,
    },
    run: async (flags, session) => (await import('../commands/inspect.ts')).runInspect(flags, session),
  },
  {
    spec: {
      name: 'port',
      usage: 'CONTAINER [PORT[/PROTOCOL]]',
      summary: 'Show where ports of a container are published.',
      flags: {},
      minimum: 1,
      maximum: 2,
    },
    run: async (flags, session) => (await import('../commands/container-views.ts')).runPort(flags, session),
  },
  {
    spec: {
      name: 'stats',
      usage: '[OPTIONS] [CONTAINER…]',
      summary: 'Show what containers use.',
      flags: {
        ...FORMAT,
        all: { kind: 'boolean', short: 'a', help: 'those too that do not run' },
        'no-stream': { kind: 'boolean', help: 'once' },
        'no-trunc': { kind: 'boolean', help: 'whole ids' },
      },
      minimum: 0,
      maximum: MANY,
    },
    run: async (flags, session) => (await import('../commands/container-views.ts')).runStats(flags, session),
  },
  {
    spec: {
      name: 'top',
      usage: 'CONTAINER [PS OPTIONS]',
      summary: 'Show the processes of a container.',
      flags: {},
      minimum: 1,
      maximum: MANY,
      stopAtFirst: true,
    },
    run: async (flags, session) => (await import('../commands/container-control.ts')).runTop(flags, session),
  },
  {
    spec: {
      name: 'diff',
      usage: 'CONTAINER',
      summary: "Show what changed in a container's files.",
      flags: {},
      minimum: 1,
      maximum: 1,
    },
    run: async (flags, session) => (await import('../commands/container-files.ts')).runDiff(flags, session),
  },
  {
    spec: {
      name: 'cp',
      usage: '[OPTIONS] CONTAINER:SRC DST|-\n       tsbuild cp [OPTIONS] SRC|- CONTAINER:DST',
      summary: 'Copy files between a container and the host.',
      flags: {
        archive: { kind: 'boolean', short: 'a', help: 'keep uid and gid' },
        'follow-link': { kind: 'boolean', short: 'L', help: 'follow a symbolic link that SRC is' },
        quiet: { kind: 'boolean', short: 'q', help: 'accepted: nothing is shown in any case' },
      },
      minimum: 2,
      maximum: 2,
    },
    run: async (flags, session) => (await import('../commands/container-files.ts')).runCp(flags, session),
  },
  {
    spec: {
      name: 'export',
      usage: '[OPTIONS] CONTAINER',
      summary: "Write a container's root as a tar.",
      flags: { output: { kind: 'text', short: 'o', value: 'FILE', help: 'instead of standard output' } },
      minimum: 1,
      maximum: 1,
    },
    run: async (flags, session) => (await import('../commands/container-files.ts')).runExport(flags, session),
  },
  {
    spec: {
      name: 'commit',
      usage: '[OPTIONS] CONTAINER [NAME]',
      summary: 'Make an image of a container.',
      flags: {
        author: { kind: 'text', short: 'a', value: 'NAME', help: 'who made it' },
        change: { kind: 'list', short: 'c', value: 'INSTRUCTION', help: 'e.g. "CMD [\"sh\"]"' },
        message: { kind: 'text', short: 'm', value: 'TEXT', help: 'comment in its history' },
        pause: {
          kind: 'boolean',
          short: 'p',
          initially: true,
          help: 'pause the container meanwhile (default true)',
        },
      },
      minimum: 1,
      maximum: 2,
    },
    run: async (flags, session) => (await import('../commands/container-files.ts')).runCommit(flags, session),
  },
  {
    spec: {
      name: 'update',
      usage: '[OPTIONS] CONTAINER…',
      summary: 'Change limits and restart policy of containers.',
      flags: UPDATE_FLAGS,
      minimum: 1,
      maximum: MANY,
    },
    run: async (flags, session) =>
      (await import('../commands/container-control.ts')).runUpdate(flags, session),
  },
];
