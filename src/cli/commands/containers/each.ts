/** One thing done to each container that was named: what works is printed, what fails is told, and the rest goes on. */
import { isTsbuildError } from '../../../base/errors.ts';
import { renderError } from '../../render/error.ts';
import type { Session } from '../../session.ts';

/** The exit code: 1 where any of them failed. `action` resolves with what is printed; '' is nothing. */
export async function forEachContainer(
  session: Session,
  references: readonly string[],
  action: (reference: string) => Promise<string>,
): Promise<number> {
  let code = 0;
  for (const reference of references)
    try {
      const printed = await action(reference);
      if (printed !== '') session.stdout.write(`${printed}\n`);
    } catch (error) {
      if (!isTsbuildError(error) || references.length === 1) throw error;
      const color = session.stderr.isTTY && session.env['NO_COLOR'] === undefined;
      session.stderr.write(renderError(error, { color }));
      code = 1;
    }
  return code;
}
