/** Where the soak of the store works: a state root, a registry, build contexts; and how its commands are run. */
import { spawn, type ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const CLI = join(dirname(fileURLToPath(import.meta.url)), 'cli.js');

export interface Ended {
  /** null: it was killed. */
  readonly code: number | null;
  readonly output: string;
}

export interface Place extends AsyncDisposable {
  readonly directory: string;
  readonly root: string;
  /** `127.0.0.1:PORT`. */
  readonly registry: string;
  /** Runs a command; killed after so many milliseconds, unless it has ended. */
  run(args: readonly string[], killAfterMs?: number): Promise<Ended>;
  /** As `run`; throws where it does not end well. */
  ok(...args: readonly string[]): Promise<string>;
  /** Pids of all commands so far. */
  readonly pids: ReadonlySet<number>;
}

export async function openPlace(directory: string): Promise<Place> {
  const root = join(directory, 'state');
  const env = { ...process.env, TSBUILD_ROOT: root, NO_COLOR: '1', DOCKER_CONFIG: join(directory, 'docker') };
  const pids = new Set<number>();

  async function run(args: readonly string[], killAfterMs?: number): Promise<Ended> {
    const child = spawn(process.execPath, [CLI, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    if (child.pid !== undefined) pids.add(child.pid);
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (data: Buffer) => (output = (output + data.toString()).slice(-20_000)));
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    const timer =
      killAfterMs === undefined ? undefined : setTimeout(() => child.kill('SIGKILL'), killAfterMs);
    const code = await ended;
    clearTimeout(timer);
    return { code, output };
  }

  async function ok(...args: readonly string[]): Promise<string> {
    const { code, output } = await run(args);
    if (code !== 0) throw new Error(`tsbuild ${args.join(' ')} ended with ${code ?? 'a signal'}:\n${output}`);
    return output;
  }

  const { host, child } = await startRegistry(directory);
  return {
    ...{ directory, root, registry: host, run, ok, pids },
    async [Symbol.asyncDispose]() {
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await gone;
    },
  };
}

async function startRegistry(
  directory: string,
): Promise<{ readonly host: string; readonly child: ChildProcess }> {
  const port = await freePort();
  const config = join(directory, 'registry.yml');
  writeFileSync(
    config,
    `version: 0.1\nlog: { level: error }\nstorage: { filesystem: { rootdirectory: ${directory}/registry } }\nhttp: { addr: "127.0.0.1:${port}" }\n`,
  );
  const child = spawn('docker-registry', ['serve', config], { stdio: 'ignore' });
  const host = `127.0.0.1:${port}`;
  for (let tried = 0; ; tried += 1) {
    const isUp = await fetch(`http://${host}/v2/`).then(
      ({ status }) => status === 200,
      () => false,
    );
    if (isUp) return { host, child };
    if (tried > 200) throw new Error('docker-registry did not come up');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() =>
        typeof address === 'object' && address !== null
          ? resolve(address.port)
          : reject(new Error('no port')),
      );
    });
  });
}
