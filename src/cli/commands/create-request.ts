/** The flags of `run` and `create` as a request. Throws USAGE with exit code 125. */
import { isIP } from 'node:net';
import { availableParallelism } from 'node:os';
import type { CreateRequest } from '../../engine/containers/request.ts';
import { parsePlatform } from '../../oci/platform.ts';
import { parseNetworkChoice } from '../../runtime/network/choice.ts';
import { parsePortSpec } from '../../runtime/network/port-spec.ts';
import type { ParsedFlags } from '../flags.ts';
import type { Session } from '../session.ts';
import { readCgroupDriver } from './cgroup-driver.ts';
import { checkHost } from './extra-host.ts';
import { badFlag, badFlags } from './run-flags/bad-flag.ts';
import { parseEnvironment, parseLabels } from './run-flags/environment.ts';
import { fileReader, readIsolation } from './run-flags/isolation.ts';
import { parseHealth, parseLog, parseRestart, parseSignal, parseStopTimeout } from './run-flags/life.ts';

/** `attached`: the streams of a run in the foreground. */
export function readCreateRequest(
  flags: ParsedFlags,
  { cwd, env }: Session,
  { attached }: { readonly attached: { readonly stdin: boolean } | undefined },
): CreateRequest {
  const [image = '', ...command] = flags.words;
  const entrypoint = flags.text('entrypoint');
  return {
    image,
    command,
    ...(entrypoint === undefined ? {} : { entrypoint: entrypoint === '' ? [] : [entrypoint] }),
    env: parseEnvironment({ files: flags.list('env-file'), values: flags.list('env') }, env, fileReader(cwd)),
    ...textFlags(flags, { name: 'name', user: 'user', 'detach-keys': 'detachKeys' }),
    ...readWorkdir(flags.text('workdir')),
    terminal: flags.boolean('tty'),
    stdin: stdinOf(flags, attached),
    ...readNetwork(flags),
    extraHosts: flags.list('add-host').map(checkHost),
    isolation: readIsolation(flags, {
      ...{ cwd, cpus: availableParallelism(), cgroupDriver: readCgroupDriver(flags, env) },
    }),
    labels: parseLabels('--label', flags.list('label'), flags.list('label-file'), fileReader(cwd)),
    annotations: parseLabels('--annotation', flags.list('annotation')),
    ...readLife(flags),
    pull: readPull(flags.text('pull') ?? 'missing'),
    ...readPlatform(flags.text('platform')),
  };
}

function stdinOf(
  flags: ParsedFlags,
  attached: { readonly stdin: boolean } | undefined,
): CreateRequest['stdin'] {
  if (!flags.boolean('interactive') && attached?.stdin !== true) return 'closed';
  return attached === undefined ? 'open' : 'once';
}

function readLife(
  flags: ParsedFlags,
): Pick<CreateRequest, 'restart' | 'autoRemove' | 'init' | 'stopSignal' | 'stopTimeoutS' | 'health' | 'log'> {
  const restart = parseRestart(flags.text('restart'));
  const autoRemove = flags.boolean('rm');
  if (autoRemove && restart.name !== 'no')
    throw badFlags('conflicting options: cannot specify both --restart and --rm');
  const signal = flags.text('stop-signal');
  const stopTimeoutS = parseStopTimeout(flags.text('stop-timeout'));
  const health = parseHealth(flags);
  return {
    restart,
    autoRemove,
    init: flags.boolean('init'),
    ...(signal === undefined ? {} : { stopSignal: parseSignal('--stop-signal', signal) }),
    ...(stopTimeoutS === undefined ? {} : { stopTimeoutS }),
    ...(health === undefined ? {} : { health }),
    log: parseLog(flags.text('log-driver'), flags.list('log-opt')),
  };
}

/** What belongs to the network of another container is that container's to say. In docker's words. */
const NOT_JOINED: readonly (readonly [string, string])[] = [
  ['hostname', 'hostname and the network mode'],
  ['dns', 'dns and the network mode'],
  ['dns-search', 'dns and the network mode'],
  ['dns-option', 'dns and the network mode'],
  ['add-host', 'custom host-to-IP mapping and the network mode'],
  ['publish', 'port publishing and the container type network mode'],
  ['publish-all', 'port publishing and the container type network mode'],
  ['expose', 'port exposing and the container type network mode'],
];

function readNetwork(
  flags: ParsedFlags,
): Pick<CreateRequest, 'network' | 'ports' | 'publishAll' | 'exposedPorts' | 'dns'> {
  const network = parseNetworkChoice(flags.list('network'), {
    aliases: flags.list('network-alias'),
    ...textFlags(flags, { ip: 'ip', ip6: 'ip6', 'mac-address': 'mac' }),
  });
  const conflict = NOT_JOINED.find(([flag]) => network.kind === 'container' && flags.has(flag));
  if (conflict !== undefined) throw badFlags(`conflicting options: ${conflict[1]}`);
  if (flags.text('uts') === 'host' && flags.has('hostname'))
    throw badFlags('conflicting options: hostname and the UTS mode');
  for (const server of flags.list('dns'))
    if (isIP(server) === 0)
      throw badFlag('--dns', server, `IP address is not correctly formatted: ${server}`);
  return {
    network,
    ports: flags.list('publish').flatMap(parsePortSpec),
    publishAll: flags.boolean('publish-all'),
    exposedPorts: flags.list('expose').map((port) => (port.includes('/') ? port : `${port}/tcp`)),
    dns: {
      servers: flags.list('dns'),
      search: flags.list('dns-search'),
      options: flags.list('dns-option'),
    },
  };
}

/** The texts of flags that were given, under other names. */
function textFlags<K extends string>(
  flags: ParsedFlags,
  names: Readonly<Record<string, K>>,
): { readonly [P in K]?: string } {
  const given = Object.entries(names).flatMap(([flag, key]) => {
    const value = flags.text(flag);
    return value === undefined ? [] : [[key, value] as const];
  });
  return Object.fromEntries(given) as { readonly [P in K]?: string };
}

function readWorkdir(workdir: string | undefined): Pick<CreateRequest, 'workdir'> {
  if (workdir === undefined || workdir === '') return {};
  if (workdir.startsWith('/')) return { workdir };
  throw badFlags(`the working directory '${workdir}' is invalid, it needs to be an absolute path`);
}

function readPull(pull: string): CreateRequest['pull'] {
  if (pull === 'always' || pull === 'missing' || pull === 'never') return pull;
  throw badFlags(`invalid --pull ${JSON.stringify(pull)}`, 'use always, missing or never');
}

function readPlatform(text: string | undefined): Pick<CreateRequest, 'platform'> {
  return text === undefined ? {} : { platform: parsePlatform(text) };
}
