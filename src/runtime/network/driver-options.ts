/** `-o` of networks: which there are for a driver, and what they may be. */
import { TsbuildError } from '../../base/errors.ts';
import { tryParseAddress, type Address } from './address.ts';
import type { NetworkDriver } from './contract.ts';

type Options = Readonly<Record<string, string>>;

const KNOWN: Readonly<Record<NetworkDriver, readonly string[]>> = {
  bridge: ['mtu', 'masquerade'],
  vxlan: ['mtu', 'masquerade', 'vni', 'port', 'parent', 'local', 'group', 'remote'],
  macvlan: ['parent', 'mode'],
  ipvlan: ['parent', 'mode'],
};

/** docker's long names of the same. */
const ALIASES: Options = {
  'com.docker.network.driver.mtu': 'mtu',
  'com.docker.network.bridge.enable_ip_masquerade': 'masquerade',
  macvlan_mode: 'mode',
  ipvlan_mode: 'mode',
};

/** linux/if_link.h, MACVLAN_MODE_*. */
const MACVLAN_MODES: Readonly<Record<string, number>> = { private: 1, vepa: 2, bridge: 4, passthru: 8 };
/** IPVLAN_MODE_*. */
const IPVLAN_MODES: Readonly<Record<string, number>> = { l2: 0, l3: 1, l3s: 2 };
const DEFAULT_VXLAN_PORT = 4789;
const MAX_VNI = (1 << 24) - 1;
const INTERFACE = /^[^\s/:]{1,15}$/;

/** The options by their short names. Throws NETWORK_INVALID. */
export function checkOptions(driver: NetworkDriver, given: Options): Options {
  const options: Record<string, string> = {};
  for (const [name, value] of Object.entries(given)) {
    const short = ALIASES[name] ?? name;
    if (!KNOWN[driver].includes(short))
      throw invalid(
        `the driver ${driver} has no option ${JSON.stringify(name)}`,
        `use ${KNOWN[driver].join(', ')}`,
      );
    options[short] = value;
  }
  const { mtu, masquerade } = options;
  if (mtu !== undefined) numberOption('mtu', mtu, 68, 65535);
  if (masquerade !== undefined && masquerade !== 'true' && masquerade !== 'false')
    throw invalid(`invalid option masquerade=${masquerade}`, 'write true or false');
  if (driver === 'vxlan') vxlanOptions(options);
  if (driver === 'macvlan') macvlanMode(options);
  if (driver === 'ipvlan') ipvlanMode(options);
  const { parent } = options;
  if (parent !== undefined && !INTERFACE.test(parent))
    throw invalid(`${JSON.stringify(parent)} is no name of an interface`);
  if ((driver === 'macvlan' || driver === 'ipvlan') && parent === undefined)
    throw invalid(`a ${driver} network needs an interface of the host`, 'name it with -o parent=INTERFACE');
  return options;
}

export function macvlanMode({ mode = 'bridge' }: Options): number {
  return modeOf(MACVLAN_MODES, mode);
}

export function ipvlanMode({ mode = 'l2' }: Options): number {
  return modeOf(IPVLAN_MODES, mode);
}

function modeOf(modes: Readonly<Record<string, number>>, mode: string): number {
  const number = modes[mode];
  if (number === undefined)
    throw invalid(`invalid option mode=${mode}`, `use ${Object.keys(modes).join(', ')}`);
  return number;
}

export interface VxlanOptions {
  readonly vni: number;
  readonly port: number;
  readonly device: string | undefined;
  readonly local: Address | undefined;
  readonly group: Address | undefined;
  /** The other hosts, where no multicast group finds them. */
  readonly remotes: readonly Address[];
}

/** Throws NETWORK_INVALID. */
export function vxlanOptions(options: Options): VxlanOptions {
  const { vni, port, parent, local, group, remote } = options;
  if (vni === undefined)
    throw invalid(
      'a vxlan network needs a network identifier',
      'name it with -o vni=NUMBER, the same on all hosts',
    );
  if (group === undefined && remote === undefined)
    throw invalid(
      'a vxlan network needs its other hosts',
      'name them with -o remote=IP[,IP…] or -o group=IP',
    );
  const addresses = (text: string | undefined, name: string): readonly Address[] =>
    (text ?? '')
      .split(',')
      .filter((part) => part !== '')
      .map((part) => {
        const address = tryParseAddress(part.trim());
        if (address === undefined)
          throw invalid(`invalid option ${name}=${text ?? ''}: ${part} is no IP address`);
        return address;
      });
  const remotes = addresses(remote, 'remote');
  const [localAddress] = addresses(local, 'local');
  const [groupAddress] = addresses(group, 'group');
  const all = [localAddress, groupAddress, ...remotes].filter((each) => each !== undefined);
  if (new Set(all.map(({ family }) => family)).size > 1)
    throw invalid('the hosts of a vxlan network must all have addresses of one family');
  if (groupAddress !== undefined && parent === undefined)
    throw invalid('a multicast group needs an interface', 'name it with -o parent=INTERFACE');
  return {
    vni: numberOption('vni', vni, 1, MAX_VNI),
    port: port === undefined ? DEFAULT_VXLAN_PORT : numberOption('port', port, 1, 65535),
    device: parent,
    local: localAddress,
    group: groupAddress,
    remotes,
  };
}

/** Bytes that a network's frames may not use, because the tunnel's headers need them. */
export function overheadOf(driver: NetworkDriver, options: Options): number {
  if (driver !== 'vxlan') return 0;
  const { local, group, remotes } = vxlanOptions(options);
  // Outer Ethernet, IP, UDP and VXLAN headers (RFC 7348).
  return (local ?? group ?? remotes[0])?.family === 6 ? 70 : 50;
}

function numberOption(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < least || value > most)
    throw invalid(`invalid option ${name}=${text}`, `use a number from ${least} to ${most}`);
  return value;
}

function invalid(message: string, hint?: string): TsbuildError {
  return new TsbuildError('NETWORK_INVALID', message, hint === undefined ? {} : { hint });
}
