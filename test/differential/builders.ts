/** The two builders of a comparison, each with state of its own and the same base image `bb:1`. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { CLI } from '../e2e/fixture.ts';
import { readDirectoryTransport, readOciLayout, type Image } from './image-tree.ts';

export interface Outcome {
  readonly code: number;
  readonly output: string;
}

export interface Builder {
  /** Takes a root file system for the image `bb:1`. */
  importBase(tar: string): Promise<void>;
  /** Builds with the current directory as context and leaves what `readImage` reads at `image`. */
  build(context: string, image: string, args: readonly string[]): Promise<Outcome>;
  readImage(image: string): Promise<Image>;
  /** Builds an image that later builds start from. */
  buildBase(context: string, file: string, name: string): Promise<Outcome>;
}

async function run(
  command: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv },
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    const chunks: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk));
    child.once('error', reject);
    child.once('close', (code, signal) =>
      resolve({ code: code ?? -1, output: Buffer.concat(chunks).toString() + (signal ?? '') }),
    );
  });
}

async function succeed(outcome: Promise<Outcome>): Promise<string> {
  const { code, output } = await outcome;
  if (code !== 0) throw new Error(`ended with ${code}: ${output}`);
  return output.trim();
}

export function createTsbuild(state: string): Builder {
  const env = {
    ...process.env,
    TSBUILD_ROOT: join(state, 'tsbuild'),
    DOCKER_CONFIG: join(state, 'docker'),
    NO_COLOR: '1',
  };
  const tsbuild = async (args: readonly string[], cwd = state): Promise<Outcome> =>
    run(process.execPath, [CLI, ...args], { cwd, env });
  return {
    async importBase(tar) {
      await succeed(tsbuild(['import', '--progress', 'quiet', tar, 'bb:1']));
    },
    build: async (context, image, args) =>
      tsbuild(
        ['build', '--progress', 'plain', '-o', `type=oci,dest=${image},tar=false`, ...args, '.'],
        context,
      ),
    readImage: readOciLayout,
    buildBase: async (context, file, name) => tsbuild(['build', '-q', '-f', file, '-t', name, '.'], context),
  };
}

export function createBuildah(state: string): Builder {
  const storage = ['--root', join(state, 'storage'), '--runroot', join(state, 'runroot')];
  const buildah = async (args: readonly string[], cwd = state): Promise<Outcome> =>
    run('buildah', [...storage, '--storage-driver', 'overlay', ...args], { cwd });
  // why docker: the OCI format has no place for Healthcheck, OnBuild and Shell, and buildah leaves them out.
  const flags = [
    '--format',
    'docker',
    '--pull=never',
    '--layers=false',
    '--isolation',
    'chroot',
    '--network',
    'host',
  ];
  return {
    async importBase(tar) {
      const container = await succeed(buildah(['from', 'scratch']));
      await succeed(buildah(['add', '-q', container, tar, '/']));
      await succeed(buildah(['commit', '-q', '--rm', '--format', 'docker', container, 'bb:1']));
    },
    build: async (context, image, args) =>
      buildah(['build', ...flags, '-t', `dir:${image}`, ...args, '.'], context),
    readImage: readDirectoryTransport,
    buildBase: async (context, file, name) =>
      buildah(['build', ...flags, '-f', file, '-t', name, '.'], context),
  };
}
