/**
 * containers' registries.conf, version 2: prefixes, locations, mirrors, blocked registries.
 *
 * Short names stay docker's (`busybox` is docker.io/library/busybox): `unqualified-search-registries` and aliases
 * would make one Dockerfile mean different things on different machines.
 *
 * Source: containers-registries.conf(5).
 */
import { dirname, join } from 'node:path';
import { parseLocation, type MirrorRule, type RegistryRule } from '../rules.ts';
import { booleanIn, invalid, namesOf, readToml, tablesIn, textIn, type Table } from './files.ts';

/** The file and the fragments in its `.d` directory; a later fragment's rule replaces an earlier one. */
export async function readRegistriesConf(path: string): Promise<readonly RegistryRule[]> {
  const directory = `${path}.d`;
  const paths = [
    path,
    ...namesOf(directory)
      .filter((name) => name.endsWith('.conf'))
      .map((name) => join(directory, name)),
  ];
  const rules = new Map<string, RegistryRule>();
  for (const each of paths) {
    const table = await readToml(each);
    if (table === undefined) continue;
    for (const entry of tablesIn(table, 'registry', each)) {
      const rule = parseRegistry(entry, each, dirname(path));
      rules.set(rule.prefix, rule);
    }
  }
  return [...rules.values()];
}

function parseRegistry(entry: Table, path: string, origin: string): RegistryRule {
  const location = textIn(entry, 'location', path) ?? '';
  const prefix = textIn(entry, 'prefix', path) ?? location;
  if (prefix === '') throw invalid(path, 'a [[registry]] has neither prefix nor location');
  const isInsecure = booleanIn(entry, 'insecure', path);
  const isBlocked = booleanIn(entry, 'blocked', path);
  const byDigest = booleanIn(entry, 'mirror-by-digest-only', path) === true;
  return {
    origin,
    prefix,
    mirrors: tablesIn(entry, 'mirror', path).map((mirror) => parseMirror(mirror, byDigest, path)),
    ...(location === '' || location === prefix ? {} : { location: placeOf(location, path) }),
    ...(isInsecure === undefined ? {} : { isInsecure }),
    ...(isBlocked === undefined ? {} : { isBlocked }),
  };
}

function placeOf(location: string, path: string): MirrorRule {
  const place = parseLocation(location);
  if (place === undefined) throw invalid(path, `${JSON.stringify(location)} is no location`);
  return { ...place, sendsNamespace: false };
}

function parseMirror(entry: Table, byDigest: boolean, path: string): MirrorRule {
  const pulls = textIn(entry, 'pull-from-mirror', path) ?? (byDigest ? 'digest-only' : 'all');
  if (pulls !== 'all' && pulls !== 'digest-only' && pulls !== 'tag-only')
    throw invalid(path, `pull-from-mirror is ${JSON.stringify(pulls)}`, 'write all, digest-only or tag-only');
  const isInsecure = booleanIn(entry, 'insecure', path);
  return {
    ...placeOf(textIn(entry, 'location', path) ?? '', path),
    pulls,
    ...(isInsecure === undefined ? {} : { isInsecure }),
  };
}
