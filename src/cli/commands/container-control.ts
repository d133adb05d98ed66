/** `tsbuild top`, `update`. */
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { TsbuildError } from '../../base/errors.ts';
import { containerPids, PROCESS_COLUMNS, processRows } from '../../engine/containers/processes.ts';
import { updateContainer } from '../../engine/containers/update.ts';
import type { ParsedFlags } from '../flags.ts';
import { tabulate } from '../format/rows.ts';
import type { Session } from '../session.ts';
import { forEach } from './for-each.ts';
import { parseRestart } from './run-flags/life.ts';
import { parseLimits } from './run-flags/limits.ts';

/** With options of its own, it is the host's ps(1) that answers, as docker does it. */
export async function runTop(flags: ParsedFlags, session: Session): Promise<number> {
  const [reference = '', ...options] = flags.words;
  const pids = containerPids(session.engine().containers.require(reference));
  if (options.length === 0) {
    const rows = [PROCESS_COLUMNS, ...processRows(pids, session.host.now())];
    session.stdout.write(tabulate(rows.map((row) => row.join('\t'))));
    return 0;
  }
  const lines = (await hostPs(options)).split('\n');
  const column = (lines[0] ?? '').trim().split(/\s+/).indexOf('PID');
  if (column < 0)
    throw new TsbuildError('USAGE', "couldn't find PID field in ps output", {
      hint: 'let ps show PID, e.g. -o pid,args',
    });
  const shown = lines.filter(
    (line, at) => at === 0 || pids.includes(Number(line.trim().split(/\s+/)[column])),
  );
  session.stdout.write(`${shown.join('\n')}\n`);
  return 0;
}

async function hostPs(options: readonly string[]): Promise<string> {
  const child = spawn('ps', [...options], { stdio: ['ignore', 'pipe', 'pipe'] });
  let [output, complaint] = ['', ''];
  child.stdout.on('data', (data: Buffer) => (output += data.toString()));
  child.stderr.on('data', (data: Buffer) => (complaint += data.toString()));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', (error) =>
      reject(
        new TsbuildError('IO_FAILED', `cannot run ps(1): ${error.message}`, {
          hint: 'leave its options out',
        }),
      ),
    );
    child.once('close', resolve);
  });
  if (code !== 0) throw new TsbuildError('USAGE', `ps: ${complaint.trim()}`);
  return output;
}

export async function runUpdate(flags: ParsedFlags, session: Session): Promise<number> {
  const engine = session.engine();
  const limits = parseLimits(flags, availableParallelism());
  const restart = flags.has('restart') ? parseRestart(flags.text('restart')) : undefined;
  if (restart === undefined && Object.keys(limits).length === 0)
    throw new TsbuildError('USAGE', 'you must provide one or more flags when using this command', {
      hint: 'see "tsbuild update --help"',
    });
  return forEach(flags.words, session, async (name) => {
    await updateContainer(engine, engine.containers.require(name), limits, restart);
    session.stdout.write(`${name}\n`);
  });
}
