/** How registries are reached: data that the command line, the environment and configuration files give. */
import type { ClientCertificate, RegistryRule } from './rules.ts';

export interface ProxySettings {
  /** URLs of proxies, for http:// and https:// destinations. */
  readonly http?: string;
  readonly https?: string;
  /** NO_PROXY: names, suffixes, addresses, CIDR ranges, `*`. */
  readonly exceptions: string;
}

export interface RetrySettings {
  /** Attempts of one request, the first included. */
  readonly tries: number;
  /** The first pause is a random part of this. */
  readonly baseMs: number;
  readonly maxMs: number;
}

export interface TimeoutSettings {
  readonly connectMs: number;
  /** Without a byte in either direction. */
  readonly idleMs: number;
  /** Until a registry answers a finished upload: it hashes it first. */
  readonly answerMs: number;
}

export interface RegistrySettings {
  /** Hosts (with port), or ranges of addresses, that may speak plain HTTP or have certificates that cannot be checked. */
  readonly insecure: readonly string[];
  /** Certificate authorities by host, paths of PEM files. */
  readonly authorities: ReadonlyMap<string, readonly string[]>;
  readonly clientCertificates: ReadonlyMap<string, ClientCertificate>;
  /** Bundles and directories of authorities that count for every host; what does not exist is passed over. */
  readonly systemAuthorities: readonly string[];
  /** Directories like docker's certs.d: `HOST[:PORT]/*.crt`, `*.cert` + `*.key`. */
  readonly certificateDirectories: readonly string[];
  /** Mirrors and rules by registry, the most specific first; see rules.ts. */
  readonly rules: () => Promise<readonly RegistryRule[]>;
  /** Never go past the mirrors of a registry that has some. */
  readonly noFallback: boolean;
  /** Texts of docker config files given in the environment; they count before the files. */
  readonly inlineConfigs: readonly { readonly name: string; readonly text: string }[];
  /** Paths of docker and containers config files, in this order; writes go to the first. */
  readonly configFiles: readonly string[];
  readonly proxy: ProxySettings;
  readonly retry: RetrySettings;
  readonly timeouts: TimeoutSettings;
  /** Bytes of a piece: uploads go in pieces from the start. */
  readonly chunkSize?: number;
  /** How a registry learns what refers to an image: its API, a tag, or whichever works. */
  readonly referrers: 'auto' | 'api' | 'tag';
  readonly userAgent: string;
  /** A number in [0, 1), for spreading retries. */
  readonly random: () => number;
  /** One line per request and per answer, secrets struck out. */
  readonly trace?: (line: string) => void;
}

export const DEFAULT_RETRY: RetrySettings = { tries: 5, baseMs: 500, maxMs: 30_000 };
export const DEFAULT_TIMEOUTS: TimeoutSettings = {
  connectMs: 30_000,
  idleMs: 60_000,
  answerMs: 15 * 60_000,
};

/** Settings that reach anonymous registries and read nothing of the machine. */
export function plainSettings(random: () => number): RegistrySettings {
  return {
    insecure: [],
    authorities: new Map(),
    clientCertificates: new Map(),
    systemAuthorities: [],
    certificateDirectories: [],
    rules: () => Promise.resolve([]),
    noFallback: false,
    inlineConfigs: [],
    configFiles: [],
    proxy: { exceptions: '' },
    retry: DEFAULT_RETRY,
    timeouts: DEFAULT_TIMEOUTS,
    referrers: 'auto',
    userAgent: 'tsbuild',
    random,
  };
}
