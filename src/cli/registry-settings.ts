/** How registries are reached, from flags, the environment and the places where configuration lies. */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { TsbuildError } from '../base/errors.ts';
import { isInRange } from '../registry/address.ts';
import { parseMirrorFlag, type ClientCertificate, type RegistryRule } from '../registry/rules.ts';
import {
  DEFAULT_RETRY,
  DEFAULT_TIMEOUTS,
  type ProxySettings,
  type RegistrySettings,
} from '../registry/settings.ts';
import type { ParsedFlags } from './flags.ts';
import { parseBytes, parseSeconds } from './quantities.ts';

type Env = Readonly<Record<string, string | undefined>>;

export function readRegistrySettings(
  flags: ParsedFlags,
  {
    env,
    cwd,
    version,
    trace,
  }: {
    readonly env: Env;
    readonly cwd: string;
    readonly version: string;
    readonly trace: (line: string) => void;
  },
): RegistrySettings {
  const home = env['HOME'] ?? homedir();
  const settings = env['XDG_CONFIG_HOME'] ?? join(home, '.config');
  const mirrors = flags.list('registry-mirror').map(parseMirror);
  const tries = flags.text('retry');
  const delay = flags.text('retry-delay');
  const chunkSize = flags.text('chunk-size');
  const idle = env['TSBUILD_REGISTRY_TIMEOUT'];
  let rules: Promise<readonly RegistryRule[]> | undefined;
  return {
    insecure: [...flags.list('insecure-registry'), ...insecureRanges(env)],
    authorities: authoritiesFrom(flags, cwd),
    clientCertificates: clientCertificatesFrom(flags, cwd),
    systemAuthorities: systemAuthorities(env),
    certificateDirectories: [
      join(settings, 'containers/certs.d'),
      '/etc/containers/certs.d',
      join(settings, 'docker/certs.d'),
      '/etc/docker/certs.d',
    ],
    rules: () => (rules ??= loadRules(mirrors, flags, env, cwd, settings)),
    noFallback: flags.boolean('no-registry-fallback'),
    inlineConfigs: ['TSBUILD_AUTH_CONFIG', 'DOCKER_AUTH_CONFIG'].flatMap((name) => {
      const text = env[name];
      return text === undefined ? [] : [{ name, text }];
    }),
    configFiles: configFiles(env, home, settings),
    proxy: proxyFrom(env),
    retry: {
      ...DEFAULT_RETRY,
      ...(tries === undefined ? {} : { tries: countOf(tries) }),
      ...(delay === undefined ? {} : { baseMs: parseSeconds(delay, '--retry-delay') * 1000 }),
    },
    timeouts: {
      ...DEFAULT_TIMEOUTS,
      ...(idle === undefined || idle === ''
        ? {}
        : { idleMs: parseSeconds(idle, 'TSBUILD_REGISTRY_TIMEOUT') * 1000 }),
    },
    ...(chunkSize === undefined ? {} : { chunkSize: parseBytes(chunkSize, '--chunk-size') }),
    referrers: referrersFrom(flags),
    userAgent: `tsbuild/${version}`,
    random: () => Math.random(),
    ...((env['TSBUILD_TRACE'] ?? '').split(',').includes('http') ? { trace } : {}),
  };
}

/** Where `login` writes, and where credentials are looked for; the first that has some counts. */
function configFiles(env: Env, home: string, settings: string): readonly string[] {
  const only = env['REGISTRY_AUTH_FILE'];
  if (only !== undefined && only !== '') return [only];
  const runtime = env['XDG_RUNTIME_DIR'];
  return [
    join(env['DOCKER_CONFIG'] ?? join(home, '.docker'), 'config.json'),
    ...(runtime === undefined ? [] : [join(runtime, 'containers/auth.json')]),
    join(settings, 'containers/auth.json'),
    join(home, '.dockercfg'),
  ];
}

async function loadRules(
  mirrors: readonly RegistryRule[],
  flags: ParsedFlags,
  env: Env,
  cwd: string,
  settings: string,
): Promise<readonly RegistryRule[]> {
  const { readRules } = await import('../registry/configuration/read-rules.ts');
  const own = flags.text('registry-config') ?? env['TSBUILD_REGISTRY_CONFIG'];
  const containers = env['CONTAINERS_REGISTRIES_CONF'];
  return readRules(mirrors, {
    own:
      own === undefined
        ? [join(settings, 'tsbuild/registries.json'), '/etc/tsbuild/registries.json']
        : [resolve(cwd, own)],
    registriesConf:
      containers === undefined
        ? [join(settings, 'containers/registries.conf'), '/etc/containers/registries.conf']
        : [containers],
    hostsToml: [join(settings, 'containerd/certs.d'), '/etc/containerd/certs.d'],
    daemonJson: daemonFiles(env),
  });
}

