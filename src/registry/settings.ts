/** How registries are reached: data that the command line and configuration files give. */

export interface RegistrySettings {
  /** Hosts (with port) that may speak plain HTTP or have certificates that cannot be checked. */
  readonly insecure: readonly string[];
  /** Certificate authorities by host, paths of PEM files. */
  readonly authorities: ReadonlyMap<string, readonly string[]>;
  /** Directories like docker's certs.d: `HOST[:PORT]/*.crt`, `*.cert` + `*.key`. */
  readonly certificateDirectories: readonly string[];
  /** Paths of docker config files, the first that exists counts; writes go to the first. */
  readonly configFiles: readonly string[];
  readonly userAgent: string;
  /** A number in [0, 1), for spreading retries. */
  readonly random: () => number;
}
