/** Whole commands, timed, with the peak memory of all their processes together. */
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { stopped } from '../stopped.ts';

export interface Run {
  readonly ms: number;
  /** Resident, of the command and its descendants at one moment; pages that they share count several times. */
  readonly peakMiB: number;
}

export interface TimedOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Called with what it prints, and when. */
  readonly heard?: (line: string, ms: number) => void;
}

const SAMPLE_MS = 25;

/** Throws with the end of what the command wrote to standard error where it fails. */
export async function timed(command: readonly string[], options: TimedOptions = {}): Promise<Run> {
  const [program = '', ...args] = command;
  const started = performance.now();
  const { heard, ...surroundings } = options;
  stopped.throwIfAborted();
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    signal: stopped,
    ...surroundings,
  });
  let complaint = '';
  child.stderr.on('data', (data: Buffer) => (complaint = (complaint + data.toString()).slice(-2000)));
  for (const stream of [child.stdout, child.stderr])
    createInterface(stream).on('line', (line) => heard?.(line, performance.now() - started));
  let peak = 0;
  const sampler = setInterval(() => (peak = Math.max(peak, residentOf(child.pid ?? 0))), SAMPLE_MS);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  }).finally(() => clearInterval(sampler));
  const ms = performance.now() - started;
  if (code !== 0) throw new Error(`${command.join(' ')}: ${complaint}`);
  return { ms, peakMiB: peak };
}

function residentOf(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const kib = Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0);
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
    return kib / 1024 + children.reduce((sum, child) => sum + residentOf(Number(child)), 0);
  } catch {
    return 0;
  }
}

/** Makes the next read come from the disk. */
export function dropCaches(): void {
  writeFileSync('/proc/sys/vm/drop_caches', '3');
}

export type Results = Map<string, Run[]>;

export function note(results: Results, name: string, run: Run): void {
  results.set(name, [...(results.get(name) ?? []), run]);
}

/** A table in Markdown; `ours` names what the ratios are of. */
export function tableOf(results: Results, ratios: readonly (readonly [string, string])[]): string {
  const lines = ['| what | median ms | min | max | peak MiB |', '| --- | --- | --- | --- | --- |'];
  for (const [name, runs] of results) {
    const times = runs.map(({ ms }) => ms).sort((a, b) => a - b);
    const peak = Math.max(...runs.map(({ peakMiB }) => peakMiB));
    lines.push(
      `| ${name} | ${medianOf(results, name).toFixed(0)} | ${times.at(0)?.toFixed(0) ?? ''} | ${times.at(-1)?.toFixed(0) ?? ''} | ${peak.toFixed(0)} |`,
    );
  }
  for (const [ours, theirs] of ratios)
    if (results.has(ours) && results.has(theirs))
      lines.push(`${ours} / ${theirs}: ${(medianOf(results, ours) / medianOf(results, theirs)).toFixed(3)}`);
  return lines.join('\n');
}

function medianOf(results: Results, name: string): number {
  const times = (results.get(name) ?? []).map(({ ms }) => ms).sort((a, b) => a - b);
  return ((times[(times.length - 1) >> 1] ?? 0) + (times[times.length >> 1] ?? 0)) / 2;
}
