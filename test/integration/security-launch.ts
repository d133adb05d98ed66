/** The launcher as an attacker of its environment would have it started: extra descriptors, another identity. */
import { execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import { locateNative } from '../../native/locate.ts';
import { encodePlan } from '../../native/plan.ts';
import type { PlanOp } from '../../native/plan-ops.ts';
import { layOut, layOutExec } from '../../src/runtime/layout.ts';
import type { ContainerSpec, ExecSpec } from '../../src/runtime/runtime.ts';
import type { Sandbox } from './runtime-fixture.ts';

export interface Launched {
  readonly stdout: string;
  /** Whether the program was started at all. */
  readonly started: boolean;
}

/** Runs `tsbuild-launch run` below `wrapper`, with `descriptors` inherited from 5 on. */
export async function launchDirectly(
  box: Sandbox,
  spec: ContainerSpec | ExecSpec,
  options: {
    readonly wrapper?: readonly string[];
    readonly descriptors?: readonly number[];
    /** The plan that TypeScript made, changed as somebody would who gets at it. */
    readonly change?: (ops: readonly PlanOp[]) => readonly PlanOp[];
  } = {},
): Promise<Launched> {
  const ops = 'target' in spec ? layOutExec(spec, box.machine) : layOut(spec, box.machine);
  const child = spawn('env', [...(options.wrapper ?? []), locateNative('tsbuild-launch'), 'run'], {
    stdio: ['ignore', 'pipe', 'inherit', 'pipe', 'pipe', ...(options.descriptors ?? [])],
  });
  const [, out, , plan, status] = child.stdio;
  const output: Buffer[] = [];
  const frames: Buffer[] = [];
  out?.on('data', (data: Buffer) => void output.push(data));
  status?.on('data', (data: Buffer) => void frames.push(data));
  if (plan !== null && plan !== undefined && 'end' in plan) {
    plan.on('error', () => undefined);
    plan.end(encodePlan(options.change?.(ops) ?? ops));
  }
  await new Promise((resolve) => child.once('close', resolve));
  const STARTED = 10;
  const first = Buffer.concat(frames);
  return {
    stdout: Buffer.concat(output).toString(),
    started: first.byteLength >= 8 && first.readUInt32LE(4) === STARTED,
  };
}

/** A static C program in the root, at `/bin/<name>`. */
export function compileInto(root: string, name: string, source: string): void {
  execFileSync('gcc', ['-static', '-O1', '-D_GNU_SOURCE', '-x', 'c', '-o', join(root, 'bin', name), '-'], {
    input: source,
  });
}
