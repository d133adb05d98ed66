/** `tsbuild system df`. */
import { TsbuildError } from '../../base/errors.ts';
import { readUsage } from '../../engine/gc/usage.ts';
import type { ParsedFlags } from '../flags.ts';
import { formatList } from '../format/rows.ts';
import type { Session } from '../session.ts';
import { USAGE_LIST, usageRows, usageSections } from '../views/usage.ts';

export async function runDiskUsage(flags: ParsedFlags, session: Session): Promise<number> {
  const { stdout, host } = session;
  const format = flags.text('format');
  if (!flags.boolean('verbose')) {
    const report = readUsage(session.engine());
    stdout.write(formatList(USAGE_LIST, usageRows(report), { format }));
    return Promise.resolve(0);
  }
  if (format !== undefined && format !== 'json')
    throw new TsbuildError('USAGE', '--verbose has a table for each kind of thing, so it takes no template', {
      hint: 'use --format json, or leave one of the two out',
    });
  const sections = usageSections(readUsage(session.engine()), host.now());
  for (const { title, view, rows } of sections)
    stdout.write(
      format === 'json'
        ? formatList(view, rows, { format })
        : `${title}\n\n${formatList(view, rows, { format })}\n`,
    );
  return 0;
}
