/** Commands that take several names: what fails for one is told, and the others are done. */
import { isTsbuildError } from '../../base/errors.ts';
import { formatInspected } from '../format/inspected.ts';
import type { Value } from '../format/values.ts';
import { renderError } from '../render/error.ts';
import type { Session } from '../session.ts';

/** `inspect`: prints what is found, also where nothing is; exit code 1 where a name is wrong. */
export async function inspectEach(
  names: readonly string[],
  session: Session,
  format: string | undefined,
  find: (name: string) => Promise<Value> | Value,
): Promise<number> {
  const found: Value[] = [];
  const wrong: unknown[] = [];
  for (const name of names)
    try {
      found.push(await find(name));
    } catch (error) {
      if (!isTsbuildError(error)) throw error;
      wrong.push(error);
    }
  if (found.length > 0 || format === undefined) session.stdout.write(formatInspected(found, format));
  for (const error of wrong)
    session.stderr.write(renderError(error, { color: session.stderr.isTTY, debug: false }));
  return wrong.length > 0 ? 1 : 0;
}

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
