/**
 * containerd's certs.d/HOST/hosts.toml: hosts in their order, then the server.
 *
 * Source: containerd, docs/hosts.md.
 */
import { join } from 'node:path';
import { parseLocation, type MirrorRule, type RegistryRule } from '../rules.ts';
import {
  besides,
  booleanIn,
  invalid,
  isTable,
  namesOf,
  readToml,
  textIn,
  textsIn,
  type Table,
} from './files.ts';

/** Every `HOST/hosts.toml` below a directory; `_default` counts for the others. */
export async function readHostsToml(directory: string): Promise<readonly RegistryRule[]> {
  const rules: RegistryRule[] = [];
  for (const name of namesOf(directory)) {
    const path = join(directory, name, 'hosts.toml');
    const table = await readToml(path);
    if (table === undefined) continue;
    rules.push(parseHosts(table, registryOf(name), join(directory, name), path, directory));
  }
  return rules;
}

/** `host_5000_` is how a port is written where a colon may not stand in a name. */
function registryOf(name: string): string {
  return name === '_default' ? '*' : name.replace(/_(\d+)_$/, ':$1');
}

function parseHosts(
  table: Table,
  prefix: string,
  directory: string,
  path: string,
  origin: string,
): RegistryRule {
  const server = textIn(table, 'server', path);
  const own = commonOf(table, directory, path);
  const location = server === undefined ? undefined : placeOf(server, table, path);
  const hosts = table['host'] ?? {};
  if (!isTable(hosts)) throw invalid(path, 'host is no table');
  const mirrors = Object.entries(hosts).flatMap(([url, value]) => {
    if (!isTable(value)) throw invalid(path, `host ${JSON.stringify(url)} is no table`);
    return parseHost(url, value, directory, path) ?? [];
  });
  const isOther = location !== undefined && location.authority !== prefix;
  return {
    origin,
    prefix,
    mirrors,
    ...(isOther && prefix !== '*' ? { location } : {}),
    ...own,
  };
}

function parseHost(url: string, table: Table, directory: string, path: string): MirrorRule | undefined {
  const capabilities = textsIn(table, 'capabilities', path);
  const can = (what: string): boolean => capabilities.length === 0 || capabilities.includes(what);
  if (!can('pull')) return undefined;
  return {
    ...placeOf(url, table, path),
    ...commonOf(table, directory, path),
    // A host that may not resolve serves what is asked for by digest.
    pulls: can('resolve') ? 'all' : 'digest-only',
    headers: headersOf(table, path),
  };
}

function placeOf(url: string, table: Table, path: string): MirrorRule {
  const place = parseLocation(url);
  if (place === undefined) throw invalid(path, `${JSON.stringify(url)} is no URL of a host`);
  const overrides = booleanIn(table, 'override_path', path) === true;
  const root = place.path === '' ? '' : `/${place.path}`;
  return {
    ...place,
    path: '',
    // why: `https://host/v2/` and `https://host` mean the same root unless override_path says otherwise.
    apiPath: overrides ? root : /(^|\/)v2$/.test(root) ? root : `${root}/v2`,
  };
}

function commonOf(
  table: Table,
  directory: string,
  path: string,
): Pick<MirrorRule, 'isInsecure' | 'authorities' | 'clientCertificate'> {
  const skip = booleanIn(table, 'skip_verify', path);
  const authorities = textsIn(table, 'ca', path).map((each) => besides(directory, each));
  const client: unknown = table['client'];
  const pair: readonly unknown[] = Array.isArray(client) ? (client.flat(1) as readonly unknown[]) : [client];
  const [cert, key = cert] = pair;
  return {
    ...(skip === undefined ? {} : { isInsecure: skip }),
    ...(authorities.length === 0 ? {} : { authorities }),
    ...(typeof cert === 'string' && typeof key === 'string'
      ? { clientCertificate: { cert: besides(directory, cert), key: besides(directory, key) } }
      : {}),
  };
}

function headersOf(table: Table, path: string): Readonly<Record<string, string>> {
  const headers = table['header'] ?? {};
  if (!isTable(headers)) throw invalid(path, 'header is no table');
  return Object.fromEntries(
    Object.keys(headers).map((name) => [name.toLowerCase(), textsIn(headers, name, path).join(', ')]),
  );
}
