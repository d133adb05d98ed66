/** `tsbuild volume …`. */
import type { CommandEntry } from '../command.ts';
import { FILTER, FORMAT, INSPECT_FORMAT, MANY, QUIET_NAMES } from './flag-tables.ts';

export const VOLUME_COMMANDS: readonly CommandEntry[] = [
  {
    spec: {
      name: 'volume create',
      usage: '[OPTIONS] [NAME]',
      summary: 'Create a volume.',
      flags: {
        driver: { kind: 'text', short: 'd', value: 'NAME', help: 'local is the only one' },
        label: { kind: 'list', value: 'NAME=VALUE', help: 'label of the volume' },
        opt: { kind: 'list', short: 'o', value: 'NAME=VALUE', help: 'option of the driver' },
        name: { kind: 'text', value: 'NAME', help: 'the name, as docker took it once' },
      },
      minimum: 0,
      maximum: 1,
    },
    run: async (flags, session) => (await import('../commands/volume.ts')).runVolumeCreate(flags, session),
  },
  {
    spec: {
      name: 'volume ls',
      usage: '[OPTIONS]',
      summary: 'List volumes.',
      flags: { ...FORMAT, ...FILTER, ...QUIET_NAMES },
      minimum: 0,
      maximum: 0,
    },
    run: async (flags, session) => (await import('../commands/volume.ts')).runVolumeList(flags, session),
  },
  {
    spec: {
      name: 'volume inspect',
      usage: '[OPTIONS] NAME…',
      summary: 'Show volumes as JSON.',
      flags: INSPECT_FORMAT,
      minimum: 1,
      maximum: MANY,
    },
    run: async (flags, session) => (await import('../commands/volume.ts')).runVolumeInspect(flags, session),
  },
  {
    spec: {
      name: 'volume rm',
      usage: '[OPTIONS] NAME…',
      summary: 'Remove volumes that no container has.',
      flags: { force: { kind: 'boolean', short: 'f', help: 'a volume that is not there is no error' } },
      minimum: 1,
      maximum: MANY,
    },
    run: async (flags, session) => (await import('../commands/volume.ts')).runVolumeRemove(flags, session),
  },
  {
    spec: {
      name: 'volume prune',
      usage: '[OPTIONS]',
      summary: 'Remove the anonymous volumes that no container has.',
      flags: {
        all: { kind: 'boolean', short: 'a', help: 'named ones too' },
        filter: { kind: 'list', value: 'KEY=VALUE', help: 'label=NAME[=VALUE] or label!=NAME[=VALUE]' },
        force: { kind: 'boolean', short: 'f', help: 'do not ask' },
      },
      minimum: 0,
      maximum: 0,
    },
    run: async (flags, session) => (await import('../commands/volume.ts')).runVolumePrune(flags, session),
  },
];
