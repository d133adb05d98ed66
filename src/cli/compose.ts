/** The one place that picks implementations and reads what is ambient. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { TsbuildError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { startTimeOf } from '../base/owner.ts';
import { suggest } from '../base/suggest.ts';
import { DRIVERS, isDriver } from '../../snapshotter/driver.ts';
import { openEngine, type Engine, type EngineOptions } from '../engine/engine.ts';
import { hostPlatform } from '../oci/platform.ts';
import type { ParsedFlags } from './flags.ts';
import type { Configuration } from './configuration.ts';
import { parseBytes } from './quantities.ts';
import type { RegistrySettings } from '../registry/settings.ts';
import type { Output } from './output.ts';
import type { Session } from './session.ts';
import { DEFAULT_ROOT } from './unchanged-build.ts';

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

/** What ends a command in an orderly way. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;

export function compose(
  flags: ParsedFlags,
  version: string,
  configuration: Configuration,
  output: Output,
): Composed {
  const { env } = process;
  const cwd = workingDirectory();
  const host = createHost();
  async function registrySettings(): Promise<RegistrySettings> {
    const { readRegistrySettings } = await import('./registry-settings.ts');
    const trace = (line: string): void => void process.stderr.write(`${line}\n`);
    return readRegistrySettings(flags, { env, cwd, version, trace });
  }
  let engine: Engine | undefined;
  let asksRegistries = false;
  const abort = new AbortController();
  let handler: ((signal: NodeJS.Signals) => void) | undefined;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (handler !== undefined) handler(signal);
    // The second time nobody wants to wait for an orderly end.
    else if (abort.signal.aborted) process.exit(130);
    else abort.abort();
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  output.signal.addEventListener('abort', () => abort.abort());
  const driver = storageDriverOf(flags, env);
  const root = resolve(cwd, flags.text('root') ?? env['TSBUILD_ROOT'] ?? DEFAULT_ROOT);
  return {
    session: {
      host,
      cwd,
      root,
      env,
      // why: making a stream of it loads what a command that does not use it can do without.
      get stdin() {
        return process.stdin;
      },
      get stdout() {
        return output.stdout;
      },
      get stderr() {
        return output.stderr;
      },
      signal: abort.signal,
      registrySettings,
      asksRegistries: () => asksRegistries,
      engine: () =>
        (engine ??= openAsRoot({
          root,
          host,
          platform: hostPlatform(process.arch),
          parallelism: 4,
          hostname: hostname(),
          random: randomBytes,
          cleanupCommand: [
            process.execPath,
            process.argv[1] ?? '',
            '--root',
            root,
            ...(driver.storageDriver === undefined ? [] : ['--storage-driver', driver.storageDriver]),
            'container',
            'cleanup',
          ],
          resolvConf: readResolvConf,
          ...storageMaxOf(flags, env, configuration),
          ...driver,
          async openRegistry() {
            asksRegistries = true;
            const { createRegistry } = await import('../registry/client.ts');
            return createRegistry(await registrySettings(), host);
          },
        })),
      onSignal: (next) => (handler = next),
      onBrokenOutput: output.onBroken,
    },
    async [Symbol.asyncDispose]() {
      await engine?.[Symbol.asyncDispose]();
      for (const signal of SIGNALS) process.off(signal, onSignal);
    },
  };
}

function workingDirectory(): string {
  try {
    return process.cwd();
  } catch (error) {
    throw new TsbuildError('USAGE', 'the working directory is gone', {
      cause: error,
      hint: 'go to one that is there',
    });
  }
}

/** The flag, then the environment, then the configuration. `0` and `none`: no limit. */
function storageMaxOf(
  flags: ParsedFlags,
  env: Readonly<Record<string, string | undefined>>,
  configuration: Configuration,
): Pick<EngineOptions, 'storageMax'> {
  const given: readonly (readonly [string | undefined, string])[] = [
    [flags.text('storage-max'), '--storage-max'],
    [env['TSBUILD_STORAGE_MAX'], 'TSBUILD_STORAGE_MAX'],
    [configuration.storageMax, 'storage.max'],
  ];
  const [text = '', what = ''] = given.find(([value]) => value !== undefined && value !== '') ?? [];
  return /^(?:0|none|)$/i.test(text) ? {} : { storageMax: parseBytes(text, what) };
}

/** The flag, then the environment. Throws USAGE. */
function storageDriverOf(
  flags: ParsedFlags,
  env: Readonly<Record<string, string | undefined>>,
): Pick<EngineOptions, 'storageDriver'> {
  const flag = flags.text('storage-driver');
  const name = flag ?? env['TSBUILD_STORAGE_DRIVER'] ?? '';
  if (isDriver(name)) return { storageDriver: name };
  if (flag === undefined && name === '') return {};
  const what = flag === undefined ? 'TSBUILD_STORAGE_DRIVER' : '--storage-driver';
  const near = suggest(name, DRIVERS);
  throw new TsbuildError('USAGE', `invalid ${what} ${JSON.stringify(name)}`, {
    hint: near === undefined ? `use ${DRIVERS.join(', ')}` : `did you mean ${near}?`,
  });
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
