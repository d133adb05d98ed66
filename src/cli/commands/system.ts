/** `tsbuild system check|df|prune`. */
import { TsbuildError } from '../../base/errors.ts';
import { checkStore, diskUsage, prune } from '../../engine/system.ts';
import type { ParsedFlags } from '../flags.ts';
import { formatList, type ListView } from '../format/rows.ts';
import type { Session } from '../session.ts';
import { decimalSize } from '../views/words.ts';

const USAGE_LIST: ListView = {
  headings: { Type: 'TYPE', Size: 'SIZE' },
  table: '{{.Type}}\t{{.Size}}',
};

export async function runSystem(flags: ParsedFlags, session: Session): Promise<number> {
  const [action = ''] = flags.words;
  const engine = session.engine();
  const { stdout } = session;
  const isJson = flags.text('format') === 'json';
  if (action === 'check') {
    const report = await checkStore(engine);
    if (isJson) stdout.write(`${JSON.stringify(report)}\n`);
    else {
      const { blobs, layers, images, snapshots, containers } = report.checked;
      for (const sentence of report.repaired) stdout.write(`repaired: ${sentence}\n`);
      for (const sentence of report.damage) stdout.write(`damage: ${sentence}\n`);
      stdout.write(
        `checked ${blobs} blobs, ${layers} layers, ${images} images, ${snapshots} snapshots, ${containers} containers: ${report.damage.length === 0 ? 'no damage' : `${report.damage.length} damaged`}\n`,
      );
    }
    return report.damage.length === 0 ? 0 : 1;
  }
  if (action === 'df') {
    const rows = diskUsage(engine).map(({ type, size }) => ({ Type: type, Size: decimalSize(size) }));
    stdout.write(formatList(USAGE_LIST, rows, { format: flags.text('format') }));
    return 0;
  }
  if (action === 'prune') {
    const { freed } = await prune(engine, { all: flags.boolean('all') });
    stdout.write(
      isJson ? `${JSON.stringify({ freed })}\n` : `Total reclaimed space: ${decimalSize(freed)}\n`,
    );
    return 0;
  }
  throw new TsbuildError('USAGE', `unknown action ${JSON.stringify(action)} of "tsbuild system"`, {
    hint: 'use check, df or prune',
  });
}
