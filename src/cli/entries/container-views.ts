/** Commands that look at containers. */
import type { CommandEntry } from '../command.ts';
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
        type: { kind: 'text', value: 'TYPE', help: 'container, image or volume' },
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
];
