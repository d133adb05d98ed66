/** What removes a lot asks whoever sits at a terminal first. */
import type { ParsedFlags } from '../flags.ts';
import type { Session } from '../session.ts';

/** Whether to go on: always with --force, and where nobody can be asked. Throws ABORTED where the user gives up. */
export async function isMeant(
  flags: ParsedFlags,
  session: Session,
  whats: readonly string[],
): Promise<boolean> {
  if (flags.boolean('force') || !session.stdin.isTTY) return true;
  const { askTerminal } = await import('./ask-terminal.ts');
  session.stderr.write(`WARNING! This will remove:\n${whats.map((what) => `  - ${what}\n`).join('')}\n`);
  const answer = await askTerminal(session, 'Are you sure you want to continue? [y/N] ', false);
  return /^y(?:es)?$/i.test(answer.trim());
}