function daemonFiles(env: Env): readonly string[] {
  const home = env['HOME'] ?? homedir();
  return [
    join(env['XDG_CONFIG_HOME'] ?? join(home, '.config'), 'docker/daemon.json'),
    '/etc/docker/daemon.json',
  ];
}

/** Ranges in docker's daemon.json; hosts there are rules. */
function insecureRanges(env: Env): readonly string[] {
  return daemonFiles(env).flatMap((path) => {
    try {
      const value = JSON.parse(readFileSync(path, 'utf8')) as { readonly 'insecure-registries'?: unknown };
      const list = value['insecure-registries'];
      if (!Array.isArray(list)) return [];
      return (list as readonly unknown[]).filter(
        (each) => typeof each === 'string' && isInRange(each.split('/')[0] ?? '', each),
      ) as readonly string[];
    } catch {
      // A file that cannot be read is complained about where its rules are read.
      return [];
    }
  });
}

function systemAuthorities(env: Env): readonly string[] {
  const bundle = env['SSL_CERT_FILE'];
  const extra = env['NODE_EXTRA_CA_CERTS'];
  return [
    ...(bundle === undefined || bundle === ''
      ? ['/etc/ssl/certs/ca-certificates.crt', '/etc/pki/tls/certs/ca-bundle.crt', '/etc/ssl/cert.pem']
      : [bundle]),
    ...(env['SSL_CERT_DIR'] ?? '').split(':').filter((each) => each !== ''),
    ...(extra === undefined || extra === '' ? [] : [extra]),
  ];
}

function proxyFrom(env: Env): ProxySettings {
  const of = (name: string): string | undefined => env[name.toLowerCase()] ?? env[name];
  const http = of('HTTP_PROXY') ?? of('ALL_PROXY');
  const https = of('HTTPS_PROXY') ?? of('ALL_PROXY');
  return {
    ...(http === undefined || http === '' ? {} : { http }),
    ...(https === undefined || https === '' ? {} : { https }),
    exceptions: of('NO_PROXY') ?? '',
  };
}

function parseMirror(text: string): RegistryRule {
  const rule = parseMirrorFlag(text);
  if (rule !== undefined) return rule;
  throw new TsbuildError('USAGE', `invalid --registry-mirror ${JSON.stringify(text)}`, {
    hint: 'write [REGISTRY=]HOST[:PORT][/PATH]',
  });
}

function authoritiesFrom(flags: ParsedFlags, cwd: string): ReadonlyMap<string, readonly string[]> {
  const authorities = new Map<string, string[]>();
  for (const each of flags.list('registry-ca')) {
    const [host, file] = each.split('=', 2);
    if (host === undefined || file === undefined || file === '')
      throw new TsbuildError('USAGE', `invalid --registry-ca ${JSON.stringify(each)}`, {
        hint: 'write HOST=FILE',
      });
    authorities.set(host, [...(authorities.get(host) ?? []), resolve(cwd, file)]);
  }
  return authorities;
}

function clientCertificatesFrom(flags: ParsedFlags, cwd: string): ReadonlyMap<string, ClientCertificate> {
  return new Map(
    flags.list('registry-client-cert').map((each) => {
      const [, host, cert, key] = /^([^=]+)=([^,]+),(.+)$/.exec(each) ?? [];
      if (host === undefined || cert === undefined || key === undefined)
        throw new TsbuildError('USAGE', `invalid --registry-client-cert ${JSON.stringify(each)}`, {
          hint: 'write HOST=CERT,KEY',
        });
      return [host, { cert: resolve(cwd, cert), key: resolve(cwd, key) }] as const;
    }),
  );
}

function referrersFrom(flags: ParsedFlags): RegistrySettings['referrers'] {
  const text = flags.text('referrers') ?? 'auto';
  if (text === 'auto' || text === 'api' || text === 'tag') return text;
  throw new TsbuildError('USAGE', `invalid --referrers ${JSON.stringify(text)}`, {
    hint: 'use auto, api or tag',
  });
}

function countOf(text: string): number {
  if (/^[1-9]\d?$/.test(text)) return Number(text);
  throw new TsbuildError('USAGE', `invalid --retry ${JSON.stringify(text)}`, {
    hint: 'write a number from 1 to 99',
  });
}
