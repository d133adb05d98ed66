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

/** Whether a host may be spoken to without TLS: it was named as insecure, or it is this machine. */
export function mayBePlain(authority: string, insecure: readonly string[]): boolean {
  const name = authority.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
  return (
    insecure.includes(authority) ||
    name === 'localhost' ||
    name.endsWith('.localhost') ||
    /^127(\.\d{1,3}){3}$/.test(name) ||
    name === '::1'
  );
}
