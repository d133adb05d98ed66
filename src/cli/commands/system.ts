/** `tsbuild system check`. */
import { checkStore } from '../../engine/system.ts';
import type { ParsedFlags } from '../flags.ts';
import type { Session } from '../session.ts';

export async function runSystemCheck(flags: ParsedFlags, session: Session): Promise<number> {
  const { stdout } = session;
  const report = await checkStore(session.engine());
  if (flags.text('format') === 'json') stdout.write(`${JSON.stringify(report)}\n`);
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
