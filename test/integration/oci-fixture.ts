/** Bundles with a busybox root, and tsbuild-runtime (its native front) on a state directory of their own. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { locateNative } from '../../native/locate.ts';
import { defaultConfig } from '../../src/runtime/oci/default-config.ts';
import { makeBusyboxRoot } from './runtime-fixture.ts';

export interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number | null;
}

export interface Bundles {
  readonly directory: string;
  /** tsbuild-runtime with these arguments; `bundle` is its working directory. */
  call(args: readonly string[], bundle?: string, descriptors?: readonly number[]): Outcome;
  /** The same, not waited for; `streams`: its 0 and 1. */
  begin(args: readonly string[], bundle?: string, streams?: readonly [number, number]): ChildProcess;
  /** A new bundle whose program is `sh -c script`, its config changed. */
  bundle(script: string, change?: (config: OciConfig, rootfs: string) => void): string;
  /** Runs it to the end. */
  run(script: string, change?: (config: OciConfig, rootfs: string) => void): Outcome;
  /** Containers that are left. */
  left(): readonly string[];
  close(): void;
}

export interface OciConfig {
  process: Record<string, unknown> & { args: string[]; terminal: boolean };
  root: { path: string; readonly: boolean };
  hostname: string;
  mounts: {
    destination: string;
    type?: string;
    source?: string;
    options?: string[];
    uidMappings?: object[];
    gidMappings?: object[];
  }[];
  linux: Record<string, unknown> & { namespaces: { type: string; path?: string }[] };
  hooks?: Record<string, object[]>;
  annotations?: Record<string, string>;
}

export function openBundles(): Bundles {
  const directory = mkdtempSync(join(tmpdir(), 'tsbuild-oci-'));
  const state = join(directory, 'state');
  const program = locateNative('tsbuild-runtime');
  let count = 0;
  const bundles: Bundles = {
    directory,
    call(args, bundle = directory, descriptors = []) {
      const { stdout, stderr, status } = spawnSync(program, ['--root', state, ...args], {
        cwd: bundle,
        encoding: 'utf8',
        timeout: 100_000,
        stdio: ['ignore', 'pipe', 'pipe', ...descriptors],
      });
      return { stdout, stderr, code: status };
    },
    begin: (args, bundle = directory, streams) =>
      spawn(program, ['--root', state, ...args], {
        cwd: bundle,
        stdio: [...(streams ?? (['ignore', 'pipe'] as const)), 'pipe'],
      }),
    bundle(script, change) {
      const bundle = join(directory, `bundle-${(count += 1)}`);
      mkdirSync(join(bundle, 'rootfs'), { recursive: true });
      makeBusyboxRoot(join(bundle, 'rootfs'));
      const config = structuredClone(defaultConfig(false)) as unknown as OciConfig;
      config.process.terminal = false;
      config.process.args = ['sh', '-c', script];
      // why: that of the id alone is one for the whole machine, whatever the state directory.
      config.linux['cgroupsPath'] = `/tsbuild/oci-${process.pid}-${count}`;
      change?.(config, join(bundle, 'rootfs'));
      writeFileSync(join(bundle, 'config.json'), JSON.stringify(config));
      return bundle;
    },
    run: (script, change) => bundles.call(['run', `run-${count}`], bundles.bundle(script, change)),
    left: () => readdirSync(state).filter((name) => !name.endsWith('.tmp')),
    close() {
      for (const id of bundles.call(['list', '-q']).stdout.split('\n').filter(Boolean))
        bundles.call(['delete', '-f', id]);
      rmSync(directory, { recursive: true, force: true });
    },
  };
  return bundles;
}
