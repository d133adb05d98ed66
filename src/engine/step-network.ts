/**
 * The network of build steps: one namespace for all of an engine's, on the default network, held by the process that
 * starts them and gone with it. Made when the first step that wants it is about to run.
 */
import { TsbuildError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { DEFAULT_NETWORK } from '../runtime/network/choice.ts';
import type { Networks } from '../runtime/network/contract.ts';
import type { ContainerNetwork, Runtime } from '../runtime/runtime.ts';

export interface StepNetwork {
  readonly network: ContainerNetwork;
  readonly resolvConf: string;
  /** What `host-gateway` means in --add-host. */
  readonly hostGateway: string;
  /** What the user should know about it; told once. */
  takeNotes(): readonly string[];
}

export interface StepNetworkOptions {
  readonly networks: Networks;
  readonly runtime: Runtime;
  readonly host: Host;
  /** Text of the host's resolv.conf. */
  readonly resolvConf: () => string;
  readonly hostname: string;
}

/** With the id under which it is attached, for whoever detaches it. */
export interface OpenStepNetwork extends StepNetwork {
  readonly attachedAs: string | undefined;
}

/** Where the machine cannot do it, the steps share the host's network, and a note says so. */
export async function openStepNetwork(options: StepNetworkOptions): Promise<OpenStepNetwork> {
  try {
    return await attachSteps(options);
  } catch (error) {
    if (!(error instanceof TsbuildError) || error.code !== 'NETWORK_UNAVAILABLE') throw error;
    return {
      network: 'host',
      resolvConf: options.resolvConf(),
      hostGateway: '127.0.0.1',
      attachedAs: undefined,
      takeNotes: once([`RUN shares the host's network: ${error.message}`]),
    };
  }
}

async function attachSteps({
  networks,
  runtime,
  host,
  hostname,
}: StepNetworkOptions): Promise<OpenStepNetwork> {
  const owner = host.unique();
  const attachedAs = `steps-${owner}`;
  const attachment = await networks.attach({
    containerId: attachedAs,
    hostname,
    holder: { kind: 'process', owner },
    endpoints: [{ network: DEFAULT_NETWORK, aliases: [] }],
    ports: [],
    dns: { servers: [], search: [], options: [] },
    extraHosts: [],
    heldBy: runtime.network,
  });
  const { nameService, netns, resolvConf, notes } = attachment;
  if (nameService !== undefined) await runtime.serveNames(netns, nameService.config);
  return {
    network: { join: netns },
    resolvConf,
    hostGateway: attachment.endpoints[0]?.gateway ?? '127.0.0.1',
    attachedAs,
    takeNotes: once(notes),
  };
}

function once(notes: readonly string[]): () => readonly string[] {
  let rest = notes;
  return () => {
    const taken = rest;
    rest = [];
    return taken;
  };
}
