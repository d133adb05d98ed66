/**
 * tsbuild's own registries.json. Members of `registries` are prefixes:
 *
 *   { "registries": { "docker.io": { "mirrors": ["mirror.example:5000/hub"], "fallback": false },
 *                     "r.example:5000": { "insecure": true, "ca": "r.pem", "client": { "cert": "c.pem", "key": "k.pem" },
 *                                         "chunkSize": 8388608, "blocked": false, "location": "r2.example/x" } } }
 *
 * A mirror is text, or `{ "location": …, "pull": "all" | "digest-only" | "tag-only", "insecure": … }`. Paths count
 * from the file's directory.
 */
import { dirname } from 'node:path';
import {
  isPrefix,
  parseLocation,
  type ClientCertificate,
  type MirrorRule,
  type RegistryRule,
} from '../rules.ts';
import { besides, booleanIn, invalid, isTable, readJson, textIn, textsIn, type Table } from './files.ts';

const MEMBERS = [
  'mirrors',
  'fallback',
  'insecure',
  'ca',
  'client',
  'chunkSize',
  'blocked',
  'location',
] as const;

export function readOwnFile(path: string): readonly RegistryRule[] {
  const table = readJson(path);
  if (table === undefined) return [];
  const registries = table['registries'] ?? {};
  if (!isTable(registries)) throw invalid(path, 'registries is no object');
  return Object.entries(registries).map(([prefix, entry]) => {
    if (!isPrefix(prefix)) throw invalid(path, `${JSON.stringify(prefix)} names no registry`);
    if (!isTable(entry)) throw invalid(path, `${JSON.stringify(prefix)} is no object`);
    const unknown = Object.keys(entry).find((key) => !(MEMBERS as readonly string[]).includes(key));
    if (unknown !== undefined)
      throw invalid(
        path,
        `${JSON.stringify(prefix)} has the unknown member ${JSON.stringify(unknown)}`,
        `use ${MEMBERS.join(', ')}`,
      );
    return parseEntry(prefix, entry, path);
  });
}

function parseEntry(prefix: string, entry: Table, path: string): RegistryRule {
  const location = textIn(entry, 'location', path);
  const isInsecure = booleanIn(entry, 'insecure', path);
  const isBlocked = booleanIn(entry, 'blocked', path);
  const fallsBack = booleanIn(entry, 'fallback', path);
  const { chunkSize } = entry;
  if (chunkSize !== undefined && !(typeof chunkSize === 'number' && chunkSize > 0))
    throw invalid(path, 'chunkSize is no number of bytes');
  const authorities = textsIn(entry, 'ca', path).map((each) => besides(dirname(path), each));
  const clientCertificate = clientOf(entry, path);
  return {
    origin: path,
    prefix,
    mirrors: mirrorsOf(entry, path),
    ...(location === undefined ? {} : { location: { ...placeOf(location, path), sendsNamespace: false } }),
    ...(isInsecure === undefined ? {} : { isInsecure }),
    ...(isBlocked === undefined ? {} : { isBlocked }),
    ...(fallsBack === undefined ? {} : { fallsBack }),
    ...(chunkSize === undefined ? {} : { chunkSize }),
    ...(authorities.length === 0 ? {} : { authorities }),
    ...(clientCertificate === undefined ? {} : { clientCertificate }),
  };
}

function mirrorsOf(entry: Table, path: string): readonly MirrorRule[] {
  const list = entry['mirrors'] ?? [];
  if (!Array.isArray(list)) throw invalid(path, 'mirrors is no list');
  return (list as readonly unknown[]).map((each) => {
    if (typeof each === 'string') return placeOf(each, path);
    if (!isTable(each)) throw invalid(path, 'a mirror is neither text nor an object');
    const pulls = textIn(each, 'pull', path) ?? 'all';
    if (pulls !== 'all' && pulls !== 'digest-only' && pulls !== 'tag-only')
      throw invalid(path, `pull is ${JSON.stringify(pulls)}`, 'write all, digest-only or tag-only');
    const isInsecure = booleanIn(each, 'insecure', path);
    return {
      ...placeOf(textIn(each, 'location', path) ?? '', path),
      pulls,
      ...(isInsecure === undefined ? {} : { isInsecure }),
    };
  });
}

function placeOf(text: string, path: string): MirrorRule {
  const place = parseLocation(text);
  if (place === undefined) throw invalid(path, `${JSON.stringify(text)} is no location`);
  return place;
}

function clientOf(entry: Table, path: string): ClientCertificate | undefined {
  const client = entry['client'];
  if (client === undefined) return undefined;
  if (!isTable(client)) throw invalid(path, 'client is no object');
  const [cert, key] = [textIn(client, 'cert', path), textIn(client, 'key', path)];
  if (cert === undefined || key === undefined) throw invalid(path, 'client has no cert, or no key');
  return { cert: besides(dirname(path), cert), key: besides(dirname(path), key) };
}
