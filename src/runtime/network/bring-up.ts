/**
 * A network's side of the host: bridge, addresses, rules, forwarding. Made when it is first needed after a start of
 * the host, and again when somebody took it away; it stays until the network is removed.
 *
 * RUN/bridges/<interface> says whose a bridge is, so that any tsbuild, whatever its state root, can take away what a
 * removed state root left.
 */
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { readJsonIfExists, writeFileAtomic } from '../../base/atomic-file.ts';
import { errnoOf } from '../../base/errors.ts';
import type { Host } from '../../base/host.ts';
import type { NetCall } from '../../../native/net-call.ts';
import type { NetOp } from '../../../native/net-plan.ts';
import { parseCidr, type Cidr } from './address.ts';
import { createAttachmentStore } from './attachment-store.ts';
import type { Network, PortForward } from './contract.ts';
import { parseBridgeRecord, type BridgeRecord } from './documents.ts';
import { overheadOf } from './driver-options.ts';
import { passFirewalls } from './firewall.ts';
import { HOST_STATE_OPS, readHostState, type HostState } from './host-state.ts';
import { vxlanName } from './interface-names.ts';
import { TABLE } from './nft/base-table.ts';
import { readChains } from './nft/messages.ts';
import {
  baseTableOps,
  CHAINS_OP,
  bridgeOps,
  isBridged,
  patientRemovalOps,
  ruleOps,
  rulesOf,
  sysctl,
  unbridgeOps,
} from './operations.ts';
import { perform } from './perform.ts';

const LEAST_MTU_6 = 1280;

export interface BringUpOptions {
  readonly root: string;
  readonly runDirectory: string;
  readonly host: Host;
  readonly call: NetCall;
  /** The host's name servers: subnets must not cover them. */
  readonly nameServers: () => readonly string[];
}

export interface BringUp {
  /** Idempotent. What was changed at the host, and what may stand in the way, as sentences. */
  up(network: Network): Promise<readonly string[]>;
  /** Bytes of the largest frame. */
  mtuOf(network: Network): number;
  /** Whether `up` was called since the host started. */
  isUp(network: Network): boolean;
  down(network: Network): Promise<void>;
  /**
   * Where somebody took the rules of the host away, those of all networks and published ports of it, whatever their
   * state roots. A sentence that says so, or none.
   */
  restore(): Promise<readonly string[]>;
  hostState(): Promise<HostState>;
  /** Bridges that exist, of all state roots. */
  records(): readonly BridgeRecord[];
  /** Takes away the bridge of a record, wherever it came from. */
  remove(record: BridgeRecord): Promise<void>;
}

