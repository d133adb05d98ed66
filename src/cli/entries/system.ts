/** `tsbuild system …`, `builder prune`, `image prune`. */
import type { CommandEntry } from '../command.ts';
import type { FlagTable } from '../flags.ts';
import { FORMAT } from './flag-tables.ts';

const FORCE: FlagTable = { force: { kind: 'boolean', short: 'f', help: 'do not ask' } };

const CACHE_PRUNE: FlagTable = {
  ...FORCE,
  all: { kind: 'boolean', short: 'a', help: 'also what made images that are in the store' },
  filter: {
    kind: 'list',
    value: 'KEY=VALUE',
    help: 'until=24h or a time, unused-for=24h, type=regular, internal, exec.cachemount or source.git.checkout, id=ID',
  },
  'max-used-space': { kind: 'text', value: 'SIZE', help: 'keep so much of the cache: what is worth most' },
  'keep-storage': { kind: 'text', value: 'SIZE', help: 'the same, as docker called it' },
  verbose: { kind: 'boolean', help: 'list what is removed' },
  ...FORMAT,
};

const NO_WORDS = { minimum: 0, maximum: 0 };

function cachePrune(name: string, summary: string): CommandEntry {
  return {
    spec: { name, usage: '[OPTIONS]', summary, flags: CACHE_PRUNE, ...NO_WORDS },
    run: async (flags, session) => (await import('../commands/prune.ts')).runCachePrune(flags, session),
  };
}

export const SYSTEM_COMMANDS: readonly CommandEntry[] = [
  {
    spec: {
      name: 'doctor',
      usage: '[OPTIONS]',
      summary: 'Say what this machine gives tsbuild, what is missing, and what to do about it.',
      flags: { format: { kind: 'text', value: 'FORMAT', help: 'text or json' } },
      ...NO_WORDS,
    },
    run: async (flags, session) => (await import('../commands/doctor.ts')).runDoctor(flags, session),
  },
  {
    spec: {
      name: 'system check',
      usage: '[OPTIONS]',
      summary: 'Read everything in the state root again, and clear up after killed processes.',
      flags: FORMAT,
      ...NO_WORDS,
    },
    run: async (flags, session) => (await import('../commands/system.ts')).runSystemCheck(flags, session),
  },
  {
    spec: {
      name: 'system df',
      usage: '[OPTIONS]',
      summary: 'Show what takes how much space.',
      flags: { ...FORMAT, verbose: { kind: 'boolean', short: 'v', help: 'show each thing' } },
      ...NO_WORDS,
    },
    run: async (flags, session) => (await import('../commands/disk-usage.ts')).runDiskUsage(flags, session),
  },
  {
    spec: {
      name: 'system prune',
      usage: '[OPTIONS]',
      summary: 'Remove containers that do not run, unused networks, images without a name, the build cache.',
      flags: {
        ...FORCE,
        ...FORMAT,
        all: { kind: 'boolean', short: 'a', help: 'also images that no container is made of' },
        volumes: { kind: 'boolean', help: 'also anonymous volumes that no container has' },
        filter: {
          kind: 'list',
          value: 'KEY=VALUE',
          help: 'until=24h or a time, label=NAME[=VALUE], label!=…',
        },
      },
      ...NO_WORDS,
    },
    run: async (flags, session) => (await import('../commands/prune.ts')).runSystemPrune(flags, session),
  },
  cachePrune('prune', 'Remove from the build cache what made no image of the store.'),
  cachePrune('builder prune', 'The same, as docker calls it.'),
  {
    spec: {
      name: 'image prune',
      usage: '[OPTIONS]',
      summary: 'Remove images without a name.',
      flags: {
        ...FORCE,
        all: { kind: 'boolean', short: 'a', help: 'all images that no container is made of' },
        filter: {
          kind: 'list',
          value: 'KEY=VALUE',
          help: 'until=24h or a time, label=NAME[=VALUE], label!=…',
        },
      },
      ...NO_WORDS,
    },
    run: async (flags, session) => (await import('../commands/prune.ts')).runImagePrune(flags, session),
  },
];
