/** Two network namespaces with a slow link between them, and a registry at the far end. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface ShapedLink extends AsyncDisposable {
  /** argv that runs what follows at this end, and at the registry's. */
  readonly near: readonly string[];
  readonly far: readonly string[];
  /** `10.99.7.2:5000`. */
  readonly registry: string;
  /** Bytes that went over the link since the last call, in both directions, headers included. */
  bytes(): number;
}

export interface LinkOptions {
  /** One way, in milliseconds. */
  readonly delayMs: number;
  readonly bitsPerSecond: number;
}

const FAR = '10.99.7.2';
const PORT = 5000;

let links = 0;

function ip(...args: readonly string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8' });
}

export async function openShapedLink(directory: string, options: LinkOptions): Promise<ShapedLink> {
  links += 1;
  const name = `tsb${process.pid}${links}`;
  const [near, far] = [`${name}n`, `${name}f`];
  const program = join(directory, 'link');
  const source = join(dirname(fileURLToPath(import.meta.url)), '../bench/link/link.c');
  execFileSync('cc', ['-O2', '-D_GNU_SOURCE', '-o', program, source], { stdio: 'inherit' });
  const link = spawn(
    'nice',
    ['-n', '-20', program, near, far, `${options.delayMs * 1000}`, `${options.bitsPerSecond}`],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  await new Promise<void>((resolve, reject) => {
    link.stdout.once('data', () => resolve());
    link.once('exit', () => reject(new Error('the link did not come up')));
  });
  for (const [end, address] of [
    [near, '10.99.7.1/30'],
    [far, `${FAR}/30`],
  ] as const) {
    ip('netns', 'add', end);
    ip('link', 'set', end, 'netns', end);
    ip('-n', end, 'addr', 'add', address, 'dev', end);
    ip('-n', end, 'link', 'set', end, 'up');
    ip('-n', end, 'link', 'set', 'lo', 'up');
  }
  const registry = startRegistry(directory, far);
  let before = 0;
  const counted = (): number => {
    const [first] = JSON.parse(ip('-n', near, '-s', '-j', 'link', 'show', near)) as {
      stats64: Record<'rx' | 'tx', { bytes: number }>;
    }[];
    return (first?.stats64.rx.bytes ?? 0) + (first?.stats64.tx.bytes ?? 0);
  };
  await untilAnswers(far);
  return {
    near: ['ip', 'netns', 'exec', near],
    far: ['ip', 'netns', 'exec', far],
    registry: `${FAR}:${PORT}`,
    bytes() {
      const all = counted();
      const moved = all - before;
      before = all;
      return moved;
    },
    async [Symbol.asyncDispose]() {
      for (const child of [registry, link]) {
        const gone = new Promise((resolve) => child.once('exit', resolve));
        child.kill('SIGKILL');
        await gone;
      }
      for (const end of [near, far]) ip('netns', 'del', end);
    },
  };
}

function startRegistry(directory: string, namespace: string): ChildProcess {
  const home = join(directory, 'registry');
  mkdirSync(home, { recursive: true });
  const config = join(home, 'config.yml');
  writeFileSync(
    config,
    `version: 0.1\nlog: { level: error, accesslog: { disabled: true } }\nstorage: { filesystem: { rootdirectory: ${home}/data } }\nhttp: { addr: "${FAR}:${PORT}" }\n`,
  );
  return spawn('ip', ['netns', 'exec', namespace, 'docker-registry', 'serve', config], { stdio: 'ignore' });
}

async function untilAnswers(namespace: string): Promise<void> {
  const probe = `fetch('http://${FAR}:${PORT}/v2/').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))`;
  for (let tried = 0; tried < 50; tried += 1)
    try {
      execFileSync('ip', ['netns', 'exec', namespace, process.execPath, '-e', probe], { stdio: 'ignore' });
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  throw new Error('docker-registry did not come up');
}
