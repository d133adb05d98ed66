/** The built command as users run it, in a state root and directory of its own, with a busybox base image. */
import { createHash } from 'node:crypto';
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Workspace extends Disposable {
  readonly directory: string;
  readonly root: string;
  /** Of its commands. */
  readonly env: NodeJS.ProcessEnv;
  /** Runs tsbuild to its end. */
  tsbuild(
    args: readonly string[],
    options?: { readonly input?: string; readonly env?: NodeJS.ProcessEnv; readonly cwd?: string },
  ): Ended;
  /** As `tsbuild`; throws with the output unless it ended well. */
  ok(args: readonly string[], options?: { readonly env?: NodeJS.ProcessEnv; readonly cwd?: string }): Ended;
  /** Standard input is empty unless it is a pipe. */
  start(args: readonly string[], env?: NodeJS.ProcessEnv, stdin?: 'ignore' | 'pipe'): ChildProcess;
  /** Writes files of a build context; returns its directory. */
  context(name: string, files: Readonly<Record<string, string>>): string;
}

export function packageRoot(): string {
  for (let at = dirname(fileURLToPath(import.meta.url)); ; at = dirname(at))
    if (existsSync(join(at, 'package.json'))) return at;
}

export const CLI = join(packageRoot(), 'dist', 'cli.js');

export function openWorkspace(): Workspace {
  const directory = mkdtempSync(join(tmpdir(), 'tsbuild-e2e-'));
  const root = join(directory, 'state');
  const env = {
    ...process.env,
    // why: Node reads the whole list at every start, a third of a short command's time.
    NODE_EXTRA_CA_CERTS: undefined,
    TSBUILD_ROOT: root,
    DOCKER_CONFIG: join(directory, 'docker'),
    NO_COLOR: '1',
  };
  const workspace: Workspace = {
    directory,
    root,
    env,
    tsbuild(args, options = {}) {
      const ended = spawnSync(process.execPath, [CLI, ...args], {
        env: { ...env, ...options.env },
        cwd: options.cwd ?? directory,
        input: options.input ?? '',
        encoding: 'utf8',
        maxBuffer: 1 << 28,
      });
      return { code: ended.status, stdout: ended.stdout, stderr: ended.stderr };
    },
    ok(args, options) {
      const ended = workspace.tsbuild(args, options);
      if (ended.code !== 0)
        throw new Error(`tsbuild ${args.join(' ')} ended with ${ended.code}:\n${ended.stderr}`);
      return ended;
    },
    start: (args, more = {}, stdin = 'ignore') =>
      spawn(process.execPath, [CLI, ...args], {
        env: { ...env, ...more },
        cwd: directory,
        stdio: [stdin, 'pipe', 'pipe'],
      }),
    context(name, files) {
      const path = join(directory, name);
      for (const [file, text] of Object.entries(files)) {
        mkdirSync(dirname(join(path, file)), { recursive: true });
        writeFileSync(join(path, file), text);
      }
      return path;
    },
    [Symbol.dispose]() {
      rmSync(directory, { recursive: true, force: true });
      removeBridges();
    },
  };
  return workspace;
}

/** Bridges are found by the next state root once their own is gone; here that is at once. */
export function removeBridges(): void {
  if (!readdirSync('/sys/class/net').some((name) => name.startsWith('tsb-'))) return;
  const root = mkdtempSync(join(tmpdir(), 'tsbuild-sweep-'));
  spawnSync(process.execPath, [CLI, '--root', root, 'system', 'check'], { stdio: 'ignore' });
  rmSync(root, { recursive: true, force: true });
}

/** As `tsbuild` of a workspace, with bytes on standard input. */
export function runTsbuild(workspace: Workspace, args: readonly string[], input: Uint8Array): Ended {
  const ended = spawnSync(process.execPath, [CLI, ...args], {
    env: workspace.env,
    cwd: workspace.directory,
    input,
    maxBuffer: 1 << 28,
  });
  return { code: ended.status, stdout: ended.stdout.toString('utf8'), stderr: ended.stderr.toString('utf8') };
}

/** Has a busybox root as `bb:1`, and what it was imported from as `busybox.tar` beside the state. */
export function importBusybox(workspace: Workspace): void {
  const tar = join(workspace.directory, 'busybox.tar');
  const imported = busyboxState();
  if (!existsSync(tar)) copyFileSync(join(imported, 'busybox.tar'), tar);
  if (existsSync(workspace.root)) workspace.ok(['import', '--progress', 'quiet', tar, 'bb:1']);
  else execFileSync('cp', ['-a', join(imported, 'state'), workspace.root]);
}

/**
 * A directory with an archive of a busybox root, and a state root that imported it: made by the first test that asks,
 * anew for every build of the program, and copied by all of them.
 */
