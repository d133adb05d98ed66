/** The peers of the data-plane benches, each with a state of its own below one directory. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Registry extends AsyncDisposable {
  readonly address: string;
}

export async function startRegistry(directory: string, port: number): Promise<Registry> {
  mkdirSync(directory, { recursive: true });
  const config = join(directory, 'config.yml');
  writeFileSync(
    config,
    `version: 0.1\nlog: { level: error }\nstorage: { filesystem: { rootdirectory: ${directory}/data }, delete: { enabled: true } }\nhttp: { addr: "127.0.0.1:${port}" }\n`,
  );
  const child = spawn('docker-registry', ['serve', config], { stdio: 'ignore' });
  const address = `127.0.0.1:${port}`;
  await until(async () => (await fetch(`http://${address}/v2/`)).ok, 'docker-registry');
  return { address, [Symbol.asyncDispose]: () => ended(child) };
}

export interface Docker extends AsyncDisposable {
  /** argv of the client. */
  readonly command: readonly string[];
}

/** Debian's dockerd, with BuildKit inside; no rules of its own, and no bridge unless it is asked for. */
export async function startDocker(
  directory: string,
  { bridge = false }: { readonly bridge?: boolean } = {},
): Promise<Docker | undefined> {
  if (!existsSync('/usr/sbin/dockerd') || !existsSync('/usr/bin/docker')) return undefined;
  mkdirSync(directory, { recursive: true });
  const socket = `unix://${directory}/docker.sock`;
  const flags = ['--data-root', join(directory, 'data'), '--exec-root', join(directory, 'exec')];
  const child = spawn(
    '/usr/sbin/dockerd',
    [
      ...[...flags, '--pidfile', join(directory, 'pid'), '-H', socket, '--iptables=false'],
      ...(bridge ? [] : ['--bridge=none']),
    ],
    { stdio: 'ignore' },
  );
  const command = ['/usr/bin/docker', '-H', socket];
  await until(() => spawnSync('/usr/bin/docker', ['-H', socket, 'version']).status === 0, 'dockerd');
  return { command, [Symbol.asyncDispose]: () => ended(child) };
}

export function buildahRoot(directory: string): readonly string[] {
  return ['--root', join(directory, 'root'), '--runroot', join(directory, 'run')];
}

/** What buildah has mounted and stored. */
export function clearBuildah(directory: string): void {
  // With what a build that was killed has mounted in it.
  spawnSync('umount', ['-R', join(directory, 'root/overlay')], { stdio: 'ignore' });
  rmSync(directory, { recursive: true, force: true });
}

async function until(isThere: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (let tries = 0; tries < 300; tries += 1) {
    try {
      if (await isThere()) return;
    } catch {
      // Not yet.
    }
    await sleep(100);
  }
  throw new Error(`${what} does not answer`);
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await gone;
}
