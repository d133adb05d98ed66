/**
 * Soak tests of containers, for machines that may be busy for minutes:
 *
 *   npm run soak:containers [COUNT] [AT_A_TIME]   starts and removes containers in a loop (1000, 50)
 *   npm run soak:kill [COUNT]                     kill -9 of commands and monitors at random points (200)
 *   npm run soak:memory [COUNT]                   memory of the monitors of so many running containers (100)
 *
 * Each makes a state root of its own with a busybox image and looks for what is left: mounts, cgroups, namespaces,
 * interfaces, processes, files. Ends with 1 where anything is.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { makeBusyboxTar } from './busybox.ts';

const CLI = join(dirname(fileURLToPath(import.meta.url)), 'cli.js');
const directory = mkdtempSync(join(tmpdir(), 'tsbuild-soak-'));
const root = join(directory, 'state');
/** Of our containers alone. */
const CGROUPS = `/tsbuild-soak-${process.pid}`;
/** Of their names. */
const PREFIX = `soak${process.pid}x`;
const OURS = ['--cgroup-parent', CGROUPS];
const env = { ...process.env, TSBUILD_ROOT: root, NO_COLOR: '1' };

interface Ended {
  readonly code: number | null;
  readonly output: string;
}

function begin(args: readonly string[]): { readonly child: ChildProcess; readonly ended: Promise<Ended> } {
  const child = spawn(process.execPath, [CLI, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (data: Buffer) => (output += data.toString()));
  const ended = new Promise<Ended>((resolve) => child.once('close', (code) => resolve({ code, output })));
  return { child, ended };
}

async function tsbuild(...args: readonly string[]): Promise<string> {
  const { code, output } = await begin(args).ended;
  if (code !== 0) throw new Error(`tsbuild ${args.join(' ')} ended with ${code ?? 'a signal'}:\n${output}`);
  return output;
}

async function importBusybox(): Promise<void> {
  await tsbuild('import', '--progress', 'quiet', makeBusyboxTar(directory), 'busybox');
}

function containerIDs(): readonly string[] {
  const path = join(root, 'containers');
  return existsSync(path) ? readdirSync(path).filter((name) => /^[0-9a-f]{64}$/.test(name)) : [];
}

/** Beginnings of ids, as names of network namespaces have them; others run containers on this machine, too. */
const seen = new Set<string>();
setInterval(() => {
  for (const id of containerIDs()) seen.add(id.slice(0, 12));
}, 20).unref();

/** What there is on the machine that containers of ours may leave. */
function inventory(): ReadonlyMap<string, readonly string[]> {
  const lines = (text: string): readonly string[] => text.split('\n').filter((line) => line !== '');
  const output = (program: string, ...args: readonly string[]): readonly string[] => {
    try {
      return lines(execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
    } catch {
      return [];
    }
  };
  const below = (path: string): readonly string[] => (existsSync(path) ? readdirSync(path) : []);
  return new Map([
    ['mounts', lines(readFileSync('/proc/self/mounts', 'utf8')).filter((line) => line.includes(directory))],
    ['cgroups', output('find', '/sys/fs/cgroup', '-path', `*${CGROUPS}/*`, '-type', 'd')],
    ['namespaces', below('/run/netns').filter((name) => seen.has(name.slice('tsb-'.length)))],
    ['interfaces', below('/sys/class/net').filter((name) => name.startsWith('tsv'))],
    ['processes', processes()],
    ['containers', containerIDs()],
    ['names', below(join(root, 'containers/names'))],
    ['half made', ['creating', 'removing'].flatMap((name) => below(join(root, 'containers', name)))],
    ['attachments', below(join(root, 'networks/attached'))],
  ]);
}

/** Processes that see our state root: monitors by what they have open, containers by their mounts. */
function processes(): readonly string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => {
      try {
        if (/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))) return false;
        return readFileSync(`/proc/${pid}/mountinfo`, 'latin1').includes(root) || monitorsOf(pid);
      } catch {
        return false;
      }
    });
}

function monitorsOf(pid: string): boolean {
  const words = readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0');
  return words[1] === 'monitor' && words[2]?.startsWith(PREFIX) === true;
}

function leftSince(before: ReadonlyMap<string, readonly string[]>): readonly string[] {
  return [...inventory()].flatMap(([kind, now]) => {
    const had = new Set(before.get(kind));
    const more = now.filter((each) => !had.has(each));
    return more.length === 0 ? [] : [`${kind}: ${more.slice(0, 5).join(', ')}${more.length > 5 ? ' …' : ''}`];
  });
}

async function atATime(count: number, width: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) await work(index);
  };
  await Promise.all(Array.from({ length: Math.min(width, count) }, worker));
}

