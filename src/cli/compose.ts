/** The one place that picks implementations and reads what is ambient. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { TsbuildError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { startTimeOf } from '../base/owner.ts';
import { openEngine, type Engine, type EngineOptions } from '../engine/engine.ts';
import { hostPlatform } from '../oci/platform.ts';
import type { ParsedFlags } from './flags.ts';
import type { RegistrySettings } from '../registry/settings.ts';
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
  async function registrySettings(): Promise<RegistrySettings> {
    const { readRegistrySettings } = await import('./registry-settings.ts');
    const trace = (line: string): void => void process.stderr.write(`${line}\n`);
    return readRegistrySettings(flags, { env, cwd, version, trace });
  }
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
          cleanupCommand: [process.execPath, process.argv[1] ?? '', '--root', root, 'container', 'cleanup'],
          resolvConf: readResolvConf,
          async openRegistry() {
            const { createRegistry } = await import('../registry/client.ts');
            return createRegistry(await registrySettings(), host);
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