function busyboxState(): string {
  const parent = join(packageRoot(), 'build', 'busybox');
  const directory = join(parent, identityOf('dist', 'native/build'));
  if (existsSync(directory)) return directory;
  mkdirSync(parent, { recursive: true });
  const unfinished = mkdtempSync(join(parent, 'making-'));
  const tar = join(unfinished, 'busybox.tar');
  makeBusyboxTar(join(unfinished, 'root'), tar);
  const env = { ...process.env, TSBUILD_ROOT: join(unfinished, 'state') };
  execFileSync(process.execPath, [CLI, 'import', '--progress', 'quiet', tar, 'bb:1'], { env });
  try {
    renameSync(unfinished, directory);
  } catch (error) {
    // Another test was faster.
    if (!existsSync(directory)) throw error;
    rmSync(unfinished, { recursive: true });
    return directory;
  }
  rmSync(join(directory, 'root'), { recursive: true });
  for (const name of readdirSync(parent))
    if (!name.startsWith('making-') && name !== basename(directory))
      rmSync(join(parent, name), { recursive: true, force: true });
  return directory;
}

/** Changes with any file below these directories of the package. */
function identityOf(...directories: readonly string[]): string {
  const hash = createHash('sha256');
  for (const top of directories)
    for (const name of readdirSync(join(packageRoot(), top), { recursive: true, encoding: 'utf8' }).sort()) {
      if (name.startsWith('program/compiled')) continue;
      const { mtimeMs, size } = statSync(join(packageRoot(), top, name));
      hash.update(`${top}/${name} ${mtimeMs} ${size}\n`);
    }
  return hash.digest('hex').slice(0, 16);
}

function makeBusyboxTar(root: string, tar: string): void {
  mkdirSync(join(root, 'bin'), { recursive: true });
  mkdirSync(join(root, 'etc'));
  mkdirSync(join(root, 'tmp'));
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'));
  for (const applet of execFileSync('/bin/busybox', ['--list'], { encoding: 'utf8' }).trim().split('\n'))
    if (applet !== 'busybox') symlinkSync('busybox', join(root, 'bin', applet));
  writeFileSync(
    join(root, 'etc/passwd'),
    'root:x:0:0:root:/root:/bin/sh\nbob:x:1000:2000:Bob:/home/bob:/bin/sh\n',
  );
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\nbobs:x:2000:\nextra:x:3000:bob\n');
  execFileSync('tar', ['-C', root, '--owner=0', '--group=0', '--numeric-owner', '-cf', tar, '.']);
}

/** What tsbuild could have left on the machine: mounts below its state, processes of its launcher. */
export function leftovers(root: string): readonly string[] {
  const mounts = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .filter((line) => line.includes(root));
  const processes = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const isZombie = /\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
        const mountsOf = readFileSync(`/proc/${pid}/mountinfo`, 'latin1');
        return !isZombie && mountsOf.includes(root);
      } catch {
        return false;
      }
    })
    .map((pid) => `process ${pid}`);
  return [...mounts, ...processes];
}

/** Waits until `check` throws no more. */
export async function eventually(check: () => void, withinMs = 30_000): Promise<void> {
  const until = Date.now() + withinMs;
  for (;;)
    try {
      check();
      return;
    } catch (error) {
      if (Date.now() > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
}

/** A port of the loopback that nobody listens on. */
export async function freePort(): Promise<number> {
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

export interface RunningRegistry extends AsyncDisposable {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
  /** Where it keeps its configuration, and what it holds in `data`. */
  readonly directory: string;
}

export interface RegistryTls {
  readonly cert: string;
  readonly key: string;
  /** Whose client certificates it wants. */
  readonly clientAuthority?: string;
}

function tlsConfig({ cert, key, clientAuthority }: RegistryTls): string {
  const clients = clientAuthority === undefined ? '' : `, clientcas: ["${clientAuthority}"]`;
  return `, tls: { certificate: "${cert}", key: "${key}"${clients} }`;
}

/** Debian's docker-registry on the loopback; `more` lines go into its configuration. */
export async function startRegistry(
  directory: string,
  more = '',
  tls?: RegistryTls,
): Promise<RunningRegistry> {
  const port = await freePort();
  const home = join(directory, `registry-${port}`);
  mkdirSync(home);
  const config = `version: 0.1\nlog: { level: error }\nstorage: { filesystem: { rootdirectory: ${home}/data } }\nhttp: { addr: "127.0.0.1:${port}"${tls === undefined ? '' : tlsConfig(tls)} }\n${more}`;
  writeFileSync(join(home, 'config.yml'), config);
  const child = spawn('docker-registry', ['serve', join(home, 'config.yml')], { stdio: 'ignore' });
  const host = `127.0.0.1:${port}`;
  for (let tried = 0; ; tried += 1) {
    // Something answers: with TLS, that it wants TLS.
    const status = await fetch(`http://${host}/v2/`).then(
      (response) => response.status,
      () => 0,
    );
    if (status === 200 || status === 401 || (tls !== undefined && status === 400)) break;
    if (tried > 600) throw new Error('docker-registry did not come up');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return {
    host,
    directory: home,
    async [Symbol.asyncDispose]() {
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await gone;
    },
  };
}
