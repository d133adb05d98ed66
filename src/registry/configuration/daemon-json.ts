/** docker's daemon.json: mirrors of Docker Hub, and registries without checked TLS. */
import { parseLocation, type RegistryRule } from '../rules.ts';
import { invalid, readJson, textsIn } from './files.ts';

export interface DaemonRules {
  readonly rules: readonly RegistryRule[];
  /** Hosts and ranges. */
  readonly insecure: readonly string[];
}

export function readDaemonJson(path: string): DaemonRules {
  const table = readJson(path);
  if (table === undefined) return { rules: [], insecure: [] };
  const mirrors = textsIn(table, 'registry-mirrors', path).map((url) => {
    const place = parseLocation(url);
    if (place === undefined) throw invalid(path, `${JSON.stringify(url)} is no URL of a mirror`);
    return place;
  });
  return {
    rules: mirrors.length === 0 ? [] : [{ origin: path, prefix: 'docker.io', mirrors }],
    insecure: textsIn(table, 'insecure-registries', path),
  };
}
