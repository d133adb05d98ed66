/** Which renderer a command uses. */
import { TsbuildError } from '../../base/errors.ts';
import type { ParsedFlags } from '../flags.ts';
import type { Session } from '../session.ts';
import { createPlainRenderer, type Renderer } from './plain.ts';
import { createTtyRenderer } from './tty.ts';

const MODES = ['auto', 'plain', 'tty', 'json', 'rawjson', 'quiet'];

/** `heard` is told of all that a renderer for files writes. Throws USAGE. */
export function createRenderer(
  flags: ParsedFlags,
  session: Session,
  heard: (text: string) => void = () => undefined,
): Renderer {
  const { env, host } = session;
  const mode = flags.boolean('quiet')
    ? 'quiet'
    : (flags.text('progress') ?? env['BUILDKIT_PROGRESS'] ?? 'auto');
  if (!MODES.includes(mode))
    throw new TsbuildError('USAGE', `invalid --progress ${JSON.stringify(mode)}`, {
      hint: `use one of ${MODES.join(', ')}`,
    });
  if (mode === 'quiet') return { emit: () => undefined, end: () => undefined };
  const { stderr } = session;
  const write = (text: string): void => void stderr.write(text);
  if (mode === 'json' || mode === 'rawjson') return createJsonRenderer(write);
  if (mode === 'tty' || (mode === 'auto' && stderr.isTTY && env['TERM'] !== 'dumb'))
    return createTtyRenderer({
      write,
      columns: () => stderr.columns,
      rows: () => stderr.rows,
      now: () => host.now(),
    });
  return createPlainRenderer((text) => {
    write(text);
    heard(text);
  });
}

/** One event a line; bytes in base64. */
function createJsonRenderer(write: (text: string) => void): Renderer {
  return {
    emit: (event) =>
      write(
        `${JSON.stringify(event.kind === 'log' ? { ...event, data: Buffer.from(event.data).toString('base64') } : event)}\n`,
      ),
    end: () => undefined,
  };
}
