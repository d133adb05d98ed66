/** What `run` and `create` ask for; nothing of it is looked up yet. */
import type { ContainerConfig, LogChoice, RestartPolicy } from '../../runtime/container.ts';
import type { HealthOptions, IsolationOptions } from '../../runtime/container-options.ts';
import type { DnsOptions, NetworkChoice, PortRequest } from '../../runtime/network/contract.ts';
import type { Signal } from '../../runtime/signals.ts';
import type { Platform } from '../../oci/documents.ts';

export interface CreateRequest {
  readonly image: string;
  readonly name?: string;
  /** Instead of the image's CMD; empty: the image's. */
  readonly command: readonly string[];
  readonly entrypoint?: readonly string[];
  readonly env: readonly string[];
  readonly workdir?: string;
  readonly user?: string;
  readonly terminal: boolean;
  readonly stdin: ContainerConfig['stdin'];
  readonly network: NetworkChoice;
  readonly ports: readonly PortRequest[];
  /** -P: every exposed port that `ports` does not name. */
  readonly publishAll: boolean;
  /** --expose. */
  readonly exposedPorts: readonly string[];
  readonly dns: DnsOptions;
  readonly extraHosts: readonly string[];
  readonly isolation: IsolationOptions;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly restart: RestartPolicy;
  readonly autoRemove: boolean;
  readonly init: boolean;
  /** Absent: the image's, or SIGTERM. */
  readonly stopSignal?: Signal;
  readonly stopTimeoutS?: number;
  readonly health?: HealthOptions;
  readonly log: Partial<LogChoice>;
  readonly detachKeys?: string;
  readonly pull: 'always' | 'missing' | 'never';
  readonly platform?: Platform;
}