export function createBringUp({ root, runDirectory, host, call, nameServers }: BringUpOptions): BringUp {
  const directory = join(runDirectory, 'bridges');
  const path = (name: string): string => join(directory, name);

  async function ask(): Promise<{ readonly state: HostState; readonly chains: readonly Buffer[] }> {
    const { answers } = await perform(call, [...HOST_STATE_OPS, CHAINS_OP]);
    return {
      state: readHostState(answers.get(0) ?? [], answers.get(1) ?? [], nameServers()),
      chains: answers.get(2) ?? [],
    };
  }

  function recordOf(network: Network, mtu: number): BridgeRecord {
    return {
      root,
      networkId: network.id,
      ...rulesOf(network),
      mtu,
      ...(network.driver === 'vxlan' ? { vxlan: vxlanName(root, network.id) } : {}),
    };
  }

  function readRecord(name: string): BridgeRecord | undefined {
    return parseBridgeRecord(readJsonIfExists(path(name)));
  }

  function records(): readonly BridgeRecord[] {
    return namesIn(directory).flatMap((name) => readRecord(name) ?? []);
  }

  async function remove(record: BridgeRecord): Promise<void> {
    await perform(call, [...unbridgeOps(record.interface, record.vxlan), ...patientRemovalOps(record, [])]);
    rmSync(path(record.interface), { force: true });
  }

  function lostOps(chains: readonly Buffer[]): readonly NetOp[] {
    const lost = hasTable(chains) ? [] : records().filter(isAlive);
    const roots = [...new Set(lost.map((record) => record.root))];
    return [
      ...(lost.length === 0 ? [] : baseTableOps()),
      ...lost.flatMap((record) => ruleOps('add', record, [])),
      ...roots.flatMap((each) => ruleOps('add', undefined, rulesIn(each))),
    ];
  }

  function rulesIn(stateRoot: string): readonly PortForward[] {
    return createAttachmentStore(join(stateRoot, 'networks'), host)
      .list()
      .flatMap(({ rules }) => rules);
  }

  return {
    records,
    remove,
    async restore() {
      if (records().length === 0) return [];
      const ops = lostOps((await ask()).chains);
      if (ops.length === 0) return [];
      await perform(call, ops);
      return [RESTORED];
    },
    isUp: (network) => !isBridged(network) || readRecord(network.interface) !== undefined,
    mtuOf: (network) => readRecord(network.interface)?.mtu ?? 0,
    hostState: async () => (await ask()).state,
    async up(network) {
      if (!isBridged(network)) return [];
      const { state, chains } = await ask();
      const mtu = mtuFor(network, state);
      // why first: what is half made must be found by whoever sweeps.
      writeFileAtomic(host, path(network.interface), JSON.stringify(recordOf(network, mtu)));
      const notes = [...forwarding(network)];
      const lost = lostOps(chains);
      await perform(call, [
        ...lost,
        ...baseTableOps(),
        ...ruleOps('add', rulesOf(network), []),
        ...bridgeOps(network, root, mtu),
        ...notes.flatMap(({ ops }) => ops),
      ]);
      return [
        ...(lost.length === 0 ? [] : [RESTORED]),
        ...notes.map(({ text }) => text),
        ...(await passFirewalls(chains, network.interface)),
      ];
    },
    async down(network) {
      if (isBridged(network)) await remove(readRecord(network.interface) ?? recordOf(network, 0));
    },
  };
}

const RESTORED = 'the rules of networks and published ports had been flushed, and are made anew';

/** Chains as `dumpChains` answers. */
export function hasTable(chains: readonly Buffer[]): boolean {
  return readChains(chains).some(({ table }) => table === TABLE);
}

function isAlive({ root, networkId }: BridgeRecord): boolean {
  return existsSync(join(root, 'networks', networkId, 'network.json'));
}

function mtuFor(network: Network, state: HostState): number {
  const asked = network.options['mtu'];
  if (asked !== undefined) return Number(asked);
  const mtu = state.mtu - overheadOf(network.driver, network.options);
  const has6 = network.subnets.some(({ subnet }) => parseCidr(subnet).family === 6);
  return has6 ? Math.max(mtu, LEAST_MTU_6) : mtu;
}

/** Routing between the bridge and the world, which a host does not do by itself. */
function* forwarding(network: Network): Generator<{ readonly text: string; readonly ops: readonly NetOp[] }> {
  if (network.internal) return;
  const families = new Set(network.subnets.map(({ subnet }): Cidr['family'] => parseCidr(subnet).family));
  const enable = (key: string, name: string): { text: string; ops: readonly NetOp[] } => ({
    text: `enabled ${name} on this host: without it containers reach nothing outside`,
    ops: [sysctl('host', key, '1')],
  });
  if (families.has(4) && read('/proc/sys/net/ipv4/ip_forward') === '0')
    yield enable('ipv4/ip_forward', 'net.ipv4.ip_forward');
  if (!families.has(6) || read('/proc/sys/net/ipv6/conf/all/forwarding') !== '0') return;
  const learning = namesIn('/proc/sys/net/ipv6/conf').filter(
    (name) => name !== 'all' && read(`/proc/sys/net/ipv6/conf/${name}/accept_ra`) === '1',
  );
  const { text, ops } = enable('ipv6/conf/all/forwarding', 'net.ipv6.conf.all.forwarding');
  // A router ignores router advertisements unless it is told not to (2): the host would lose its way out.
  yield {
    text,
    ops: [...learning.map((name) => sysctl('host', `ipv6/conf/${name}/accept_ra`, '2')), ...ops],
  };
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory).filter((name) => !name.endsWith('.tmp'));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1').trim();
  } catch {
    return '';
  }
}
