/** Questions to whoever sits at the terminal. */
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { TsbuildError } from '../../base/errors.ts';
import type { Session } from '../session.ts';

/**
 * One line, without its end; a secret is not shown while it is typed. Throws ABORTED where the user gives up
 * (Ctrl-C, Ctrl-D). The question goes to standard error: the output is for results.
 */
export function askTerminal(
  { stdin, stderr, signal }: Session,
  question: string,
  isSecret: boolean,
): Promise<string> {
  const unseen = new Writable({ write: (_chunk, _encoding, done) => done() });
  // why: readline echoes by itself, as it turns off the terminal's own echo; so nowhere is where it goes.
  const lines = createInterface({ input: stdin, output: isSecret ? unseen : stderr, terminal: true });
  return new Promise((resolve, reject) => {
    const giveUp = (): void => {
      stderr.write('\n');
      reject(new TsbuildError('ABORTED', 'nothing was entered'));
    };
    lines.once('close', giveUp);
    lines.once('SIGINT', () => lines.close());
    signal.addEventListener('abort', () => lines.close(), { once: true });
    if (isSecret) stderr.write(question);
    lines.question(isSecret ? '' : question, (answer) => {
      lines.off('close', giveUp);
      lines.close();
      if (isSecret) stderr.write('\n');
      resolve(answer);
    });
  });
}
