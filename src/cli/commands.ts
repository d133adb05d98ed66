/** All commands: names, flags, and where their code is. Code of a command is loaded when it runs. */
import type { CommandEntry } from './command.ts';
import { CONTAINER_LIFE_COMMANDS } from './entries/container-life.ts';
import { CONTAINER_VIEW_COMMANDS } from './entries/container-views.ts';
import { FILTER, FORMAT, MANY, PLATFORM, PROGRESS } from './entries/flag-tables.ts';
import { NETWORK_COMMANDS } from './entries/network.ts';
import { REGISTRY_COMMANDS } from './entries/registry.ts';
import { RUN_FLAGS } from './entries/run-flag-table.ts';
import { SYSTEM_COMMANDS } from './entries/system.ts';
import { VOLUME_COMMANDS } from './entries/volume.ts';
import type { FlagTable } from './flags.ts';
import { COMPRESSION_FLAGS, PUSH_FLAGS, REGISTRY_FLAGS } from './registry-flags.ts';

const BUILD_FLAGS: FlagTable = {
  ...REGISTRY_FLAGS,
  ...PUSH_FLAGS,
  ...COMPRESSION_FLAGS,
  tag: { kind: 'list', short: 't', value: 'NAME', help: 'name for the image, [registry/]repository[:tag]' },
  file: {
    kind: 'text',
    short: 'f',
    value: 'FILE',
    help: 'the Dockerfile (default: CONTEXT/Dockerfile; - for standard input)',
  },
  target: { kind: 'text', value: 'STAGE', help: 'stage to build' },
  'build-arg': {
    kind: 'list',
    value: 'NAME[=VALUE]',
    help: 'value of an ARG; without VALUE from the environment',
  },
  'cache-from': {
    kind: 'list',
    value: 'SPEC',
    help: 'REF, type=registry,ref=REF or type=local,src=DIR, [,mounts=true]: what others did (docs/caching.md)',
  },
  'cache-to': {
    kind: 'list',
    value: 'SPEC',
    help: 'REF, type=registry,ref=REF or type=local,dest=DIR, [,mode=max][,mounts=true], or type=inline: for others',
  },
  'no-cache': { kind: 'boolean', help: 'execute every step' },
  pull: { kind: 'boolean', help: 'ask the registry for newer base images' },
  'assert-cached': {
    kind: 'optional',
    value: 'STAGE,…',
    help: 'fail (exit code 3) where a step, or one of these stages, would be executed',
  },
  'no-cache-filter': { kind: 'list', value: 'STAGE', help: 'execute every step of these stages' },
  platform: { kind: 'list', value: 'OS/ARCH', help: 'platform of the image; several give an index' },
  label: { kind: 'list', value: 'NAME=VALUE', help: 'label of the image' },
  progress: { kind: 'text', value: 'MODE', help: 'auto, plain, tty, json or quiet' },
  quiet: { kind: 'boolean', short: 'q', help: 'print the image id only' },
  output: {
    kind: 'list',
    short: 'o',
    value: 'SPEC',
    help: 'type=oci|docker|local|tar,dest=PATH, or a directory, or - for a tar',
  },
  push: { kind: 'boolean', help: 'push to the registries named by --tag' },
  load: { kind: 'boolean', help: 'accepted: the image is in the local store in any case' },
  iidfile: { kind: 'text', value: 'FILE', help: 'write the image id to FILE' },
  'metadata-file': { kind: 'text', value: 'FILE', help: 'write digests and names to FILE as JSON' },
  network: { kind: 'text', value: 'MODE', help: 'network of RUN: default, host or none' },
  'add-host': { kind: 'list', value: 'NAME:IP', help: 'entry of /etc/hosts for RUN' },
  'build-context': {
    kind: 'list',
    value: 'NAME=SPEC',
    help: 'for FROM and --from: a directory, docker-image://REF, oci-layout://PATH, target:STAGE, a URL, a repository',
  },
  secret: { kind: 'list', value: 'SPEC', help: 'id=ID,src=FILE or id=ID,env=NAME' },
  ssh: { kind: 'list', value: 'SPEC', help: 'default[=SOCKET]' },
  'shm-size': { kind: 'text', value: 'SIZE', help: 'size of /dev/shm in RUN, e.g. 128m' },
  ulimit: { kind: 'list', value: 'NAME=SOFT[:HARD]', help: 'resource limit of RUN, e.g. nofile=1024:4096' },
  memory: { kind: 'text', short: 'm', value: 'SIZE', help: 'memory of each RUN, e.g. 2g' },
  'memory-swap': { kind: 'text', value: 'SIZE', help: 'memory and swap together; -1: unlimited' },
  cpus: { kind: 'text', value: 'N', help: 'processors of each RUN, e.g. 1.5' },
  'cpu-shares': { kind: 'text', short: 'c', value: 'N', help: 'relative weight of RUN' },
  'cpu-period': { kind: 'text', value: 'µs', help: 'period of the quota' },
  'cpu-quota': { kind: 'text', value: 'µs', help: 'processor time in a period' },
  'cpuset-cpus': { kind: 'text', value: 'LIST', help: 'processors that RUN may use, e.g. 0-2,4' },
  'cpuset-mems': { kind: 'text', value: 'LIST', help: 'memory nodes that RUN may use' },
  'pids-limit': { kind: 'text', value: 'N', help: 'processes of each RUN' },
  'cgroup-parent': { kind: 'text', value: 'PATH', help: 'cgroup that those of RUN are made in' },
  'cgroup-driver': { kind: 'text', value: 'NAME', help: 'who makes them: cgroupfs (default) or systemd' },
  allow: { kind: 'list', value: 'WHAT', help: 'network.host or security.insecure, for RUN that asks for it' },
  check: { kind: 'boolean', help: 'check the Dockerfile and build nothing' },
  call: { kind: 'text', value: 'METHOD', help: 'build (default), check, outline or targets[,format=json]' },
  format: {
    kind: 'text',
    value: 'FORMAT',
    help: 'of what is pushed: oci or docker; of --check and --call: text, json or (check) sarif',
  },
};

