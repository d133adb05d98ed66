/** `tsbuild network create|ls|inspect|rm|prune|connect|disconnect`. */
import { TsbuildError, isTsbuildError } from '../../base/errors.ts';
import { connectContainer, disconnectContainer } from '../../engine/containers/membership.ts';
import { DEFAULT_NETWORK } from '../../runtime/network/choice.ts';
import type { Network, NetworkDriver, Networks, Subnet } from '../../runtime/network/contract.ts';
import { matchSubnets } from '../../runtime/network/subnets.ts';
import type { ParsedFlags } from '../flags.ts';
import { formatList } from '../format/rows.ts';
import type { Session } from '../session.ts';
import {
  inspectedNetwork,
  inspectedNetworkWord,
  NETWORK_LIST,
  networkRow,
  networkWords,
} from '../views/networks.ts';
import { forEach, inspectEach } from './for-each.ts';
import { isMeant } from './is-meant.ts';
import { networkFilter } from './network-filters.ts';
import { parseThingFilters } from './prune-filters.ts';
import { parseLabels } from './run-flags/environment.ts';

const DRIVERS: readonly NetworkDriver[] = ['bridge', 'macvlan', 'ipvlan', 'vxlan'];

/** Whoever looks at networks finds them whole: rules that somebody flushed are made anew before. */
async function openNetworks(session: Session): Promise<Networks> {
  const networks = await session.engine().networks();
  for (const note of await networks.restore()) session.stderr.write(`warning: ${note}\n`);
  return networks;
}

export async function runNetworkCreate(flags: ParsedFlags, session: Session): Promise<number> {
  const text = flags.text('driver') ?? 'bridge';
  const driver = DRIVERS.find((each) => each === text);
  if (driver === undefined)
    throw new TsbuildError('USAGE', `network driver ${JSON.stringify(text)} is not supported`, {
      hint: `use ${DRIVERS.join(', ')}`,
    });
  const networks = await openNetworks(session);
  const network = await networks.create({
    name: flags.words[0] ?? '',
    driver,
    subnets: subnetsOf(flags),
    internal: flags.boolean('internal'),
    ipv6: flags.boolean('ipv6'),
    options: parseLabels('--opt', flags.list('opt')),
    labels: parseLabels('--label', flags.list('label')),
  });
  session.stdout.write(`${network.id}\n`);
  return 0;
}

function subnetsOf(flags: ParsedFlags): readonly Subnet[] {
  return matchSubnets(flags.list('subnet'), flags.list('gateway'), flags.list('ip-range'));
}

export async function runNetworkList(flags: ParsedFlags, session: Session): Promise<number> {
  const networks = await openNetworks(session);
  const filters = flags.list('filter').map(networkFilter);
  const own = await networks.list();
  const used = await usedOf(networks, own);
  const created = own.find(({ name }) => name === DEFAULT_NETWORK)?.created ?? '';
  const rows = [...own, ...networkWords(created)]
    .filter((network) => filters.every((filter) => filter(network, used.has(network.id))))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map((network) => networkRow(network, flags.boolean('no-trunc')));
  session.stdout.write(
    formatList(NETWORK_LIST, rows, { format: flags.text('format'), quiet: flags.boolean('quiet') }),
  );
  return 0;
}

async function usedOf(networks: Networks, all: readonly Network[]): Promise<ReadonlySet<string>> {
  const used = new Set<string>();
  for (const network of all) if ((await networks.endpoints(network)).length > 0) used.add(network.id);
  return used;
}

export async function runNetworkInspect(flags: ParsedFlags, session: Session): Promise<number> {
  const networks = await openNetworks(session);
  return inspectEach(flags.words, session, flags.text('format'), async (name) => {
    const word = inspectedNetworkWord(name);
    if (word !== undefined) return word;
    const network = await networks.find(name);
    return inspectedNetwork(network, await networks.endpoints(network));
  });
}

export async function runNetworkRemove(flags: ParsedFlags, session: Session): Promise<number> {
  const networks = await openNetworks(session);
  return forEach(flags.words, session, async (name) => {
    try {
      await networks.remove(name);
    } catch (error) {
      if (!flags.boolean('force') || !isTsbuildError(error, 'NETWORK_NOT_FOUND')) throw error;
    }
    session.stdout.write(`${name}\n`);
  });
}

export async function runNetworkPrune(flags: ParsedFlags, session: Session): Promise<number> {
  const isOfThings = (text: string): boolean => /^(?:until|label!?)=/.test(text);
  const texts = flags.list('filter');
  const matches = parseThingFilters(texts.filter(isOfThings), session.host.now());
  const filters = texts.filter((text) => !isOfThings(text)).map(networkFilter);
  if (!(await isMeant(flags, session, ['all networks that no container uses']))) return 0;
  const removed = await pruneNetworks(
    session,
    (network) =>
      matches({ labels: network.labels, created: Date.parse(network.created) }) &&
      filters.every((filter) => filter(network, false)),
  );
  if (removed.length > 0) session.stdout.write(`Deleted Networks:\n${removed.join('\n')}\n\n`);
  return 0;
}

/** Removes what no container uses and `selects` accepts; the names. */
export async function pruneNetworks(
  session: Session,
  selects: (network: Network) => boolean,
): Promise<readonly string[]> {
  const engine = session.engine();
  const networks = await openNetworks(session);
  const asked = new Set(
    engine.containers
      .list()
      .flatMap(({ config }) =>
        config.network.kind === 'networks' ? config.network.endpoints.map(({ network }) => network) : [],
      ),
  );
  const all = await networks.list();
  const used = await usedOf(networks, all);
  const removed: string[] = [];
  for (const network of all) {
    const { id, name } = network;
    const isNamed = [...asked].some((text) => text === name || (text.length > 0 && id.startsWith(text)));
    if (name === DEFAULT_NETWORK || used.has(id) || isNamed) continue;
    if (!selects(network)) continue;
    await networks.remove(id);
    removed.push(name);
  }
  return removed;
}

export async function runNetworkConnect(flags: ParsedFlags, session: Session): Promise<number> {
  const [network = '', container = ''] = flags.words;
  const engine = session.engine();
  await openNetworks(session);
  const [ip, ip6] = [flags.text('ip'), flags.text('ip6')];
  await connectContainer(engine, engine.containers.require(container), {
    network,
    aliases: flags.list('alias'),
    ...(ip === undefined ? {} : { ip }),
    ...(ip6 === undefined ? {} : { ip6 }),
  });
  return 0;
}

export async function runNetworkDisconnect(flags: ParsedFlags, session: Session): Promise<number> {
  const [network = '', container = ''] = flags.words;
  const engine = session.engine();
  await openNetworks(session);
  try {
    await disconnectContainer(engine, engine.containers.require(container), network);
  } catch (error) {
    if (!flags.boolean('force') || !isTsbuildError(error, 'NETWORK_NOT_FOUND')) throw error;
  }
  return 0;
}
