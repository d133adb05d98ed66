/** The one place that picks implementations and reads what is ambient. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { homedir, hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { TsbuildError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { startTimeOf } from '../base/owner.ts';
import { openEngine, type Engine, type EngineOptions } from '../engine/engine.ts';
import { hostPlatform } from '../oci/platform.ts';
import type { RegistrySettings } from '../registry/settings.ts';
import type { ParsedFlags } from './flags.ts';
import type { Session } from './session.ts';

const DEFAULT_ROOT = '/var/lib/tsbuild';

export interface Composed extends AsyncDisposable {
  readonly session: Session;
}

export function createHost(): Host {
  const started = startTimeOf(process.pid) ?? '0';
  let count = 0;
  return {
    now: () => Date.now(),
    unique() {
      count += 1;
      return `${process.pid}.${started}.${count.toString(36)}`;
    },
  };
}

export function compose(flags: ParsedFlags, version: string): Composed {
  const { env } = process;
  const cwd = process.cwd();
  const host = createHost();
  const registrySettings = readRegistrySettings(flags, env, version);
  let engine: Engine | undefined;
  const abort = new AbortController();
  let handler: ((signal: NodeJS.Signals) => void) | undefined;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const)
    process.on(signal, () => {
      if (handler !== undefined) handler(signal);
      // The second time nobody wants to wait for an orderly end.
      else if (abort.signal.aborted) process.exit(130);
      else abort.abort();
    });
  const root = resolve(cwd, flags.text('root') ?? env['TSBUILD_ROOT'] ?? DEFAULT_ROOT);
  return {
    session: {
      host,
      cwd,
      env,
      stdin: process.stdin,
      stdout: process.stdout,
      stderr: process.stderr,
      signal: abort.signal,
      registrySettings,
      engine: () =>
        (engine ??= openAsRoot({
          root,
          host,
          platform: hostPlatform(process.arch),
          parallelism: 4,
          hostname: hostname(),
          random: randomBytes,
          resolvConf: readResolvConf,
          async openRegistry() {
            const { createRegistry } = await import('../registry/client.ts');
            return createRegistry(registrySettings, host);
          },
        })),
      onSignal: (next) => (handler = next),
    },
    async [Symbol.asyncDispose]() {
      await engine?.[Symbol.asyncDispose]();
    },
  };
}

function openAsRoot(options: EngineOptions): Engine {
  // why: saying it here beats an EPERM out of the depths of a mount.
  if (process.getuid?.() !== 0)
    throw new TsbuildError('PERMISSION_DENIED', 'tsbuild needs root in this version', {
      hint: 'run it as root, e.g. with sudo',
    });
  return openEngine(options);
}

function readResolvConf(): string {
  try {
    return readFileSync('/etc/resolv.conf', 'utf8');
  } catch {
    return '';
  }
}

function readRegistrySettings(flags: ParsedFlags, env: NodeJS.ProcessEnv, version: string): RegistrySettings {
  const home = env['HOME'] ?? homedir();
  const authorities = new Map<string, string[]>();
  for (const each of flags.list('registry-ca')) {
    const [host, file] = each.split('=', 2);
    if (host === undefined || file === undefined || file === '')
      throw new TsbuildError('USAGE', `invalid --registry-ca ${JSON.stringify(each)}`, {
        hint: 'write HOST=FILE',
      });
    authorities.set(host, [...(authorities.get(host) ?? []), file]);
  }
  const config = env['DOCKER_CONFIG'] ?? join(home, '.docker');
  return {
    insecure: flags.list('insecure-registry'),
    authorities,
    certificateDirectories: [
      join(home, '.config/containers/certs.d'),
      '/etc/containers/certs.d',
      '/etc/docker/certs.d',
    ],
    configFiles: [
      ...(env['REGISTRY_AUTH_FILE'] === undefined ? [] : [env['REGISTRY_AUTH_FILE']]),
      join(config, 'config.json'),
      ...(env['XDG_RUNTIME_DIR'] === undefined ? [] : [join(env['XDG_RUNTIME_DIR'], 'containers/auth.json')]),
      join(home, '.config/containers/auth.json'),
    ],
    userAgent: `tsbuild/${version}`,
    random: () => Math.random(),
  };
}