export const COMMANDS: readonly CommandEntry[] = [
  {
    spec: {
      name: 'build',
      usage: '[OPTIONS] CONTEXT',
      summary: 'Build an image from a Dockerfile (the default command).',
      flags: BUILD_FLAGS,
      minimum: 1,
      maximum: 1,
    },
    run: async (flags, session) => (await import('./commands/build.ts')).runBuild(flags, session),
  },
  {
    spec: {
      name: 'why',
      usage: '[BUILD OPTIONS] [CONTEXT] [STEP]',
      summary: 'Say which steps of a build are cached, which would be executed, and why.',
      flags: {
        ...BUILD_FLAGS,
        format: { kind: 'text', value: 'FORMAT', help: 'text or json' },
      },
      minimum: 0,
      maximum: 2,
    },
    run: async (flags, session) => (await import('./commands/why.ts')).runWhy(flags, session),
  },
  {
    spec: {
      name: 'run',
      usage: '[OPTIONS] IMAGE [COMMAND [ARG…]]',
      summary: 'Run a command in a container of an image.',
      flags: RUN_FLAGS,
      minimum: 1,
      maximum: MANY,
      stopAtFirst: true,
    },
    run: async (flags, session) => (await import('./commands/run.ts')).runRun(flags, session),
  },
  {
    spec: {
      name: 'import',
      usage: '[OPTIONS] FILE|- NAME',
      summary: 'Make an image of a root file system (tar, also compressed).',
      flags: { ...PROGRESS, ...PLATFORM },
      minimum: 2,
      maximum: 2,
    },
    run: async (flags, session) => (await import('./commands/images.ts')).runImport(flags, session),
  },
  {
    spec: {
      name: 'images',
      usage: '[OPTIONS] [NAME]',
      summary: 'List images.',
      flags: {
        ...FORMAT,
        ...FILTER,
        all: { kind: 'boolean', short: 'a', help: 'accepted: there are no intermediate images' },
        digests: { kind: 'boolean', help: 'show digests' },
        quiet: { kind: 'boolean', short: 'q', help: 'ids only' },
        'no-trunc': { kind: 'boolean', help: 'whole ids' },
      },
      minimum: 0,
      maximum: 1,
    },
    run: async (flags, session) => (await import('./commands/images.ts')).runImages(flags, session),
  },
  {
    spec: {
      name: 'rmi',
      usage: 'IMAGE…',
      summary: 'Remove images.',
      flags: { force: { kind: 'boolean', short: 'f', help: 'also with several names' } },
      minimum: 1,
      maximum: MANY,
    },
    run: async (flags, session) => (await import('./commands/images.ts')).runRmi(flags, session),
  },
  {
    spec: {
      name: 'tag',
      usage: 'IMAGE NAME',
      summary: 'Give an image one more name.',
      flags: {},
      minimum: 2,
      maximum: 2,
    },
    run: async (flags, session) => (await import('./commands/images.ts')).runTag(flags, session),
  },
  {
    spec: {
      name: 'history',
      usage: '[OPTIONS] IMAGE',
      summary: 'Show how an image was made.',
      flags: {
        ...FORMAT,
        quiet: { kind: 'boolean', short: 'q', help: 'ids only' },
        'no-trunc': { kind: 'boolean', help: 'whole texts' },
        human: {
          kind: 'boolean',
          short: 'H',
          initially: true,
          help: 'sizes and times for people (default true)',
        },
      },
      minimum: 1,
      maximum: 1,
    },
    run: async (flags, session) => (await import('./commands/images.ts')).runHistory(flags, session),
  },
  {
    spec: {
      name: 'save',
      usage: '[OPTIONS] IMAGE…',
      summary: 'Write images as a docker archive.',
      flags: {
        ...PROGRESS,
        output: { kind: 'text', short: 'o', value: 'FILE', help: 'instead of standard output' },
      },
      minimum: 1,
      maximum: MANY,
    },
    run: async (flags, session) => (await import('./commands/transfer.ts')).runSave(flags, session),
  },
  {
    spec: {
      name: 'load',
      usage: '[OPTIONS]',
      summary: 'Read images from a docker or OCI archive, or an OCI layout.',
      flags: {
        ...PROGRESS,
        ...PLATFORM,
        input: { kind: 'text', short: 'i', value: 'PATH', help: 'instead of standard input' },
      },
      minimum: 0,
      maximum: 0,
    },
    run: async (flags, session) => (await import('./commands/transfer.ts')).runLoad(flags, session),
  },
  ...REGISTRY_COMMANDS,
  ...SYSTEM_COMMANDS,
  {
    spec: {
      name: 'debug',
      usage: 'parse|expand|ignore',
      summary: 'Show what the Dockerfile frontend makes of JSON requests (docs/debug.md).',
      flags: {},
      minimum: 1,
      maximum: 1,
    },
    run: async (flags, session) => (await import('./commands/debug.ts')).runDebug(flags, session),
  },
  ...CONTAINER_LIFE_COMMANDS,
  ...CONTAINER_VIEW_COMMANDS,
  ...VOLUME_COMMANDS,
  ...NETWORK_COMMANDS,
];
