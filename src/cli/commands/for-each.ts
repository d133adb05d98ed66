/** Commands that take several names: what fails for one is told, and the others are done. */
import { renderError } from '../render/error.ts';
import type { Session } from '../session.ts';

/** Exit code 1 where `act` failed for any; one name alone fails as the command itself does. */
export async function forEach(
  names: readonly string[],
  session: Session,
  act: (name: string) => Promise<void> | void,
): Promise<number> {
  if (names.length === 1) {
    await act(names[0] ?? '');
    return 0;
  }
  let code = 0;
  for (const name of names)
    try {
      await act(name);
    } catch (error) {
      if (session.signal.aborted) throw error;
      session.stderr.write(renderError(error, { color: session.stderr.isTTY, debug: false }));
      code = 1;
    }
  return code;
}
