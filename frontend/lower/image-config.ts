/** The image config's `config` as other builders write it: their order of fields, sorted sets, nothing empty. */
import type { RunConfig } from '../../src/oci/documents.ts';

const ORDER = [
  ...['User', 'ExposedPorts', 'Env', 'Entrypoint', 'Cmd', 'Volumes', 'WorkingDir', 'Labels', 'StopSignal'],
  ...['ArgsEscaped', 'Healthcheck', 'OnBuild', 'Shell'],
];
const SETS = new Set(['ExposedPorts', 'Volumes', 'Labels']);

export function orderedConfig(config: RunConfig): RunConfig {
  const fields = Object.entries(config)
    .filter(([, value]) => !isEmpty(value))
    .map(
      ([name, value]: [string, unknown]) =>
        [name, SETS.has(name) ? sortKeys(value as object) : value] as const,
    )
    .sort(([a], [b]) => rank(a) - rank(b));
  return Object.fromEntries(fields);
}

function rank(name: string): number {
  const at = ORDER.indexOf(name);
  return at < 0 ? ORDER.length : at;
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === '' || value === false) return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}

function sortKeys(record: object): object {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
}
