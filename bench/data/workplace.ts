/** Where a bench works: directories of its own, and ours and the peers as commands. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { removePlace } from '../remove-place.ts';
import {
  buildahRoot,
  clearBuildah,
  startDocker,
  startRegistry,
  type Docker,
  type Registry,
} from './peers.ts';

const CLI = join(dirname(fileURLToPath(import.meta.url)), 'cli.js');

export interface Workplace extends AsyncDisposable {
  readonly directory: string;
  readonly rounds: number;
  /** tsbuild over a state root of this name. */
  ours(root: string, ...args: readonly string[]): readonly string[];
  buildah(root: string, ...args: readonly string[]): readonly string[];
  /** argv of podman over a state root of this name, with runc and cgroupfs. */
  podman(root: string): readonly string[];
  /** Throws away a state root of ours or of buildah's. */
  forget(root: string): void;
  /** undefined where dockerd is not installed. */
  docker(): Promise<Docker | undefined>;
  registry(): Promise<Registry>;
}

export function openWorkplace(parent: string | undefined, rounds: number): Workplace {
  const directory = mkdtempSync(join(parent ?? tmpdir(), 'tsbuild-data-'));
  const place = (root: string): string => join(directory, root);
  let docker: Promise<Docker | undefined> | undefined;
  let registry: Promise<Registry> | undefined;
  const roots = new Set<string>();
  return {
    directory,
    rounds,
    ours: (root, ...args) => [CLI, '--root', place(root), ...args],
    buildah(root, ...args) {
      roots.add(root);
      mkdirSync(place(root), { recursive: true });
      return ['buildah', ...buildahRoot(place(root)), ...args];
    },
    podman(root) {
      roots.add(root);
      mkdirSync(place(root), { recursive: true });
      return ['podman', ...buildahRoot(place(root)), '--runtime', 'runc', '--cgroup-manager', 'cgroupfs'];
    },
    forget(root) {
      if (roots.delete(root)) clearBuildah(place(root));
      else rmSync(place(root), { recursive: true, force: true });
    },
    docker: () => (docker ??= startDocker(place('docker'))),
    registry: () => (registry ??= startRegistry(place('registry'), 20000 + (process.pid % 20000))),
    async [Symbol.asyncDispose]() {
      await (await docker)?.[Symbol.asyncDispose]();
      await (await registry)?.[Symbol.asyncDispose]();
      for (const root of roots) clearBuildah(place(root));
      removePlace(directory, CLI);
    },
  };
}

export const BUILDAH_BUILD = [
  'build',
  '-q',
  '--isolation',
  'chroot',
  '--network',
  'host',
  '--layers',
] as const;
