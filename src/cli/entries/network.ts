/** `tsbuild network …`. */
import type { CommandEntry } from '../command.ts';
import { FILTER, FORMAT, INSPECT_FORMAT, MANY, QUIET_NAMES } from './flag-tables.ts';

export const NETWORK_COMMANDS: readonly CommandEntry[] = [
  {
    spec: {
      name: 'network create',
      usage: '[OPTIONS] NAME',
      summary: 'Create a network.',
      flags: {
        driver: {
          kind: 'text',
          short: 'd',
          value: 'NAME',
          help: 'bridge (default), macvlan, ipvlan or vxlan',
        },
        subnet: { kind: 'list', value: 'CIDR', help: 'subnet, one of each address family at most' },
        gateway: { kind: 'list', value: 'IP', help: 'gateway of a subnet (default: its first address)' },
        'ip-range': { kind: 'list', value: 'CIDR', help: 'give containers addresses of this part alone' },
        internal: { kind: 'boolean', help: 'no way out' },
        ipv6: { kind: 'boolean', help: 'an IPv6 subnet, too' },
        opt: {
          kind: 'list',
          short: 'o',
          value: 'NAME=VALUE',
          help: 'option of the driver (docs/networks.md)',
        },
        label: { kind: 'list', value: 'NAME=VALUE', help: 'label of the network' },
        attachable: { kind: 'boolean', help: 'accepted: every network is' },
      },
      minimum: 1,
      maximum: 1,
    },
    run: async (flags, session) => (await import('../commands/network.ts')).runNetworkCreate(flags, session),
  },
  {
    spec: {
      name: 'network ls',
      usage: '[OPTIONS]',
      summary: 'List networks.',
      flags: {
        ...FORMAT,
        ...FILTER,
        ...QUIET_NAMES,
        'no-trunc': { kind: 'boolean', help: 'whole ids' },
      },
      minimum: 0,
      maximum: 0,
    },
    run: async (flags, session) => (await import('../commands/network.ts')).runNetworkList(flags, session),
  },
  {
    spec: {
      name: 'network inspect',
      usage: '[OPTIONS] NETWORK…',
      summary: 'Show networks as JSON, with the containers on them.',
      flags: INSPECT_FORMAT,
      minimum: 1,
      maximum: MANY,
    },
    run: async (flags, session) => (await import('../commands/network.ts')).runNetworkInspect(flags, session),
  },
  {
    spec: {
      name: 'network rm',
      usage: '[OPTIONS] NETWORK…',
      summary: 'Remove networks that no running container is on.',
      flags: { force: { kind: 'boolean', short: 'f', help: 'a network that is not there is no error' } },
      minimum: 1,
      maximum: MANY,
    },
    run: async (flags, session) => (await import('../commands/network.ts')).runNetworkRemove(flags, session),
  },
  {
    spec: {
      name: 'network prune',
      usage: '[OPTIONS]',
      summary: 'Remove the networks that no container uses.',
      flags: {
        filter: {
          kind: 'list',
          value: 'KEY=VALUE',
          help: 'label=NAME[=VALUE], label!=NAME[=VALUE] or until=TIME',
        },
        force: { kind: 'boolean', short: 'f', help: 'do not ask' },
      },
      minimum: 0,
      maximum: 0,
    },
    run: async (flags, session) => (await import('../commands/network.ts')).runNetworkPrune(flags, session),
  },
  {
    spec: {
      name: 'network connect',
      usage: '[OPTIONS] NETWORK CONTAINER',
      summary: 'Give a running container an interface on one more network.',
      flags: {
        alias: { kind: 'list', value: 'NAME', help: 'one more name on that network' },
        ip: { kind: 'text', value: 'ADDRESS', help: 'IPv4 address' },
        ip6: { kind: 'text', value: 'ADDRESS', help: 'IPv6 address' },
      },
      minimum: 2,
      maximum: 2,
    },
    run: async (flags, session) => (await import('../commands/network.ts')).runNetworkConnect(flags, session),
  },
  {
    spec: {
      name: 'network disconnect',
      usage: '[OPTIONS] NETWORK CONTAINER',
      summary: "Take a container's interface on a network away.",
      flags: { force: { kind: 'boolean', short: 'f', help: 'one that is not connected is no error' } },
      minimum: 2,
      maximum: 2,
    },
    run: async (flags, session) =>
      (await import('../commands/network.ts')).runNetworkDisconnect(flags, session),
  },
];
