/** Commands that speak to registries. */
import type { CommandEntry } from '../command.ts';
import type { FlagTable } from '../flags.ts';
import { COMPRESSION_FLAGS, PUSH_FLAGS, REGISTRY_FLAGS } from '../registry-flags.ts';
import { MANY, PLATFORM, PROGRESS } from './flag-tables.ts';

const FAMILY: FlagTable = {
  format: { kind: 'text', value: 'FORMAT', help: 'oci or docker; what was pulled stays as it is otherwise' },
};
const JSON_FORMAT: FlagTable = { format: { kind: 'text', value: 'json', help: 'print JSON' } };

export const REGISTRY_COMMANDS: readonly CommandEntry[] = [
  {
    spec: {
      name: 'pull',
      usage: '[OPTIONS] NAME',
      summary: 'Pull an image from a registry.',
      flags: { ...PROGRESS, ...PLATFORM, ...REGISTRY_FLAGS },
      minimum: 1,
      maximum: 1,
    },
    run: async (flags, session) => (await import('../commands/transfer.ts')).runPull(flags, session),
  },
  {
    spec: {
      name: 'push',
      usage: '[OPTIONS] NAME [NAME…]',
      summary: 'Push an image to its registry, and under further names.',
      flags: { ...PROGRESS, ...REGISTRY_FLAGS, ...PUSH_FLAGS, ...COMPRESSION_FLAGS, ...FAMILY },
      minimum: 1,
      maximum: MANY,
    },
    run: async (flags, session) => (await import('../commands/transfer.ts')).runPush(flags, session),
  },
  {
    spec: {
      name: 'copy',
      usage: '[OPTIONS] FROM TO',
      summary:
        'Copy an image between docker://NAME, oci:PATH[:TAG], oci-archive:PATH[:TAG], docker-archive:PATH[:NAME], store:NAME.',
      flags: {
        ...PROGRESS,
        ...REGISTRY_FLAGS,
        ...PUSH_FLAGS,
        ...FAMILY,
        platform: {
          kind: 'text',
          value: 'OS/ARCH',
          help: 'copy one image of an index (default: all of them)',
        },
        tag: { kind: 'list', short: 't', value: 'TAG', help: 'one more tag at the destination' },
      },
      minimum: 2,
      maximum: 2,
    },
    run: async (flags, session) => (await import('../commands/copy.ts')).runCopy(flags, session),
  },
  {
    spec: {
      name: 'manifest inspect',
      usage: '[OPTIONS] NAME',
      summary: 'Show a manifest or an index as the registry has it.',
      flags: {
        ...PROGRESS,
        ...REGISTRY_FLAGS,
        ...PLATFORM,
        raw: { kind: 'boolean', help: 'the bytes as they are' },
      },
      minimum: 1,
      maximum: 1,
    },
    run: async (flags, session) =>
      (await import('../commands/manifest.ts')).runManifestInspect(flags, session),
  },
  {
    spec: {
      name: 'manifest create',
      usage: '[OPTIONS] NAME IMAGE…',
      summary: 'Join images of several platforms under one name.',
      flags: {
        ...PROGRESS,
        ...REGISTRY_FLAGS,
        ...PUSH_FLAGS,
        push: { kind: 'boolean', help: 'push it, too' },
        amend: { kind: 'boolean', short: 'a', help: 'accepted: a list is made anew each time' },
      },
      minimum: 2,
      maximum: MANY,
    },
    run: async (flags, session) =>
      (await import('../commands/manifest.ts')).runManifestCreate(flags, session),
  },
  {
    spec: {
      name: 'manifest push',
      usage: '[OPTIONS] NAME [NAME…]',
      summary: 'Push what manifest create made, also under other names.',
      flags: { ...PROGRESS, ...REGISTRY_FLAGS, ...PUSH_FLAGS },
      minimum: 1,
      maximum: MANY,
    },
    run: async (flags, session) => (await import('../commands/manifest.ts')).runManifestPush(flags, session),
  },
  {
    spec: {
      name: 'tags',
      usage: '[OPTIONS] REPOSITORY',
      summary: 'List the tags of a repository.',
      flags: { ...PROGRESS, ...REGISTRY_FLAGS, ...JSON_FORMAT },
      minimum: 1,
      maximum: 1,
    },
    run: async (flags, session) => (await import('../commands/manifest.ts')).runTags(flags, session),
  },
  {
    spec: {
      name: 'artifact attach',
      usage: '[OPTIONS] NAME FILE[:TYPE]…',
      summary: 'Push files that refer to an image: signatures, SBOMs, attestations.',
      flags: {
        ...PROGRESS,
        ...REGISTRY_FLAGS,
        ...PUSH_FLAGS,
        'artifact-type': { kind: 'text', value: 'TYPE', help: 'media type of what is attached' },
        annotation: { kind: 'list', value: 'NAME=VALUE', help: 'annotation of the artifact' },
      },
      minimum: 2,
      maximum: MANY,
    },
    run: async (flags, session) =>
      (await import('../commands/artifact.ts')).runArtifactAttach(flags, session),
  },
  {
    spec: {
      name: 'artifact ls',
      usage: '[OPTIONS] NAME',
      summary: 'List what refers to an image.',
      flags: {
        ...PROGRESS,
        ...REGISTRY_FLAGS,
        ...JSON_FORMAT,
        'artifact-type': { kind: 'text', value: 'TYPE', help: 'only of this type' },
        referrers: { kind: 'text', value: 'HOW', help: 'ask the registry by auto (default), api or tag' },
      },
      minimum: 1,
      maximum: 1,
    },
    run: async (flags, session) => (await import('../commands/artifact.ts')).runArtifactLs(flags, session),
  },
  {
    spec: {
      name: 'login',
      usage: '[OPTIONS] [REGISTRY]',
      summary: "Check credentials and keep them in docker's config.json.",
      flags: {
        ...REGISTRY_FLAGS,
        check: { kind: 'boolean', help: 'check the credentials that are kept, and change nothing' },
        username: { kind: 'text', short: 'u', value: 'NAME', help: 'user name' },
        password: {
          kind: 'text',
          short: 'p',
          value: 'PASSWORD',
          help: 'password (visible to others: better --password-stdin)',
        },
        'password-stdin': { kind: 'boolean', help: 'read the password from standard input' },
      },
      minimum: 0,
      maximum: 1,
    },
    run: async (flags, session) => (await import('../commands/login.ts')).runLogin(flags, session),
  },
  {
    spec: {
      name: 'logout',
      usage: '[REGISTRY]',
      summary: 'Forget credentials.',
      flags: {},
      minimum: 0,
      maximum: 1,
    },
    run: async (flags, session) => (await import('../commands/login.ts')).runLogout(flags, session),
  },
];
