/**
 * A throw-away Linux for what this machine's kernel is not set up for: cgroup v2 alone, systemd.
 *
 * User-mode Linux (Debian: user-mode-linux) boots in seconds as an ordinary process. Its root is this machine's, read
 * only, under a tmpfs; what the guest changes is gone with it. It has one processor, cpu, io, memory and pids in
 * cgroup v2, BPF, namespaces, overlayfs; no cpuset, no hugetlb.
 */
import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeCpio } from './cpio.ts';

const MODULES = '/usr/lib/uml/modules';
const KERNEL = '/usr/bin/linux.uml';
const BUSYBOX = ['/bin/busybox', '/usr/bin/busybox'].find(existsSync);
const OVERLAY = overlayModule();

export interface GuestOptions {
  readonly cgroup: 'v2' | 'v1' | 'hybrid';
  /** MiB; 1024 where absent. */
  readonly memory?: number;
  readonly timeoutMs: number;
  /** A disk, mounted at /mnt: MiB of a new one, or the path of an image, which stays as the machine leaves it. */
  readonly disk?: number | string;
}

export interface GuestResult {
  /** Of the guest's command; undefined where the machine stopped before it ended. */
  readonly status: number | undefined;
  /** Both streams of the command. */
  readonly output: string;
  /** All that the console and the kernel said. */
  readonly console: string;
}

/** Why there can be no guest here; undefined where there can. */
export function guestMissing(): string | undefined {
  if (process.arch !== 'x64') return 'user-mode Linux is for x86-64 here';
  if (!existsSync(KERNEL)) return 'linux.uml is not installed (apt-get install user-mode-linux)';
  if (OVERLAY === undefined) return 'overlay.ko of linux.uml is missing';
  if (BUSYBOX === undefined) return 'busybox is not installed (apt-get install busybox-static)';
  return registersMissing(BUSYBOX);
}

/**
 * Where a processor has AMX, its registers take more room than user-mode Linux 6.1 gives them (FP_SIZE): its first program dies when
 * they are put back. why tried: later ones have the room.
 */
function registersMissing(busybox: string): string | undefined {
  if (!/^flags\s*:.* amx_tile/m.test(readFileSync('/proc/cpuinfo', 'latin1'))) return undefined;
  const directory = mkdtempSync(join(tmpdir(), 'tsbuild-guest-'));
  try {
    const initrd = join(directory, 'initrd');
    const init = { path: 'init', mode: 0o100755, content: readFileSync(busybox) };
    writeFileSync(initrd, writeCpio([init]));
    const { stdout } = spawnSync(
      KERNEL,
      ['mem=128M', `initrd=${initrd}`, 'rdinit=/init', 'con=null', 'con0=null,fd:1', `uml_dir=${directory}`],
      { cwd: directory, encoding: 'latin1', timeout: 10_000, killSignal: 'SIGKILL' },
    );
    return /Attempted to kill init[^]*put_fp_registers/.test(stdout)
      ? 'user-mode Linux has no room for the registers of this processor (AMX)'
      : undefined;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/**
 * Runs a shell script in a fresh machine, as root, in the package's directory. A machine whose own kernel panics says nothing of
 * what ran in it: another one is tried, once.
 */
export async function runInGuest(script: string, options: GuestOptions): Promise<GuestResult> {
  const first = await runOnce(script, options);
  if (first.status !== undefined || !/^\s*Kernel panic - not syncing/m.test(first.console)) return first;
  const second = await runOnce(script, options);
  return { ...second, console: `${first.console}\n(another machine)\n${second.console}` };
}

async function runOnce(script: string, options: GuestOptions): Promise<GuestResult> {
  const directory = mkdtempSync(join(tmpdir(), 'tsbuild-guest-'));
  try {
    writeFileSync(join(directory, 'initrd'), initialFiles(script));
    if (typeof options.disk === 'number') {
      writeFileSync(join(directory, 'disk'), '');
      truncateSync(join(directory, 'disk'), options.disk << 20);
    }
    return await boot(directory, options);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

export function packageRoot(): string {
  for (let at = dirname(fileURLToPath(import.meta.url)); ; at = dirname(at))
    if (existsSync(join(at, 'package.json'))) return at;
}

function overlayModule(): string | undefined {
  if (!existsSync(MODULES)) return undefined;
  const found = readdirSync(MODULES, { recursive: true, encoding: 'utf8' }).find((name) =>
    name.endsWith('/overlay.ko'),
  );
  return found === undefined ? undefined : join(MODULES, found);
}

function initialFiles(script: string): Buffer {
  const root = packageRoot();
  const quote = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`;
  const command = `export PATH=${quote(process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin')} HOME=/root TERM=dumb\ncd ${quote(root)}\n${script}\n`;
  const file = (path: string, mode: number, content: Uint8Array) => ({
    path,
    mode: 0o100000 | mode,
    content,
  });
  return writeCpio([
    { path: 'bin', mode: 0o040755 },
    { path: 'dev', mode: 0o040755 },
    { path: 'dev/console', mode: 0o020600, device: { major: 5, minor: 1 } },
    file('bin/busybox', 0o755, readFileSync(BUSYBOX ?? '')),
    file('overlay.ko', 0o644, readFileSync(OVERLAY ?? '')),
    file('init', 0o755, readFileSync(join(root, 'test/vm/init.sh'))),
    file('command', 0o644, Buffer.from(command)),
    file('checkout', 0o644, Buffer.from(root)),
  ]);
}

function boot(
  directory: string,
  { cgroup, memory = 1024, timeoutMs, disk }: GuestOptions,
): Promise<GuestResult> {
  const child = spawn(
    KERNEL,
    [
      `mem=${memory}M`,
      `initrd=${join(directory, 'initrd')}`,
      'rdinit=/init',
      'con=null',
      'con0=null,fd:1',
      'console=tty0',
      'quiet',
      'loglevel=1',
      'random.trust_cpu=on',
      `uml_dir=${directory}`,
      'umid=guest',
      `guest.cgroup=${cgroup}`,
      ...(disk === undefined ? [] : [`ubda=${typeof disk === 'string' ? disk : join(directory, 'disk')}`]),
    ],
    // A group of its own: the kernel and the guest's processes are all processes of this machine.
    { detached: true, stdio: ['ignore', 'pipe', 'pipe'], cwd: directory },
  );
  const end = (): void => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    } catch {
      // It has ended.
    }
  };
  return new Promise((resolve, reject) => {
    let text = '';
    const timer = setTimeout(end, timeoutMs);
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (data: Buffer) => (text += data.toString('latin1')));
    child.on('error', reject);
    child.on('close', () => {
      clearTimeout(timer);
      end();
      resolve(resultOf(text.replaceAll('\r', '')));
    });
  });
}

function resultOf(console: string): GuestResult {
  const match = /@@guest-began@@\n([^]*?)\n@@guest-ended (\d+)@@/.exec(console);
  return {
    status: match === null ? undefined : Number(match[2]),
    output: match?.[1] ?? '',
    console,
  };
}
