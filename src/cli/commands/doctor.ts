/** `tsbuild doctor`. */
import { arch, release } from 'node:os';
import { examineMachine, type Finding } from '../../engine/doctor.ts';
import type { ParsedFlags } from '../flags.ts';
import type { Session } from '../session.ts';

const MARKS: Readonly<Record<Finding['state'], string>> = {
  ok: 'ok',
  limited: 'limited',
  missing: 'MISSING',
};

/** 1 where something is missing without which nothing works. */
export async function runDoctor(flags: ParsedFlags, session: Session): Promise<number> {
  const { root, host, env, stdout } = session;
  const findings = await examineMachine({
    ...{ root, host, uid: process.getuid?.() ?? -1, kernel: release(), architecture: arch() },
    path: (env['PATH'] ?? '').split(':').filter((directory) => directory.startsWith('/')),
  });
  if (flags.text('format') === 'json') stdout.write(`${JSON.stringify({ findings })}\n`);
  else
    for (const { subject, state, detail, hint } of findings) {
      stdout.write(`${MARKS[state].padEnd(8)} ${subject.padEnd(16)} ${detail}\n`);
      if (hint !== undefined) stdout.write(`${' '.repeat(26)}hint: ${hint}\n`);
    }
  return findings.some(({ state }) => state === 'missing') ? 1 : 0;
}
