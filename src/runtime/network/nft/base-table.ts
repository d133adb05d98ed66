/**
 * The one table of a host, `inet tsbuild`: rules that never change, and sets that say whom they are about.
 *
 * A network is an element in some sets, a published port one element in a map, so that adding and removing either
 * touches no rule. Networks do not reach each other, save through published ports; nothing from outside reaches
 * a container but through them; nothing of a container's reaches the host's 127.0.0.0/8 (CVE-2020-8558), and
 * nothing from outside a port that is published there alone (moby#45610).
 *
 * An incompatible change of these rules takes another name of the table.
 */
import {
  destinationNat,
  isEstablished,
  isFamily,
  isForThisHost,
  isLoopback4,
  isPublished,
  isToLoopback6,
  lookup,
  masquerade,
  meta,
  payload,
  verdict,
  type Expression,
} from './expressions.ts';
import {
  flushChain,
  newChain,
  newRule,
  newSet,
  newTable,
  type BaseChain,
  type NftMessage,
  type SetShape,
} from './messages.ts';

export const TABLE = 'tsbuild';

export const SETS = {
  /** Bridges of networks. */
  bridges: { name: 'bridges', key: ['ifname'] },
  /** A bridge twice: what stays within a network. */
  same: { name: 'same', key: ['ifname', 'ifname'] },
  /** Bridges of networks without a way out. */
  internal: { name: 'internal', key: ['ifname'] },
  /** Subnets that hide behind the host. */
  masquerade4: { name: 'masquerade4', key: ['ipv4_addr'], interval: true },
  masquerade6: { name: 'masquerade6', key: ['ipv6_addr'], interval: true },
  /** A subnet and its own bridge. */
  local4: { name: 'local4', key: ['ipv4_addr', 'ifname'], interval: true },
  local6: { name: 'local6', key: ['ipv6_addr', 'ifname'], interval: true },
  /** Published on one address of the host. */
  publish4: {
    name: 'publish4',
    key: ['ipv4_addr', 'inet_proto', 'inet_service'],
    data: ['ipv4_addr', 'inet_service'],
  },
  publish6: {
    name: 'publish6',
    key: ['ipv6_addr', 'inet_proto', 'inet_service'],
    data: ['ipv6_addr', 'inet_service'],
  },
  /** Published on all of them. */
  publishAll4: {
    name: 'publish_all4',
    key: ['inet_proto', 'inet_service'],
    data: ['ipv4_addr', 'inet_service'],
  },
  publishAll6: {
    name: 'publish_all6',
    key: ['inet_proto', 'inet_service'],
    data: ['ipv6_addr', 'inet_service'],
  },
} as const satisfies Readonly<Record<string, SetShape>>;

const CHAINS = [
  { name: 'raw', type: 'filter', hook: 'prerouting', priority: -300 },
  { name: 'prerouting', type: 'nat', hook: 'prerouting', priority: -100 },
  { name: 'output', type: 'nat', hook: 'output', priority: -100 },
  { name: 'forward', type: 'filter', hook: 'forward', priority: 0 },
  { name: 'postrouting', type: 'nat', hook: 'postrouting', priority: 100 },
] as const satisfies readonly BaseChain[];
type ChainName = (typeof CHAINS)[number]['name'];

const from = (set: string): readonly Expression[] => [meta('iifname'), lookup(set)];
const to = (set: string): readonly Expression[] => [meta('oifname'), lookup(set)];
const source = (family: 4 | 6): Expression =>
  family === 4 ? payload('network', 12, 4) : payload('network', 8, 16);
const destination = (family: 4 | 6): Expression =>
  family === 4 ? payload('network', 16, 4) : payload('network', 24, 16);
const port = (word: number): readonly Expression[] => [
  meta('l4proto', word),
  payload('transport', 2, 2, word + 1),
];

/** Published ports: first those of the very address, then those of all addresses of the host. */
function publishing(family: 4 | 6): readonly (readonly Expression[])[] {
  const words = family === 4 ? 1 : 4;
  return [
    [
      ...isFamily(family),
      destination(family),
      ...port(words),
      lookup(SETS[`publish${family}`].name, 'map'),
      destinationNat(family),
    ],
    [
      ...isFamily(family),
      ...isForThisHost(),
      ...port(0),
      lookup(SETS[`publishAll${family}`].name, 'map'),
      destinationNat(family),
    ],
  ];
}

function leaving(family: 4 | 6): readonly (readonly Expression[])[] {
  const own = [
    ...isFamily(family),
    source(family),
    meta('oifname', family === 4 ? 1 : 4),
    lookup(SETS[`local${family}`].name),
  ];
  return [
    // A container that asks for a published port of its own network: the answer must come back through us.
    [...isPublished(), ...own, masquerade()],
    [...own, verdict('return')],
    [...isFamily(family), source(family), lookup(SETS[`masquerade${family}`].name), masquerade()],
  ];
}

const RULES: readonly (readonly [ChainName, readonly Expression[]])[] = [
  ['raw', [...from(SETS.bridges.name), ...isLoopback4('destination'), verdict('drop')]],
  // The host's own loopback is the output chain's.
  ['prerouting', [...isLoopback4('destination'), verdict('return')]],
  ...both(publishing).map((rule) => ['prerouting', rule] as const),
  // No packet leaves the loopback with ::1 in it: whoever holds the port open relays what comes there.
  ['output', [...isToLoopback6(), verdict('return')]],
  ...both(publishing).map((rule) => ['output', rule] as const),
  ['forward', [meta('iifname'), meta('oifname', 4), lookup(SETS.same.name), verdict('accept')]],
  ['forward', [...from(SETS.internal.name), verdict('drop')]],
  ['forward', [...to(SETS.internal.name), verdict('drop')]],
  ['forward', [...isEstablished(), verdict('accept')]],
  ['forward', [...to(SETS.bridges.name), ...isPublished(), verdict('accept')]],
  ['forward', [...to(SETS.bridges.name), verdict('drop')]],
  // The host's loopback, on its way to a published port, needs an address that can be answered.
  ['postrouting', [...to(SETS.bridges.name), ...isLoopback4('source'), masquerade()]],
  ...both(leaving).map((rule) => ['postrouting', rule] as const),
];

function both<T>(make: (family: 4 | 6) => readonly T[]): readonly T[] {
  return [...make(4), ...make(6)];
}

/** Makes the table, or makes it right again; its elements stay. */
export function baseTable(): readonly NftMessage[] {
  return [
    newTable(TABLE),
    ...Object.values(SETS).map((set, index) => newSet(TABLE, set, index + 1)),
    ...CHAINS.map((chain) => newChain(TABLE, chain)),
    ...CHAINS.map(({ name }) => flushChain(TABLE, name)),
    ...RULES.map(([chain, expressions]) => newRule(TABLE, chain, expressions)),
  ];
}