async function soakContainers(count: number, width: number): Promise<void> {
  const started = Date.now();
  let failures = 0;
  await atATime(count, width, async (index) => {
    try {
      await liveOnce(index);
    } catch (error) {
      failures += 1;
      process.exitCode = 1;
      if (failures <= 10) console.log(error instanceof Error ? error.message : error);
    }
    if (index % 100 === 99)
      console.log(`${index + 1} containers, ${((Date.now() - started) / 1000).toFixed(0)} s`);
  });
  console.log(`${failures} of ${count} failed`);
}

async function liveOnce(index: number): Promise<void> {
  const name = `${PREFIX}${index}`;
  if (index % 3 === 0) await tsbuild('run', '--rm', '--name', name, ...OURS, 'busybox', 'true');
  else {
    await tsbuild(
      'run',
      '-d',
      '--name',
      name,
      ...(index % 3 === 1 ? ['--network', 'none'] : []),
      ...OURS,
      'busybox',
      'sleep',
      '1000',
    );
    await tsbuild('rm', '-f', name);
  }
}

/** Commands of all kinds, each killed at a random point, or the monitor of a random container. */
async function soakKills(count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) {
    const name = `${PREFIX}${index}`;
    const kinds: readonly (readonly string[])[] = [
      ['run', '--rm', '--name', name, ...OURS, 'busybox', 'sh', '-c', 'sleep 0.3'],
      ['run', '-d', '--name', name, ...OURS, 'busybox', 'sleep', '1000'],
      ['run', '-d', '--rm', '--name', name, '--network', 'none', ...OURS, 'busybox', 'sleep', '0.2'],
      ['create', '--name', name, ...OURS, 'busybox', 'true'],
      ['rm', '-f', `${PREFIX}${index - 1}`],
      ['stop', '-t', '0', `${PREFIX}${index - 1}`],
      ['start', `${PREFIX}${index - 1}`],
    ];
    const { child, ended } = begin(kinds[index % kinds.length] ?? []);
    await sleep(Math.random() * 600);
    if (index % 4 === 3) killMonitor();
    child.kill('SIGKILL');
    await ended;
    if (index % 20 === 19) console.log(`${index + 1} kills`);
  }
  await tsbuild('system', 'check');
  const left = (await tsbuild('ps', '-aq')).split('\n').filter((id) => id !== '');
  for (const id of left) await tsbuild('rm', '-f', id);
}

function killMonitor(): void {
  for (const pid of processes()) {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0');
    if (words[1] === 'monitor') {
      process.kill(Number(pid), 'SIGKILL');
      return;
    }
  }
}

async function measureMemory(count: number): Promise<void> {
  const names = Array.from({ length: count }, (_, index) => `${PREFIX}${index}`);
  await atATime(count, 4, async (index) => {
    await tsbuild(
      'run',
      '-d',
      '--name',
      names[index] ?? '',
      '--network',
      'none',
      'busybox',
      'sleep',
      '100000',
    );
  });
  let rss = 0;
  let pss = 0;
  let monitors = 0;
  for (const pid of processes()) {
    if (!monitorsOf(pid)) continue;
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
    rss += Number(/^Rss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0);
    pss += Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0);
    monitors += 1;
  }
  console.log(
    `${monitors} monitors: Rss ${(rss / 1024).toFixed(1)} MiB, Pss ${(pss / 1024).toFixed(1)} MiB in all`,
  );
  if (rss > 100 * 1024 || monitors !== count) process.exitCode = 1;
  await atATime(count, 4, async (index) => {
    await tsbuild('rm', '-f', names[index] ?? '');
  });
}

const [what = 'containers', first, second] = process.argv.slice(2);
try {
  await importBusybox();
  await tsbuild('run', '--rm', ...OURS, 'busybox', 'true');
  const before = inventory();
  if (what === 'kill') await soakKills(Number(first ?? 200));
  else if (what === 'memory') await measureMemory(Number(first ?? 100));
  else await soakContainers(Number(first ?? 1000), Number(second ?? 50));
  await sleep(1000);
  const left = leftSince(before);
  for (const line of left) console.log(`left: ${line}`);
  console.log(left.length === 0 ? 'nothing is left' : 'something is left');
  if (left.length > 0) process.exitCode = 1;
} finally {
  // A parent that was asked for by name stays; this one was asked for by us.
  for (const parent of readdirSync('/sys/fs/cgroup'))
    if (existsSync(join('/sys/fs/cgroup', parent, CGROUPS)))
      rmdirSync(join('/sys/fs/cgroup', parent, CGROUPS));
  rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
}
