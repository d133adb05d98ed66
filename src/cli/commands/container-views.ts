/** `tsbuild ps`, `port`, `stats`. */
import { totalmem } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { TsbuildError } from '../../base/errors.ts';
import {
  containerSize,
  containerStats,
  containerTraffic,
  networkFacts,
} from '../../engine/containers/facts.ts';
import { repairContainers } from '../../engine/containers/repair.ts';
import type { Engine } from '../../engine/engine.ts';
import { isActive, shortID, type StoredContainer } from '../../runtime/container.ts';
import type { ParsedFlags } from '../flags.ts';
import { formatList } from '../format/rows.ts';
import type { Struct } from '../format/values.ts';
import type { Session } from '../session.ts';
import {
  CONTAINER_LIST,
  CONTAINER_SIZE_TABLE,
  containerRow,
  networkNames,
  type ListedContainer,
} from '../views/containers.ts';
import { networkMode } from '../views/host-config.ts';
import { parseTraffic, STATS_LIST, statsRow, type StatsSample } from '../views/stats.ts';
import { parseContainerFilters } from './container-filters.ts';
import { parseInteger } from './run-flags/numbers.ts';

export async function runPs(flags: ParsedFlags, session: Session): Promise<number> {
  const engine = session.engine();
  await repairContainers(engine);
  const filters = parseContainerFilters(flags.list('filter'), (name) => engine.containers.require(name));
  const last = flags.boolean('latest') ? 1 : readLast(flags.text('last'));
  const isAll = flags.boolean('all') || last !== undefined || filters.wantsAll;
  const withSize = flags.boolean('size') || /\.Size\b/.test(flags.text('format') ?? '');
  const selected = engine.containers
    .list()
    .filter((container) => isAll || isActive(container.state))
    .map((container) => listed(engine, container))
    .filter(filters.matches)
    .slice(0, last);
  const rows: Struct[] = [];
  for (const each of selected) {
    const size = withSize ? { size: await containerSize(engine, each.container) } : {};
    rows.push(containerRow({ ...each, ...size }, session.host.now(), flags.boolean('no-trunc')));
  }
  const format = flags.text('format') ?? (flags.boolean('size') ? CONTAINER_SIZE_TABLE : undefined);
  session.stdout.write(formatList(CONTAINER_LIST, rows, { format, quiet: flags.boolean('quiet') }));
  return 0;
}

function readLast(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const count = parseInteger(text, { signed: true });
  if (count === undefined)
    throw new TsbuildError('USAGE', `invalid --last ${JSON.stringify(text)}`, { hint: 'write a number' });
  return count < 0 ? undefined : count;
}

/** What filters look at. */
export function listed(engine: Engine, container: StoredContainer): ListedContainer {
  const { endpoints, ports } = networkFacts(engine, container);
  return {
    container,
    networks: networkNames(endpoints, networkMode(container.config)),
    ports,
    exposed: isActive(container.state) ? container.config.exposedPorts : [],
  };
}

/** `tsbuild port CONTAINER [PORT[/PROTOCOL]]`. */
export async function runPort(flags: ParsedFlags, session: Session): Promise<number> {
  const [reference = '', wanted] = flags.words;
  const engine = session.engine();
  const { ports } = networkFacts(engine, engine.containers.require(reference));
  const key = wanted === undefined || wanted.includes('/') ? wanted : `${wanted}/tcp`;
  const chosen = ports.filter(
    (port) => key === undefined || `${port.containerPort}/${port.protocol}` === key,
  );
  if (chosen.length === 0 && key !== undefined)
    throw new TsbuildError('NETWORK_INVALID', `no public port '${key}' published for ${reference}`);
  for (const { containerPort, protocol, hostIp, hostPort } of chosen) {
    const address = `${hostIp.includes(':') ? `[${hostIp}]` : hostIp}:${hostPort}\n`;
    session.stdout.write(key === undefined ? `${containerPort}/${protocol} -> ${address}` : address);
  }
  return Promise.resolve(0);
}

/** As long as a sample of docker's takes. */
const INTERVAL_MS = 1000;
const HOME_AND_CLEAR = '\u001b[H\u001b[J';

export async function runStats(flags: ParsedFlags, session: Session): Promise<number> {
  const { containers } = session.engine();
  const named = flags.words.map((word) => containers.require(word).id);
  const once = flags.boolean('no-stream');
  let before = new Map<string, StatsSample>();
  for (let round = 0; !session.signal.aborted; round += 1) {
    const chosen = named.length > 0 ? named.flatMap((id) => containers.get(id) ?? []) : containers.list();
    const shown = chosen.filter(({ state }) => named.length > 0 || flags.boolean('all') || isActive(state));
    const now = new Map(shown.map((each) => [each.id, sampleOf(each, session.host.now())]));
    if (round > 0) {
      const rows = shown.map((each) => rowOf(each, before.get(each.id), now.get(each.id), flags));
      const text = formatList(STATS_LIST, rows, { format: flags.text('format') });
      session.stdout.write(once || !session.stdout.isTTY ? text : `${HOME_AND_CLEAR}${text}`);
      if (once) return 0;
    }
    before = now;
    await sleep(once ? INTERVAL_MS / 4 : INTERVAL_MS, undefined, { signal: session.signal }).catch(
      () => undefined,
    );
  }
  return 0;
}

function sampleOf(container: StoredContainer, atMs: number): StatsSample {
  return { stats: containerStats(container), traffic: parseTraffic(containerTraffic(container)), atMs };
}

function rowOf(
  { id, config }: StoredContainer,
  before: StatsSample | undefined,
  now: StatsSample | undefined,
  flags: ParsedFlags,
): Struct {
  const none = { stats: undefined, traffic: { received: 0, sent: 0 }, atMs: 0 };
  const sample = now ?? none;
  return statsRow({
    id: flags.boolean('no-trunc') ? id : shortID(id),
    name: config.name,
    before: before ?? sample,
    now: sample,
    memory: totalmem(),
  });
}
