/**
 * Credential files: docker's config.json and containers' auth.json, which have one form. Keys of `auths` are hosts,
 * hosts with a path (the longest that fits counts), or docker's old URLs.
 *
 * Source: docker CLI, "config.json"; containers-auth.json(5).
 */
import { readTextIfExists } from '../base/atomic-file.ts';
import { TsbuildError } from '../base/errors.ts';
import { isJsonObject, type Json, type JsonObject } from '../base/json.ts';
import { withoutDefaultPort } from './address.ts';
import { jsonErrorOffset } from './json-offset.ts';

export interface Credentials {
  readonly username: string;
  readonly password: string;
  /** OAuth refresh token instead of a password. */
  readonly identityToken?: string;
  /** A bearer token that is used as it is. */
  readonly registryToken?: string;
}

/** What docker calls Docker Hub in its files. */
export const HUB_KEY = 'https://index.docker.io/v1/';
const HUB_NAMES: ReadonlySet<string> = new Set([
  'docker.io',
  'index.docker.io',
  'registry-1.docker.io',
  'registry.hub.docker.com',
]);

export function isHub(registry: string): boolean {
  return HUB_NAMES.has(registry);
}

/** The key under which credentials of a registry are kept. */
export function credentialKey(registry: string): string {
  return isHub(registry) ? HUB_KEY : registry;
}

/** undefined where there is no such file, or an empty one. Throws CONFIG_INVALID, which quotes nothing of it. */
export function readConfig(path: string): JsonObject | undefined {
  const text = readTextIfExists(path);
  return text === undefined || text.trim() === '' ? undefined : parseConfig(text, path);
}

export function parseConfig(text: string, name: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text.replace(/^\uFEFF/, ''));
  } catch {
    const offset = jsonErrorOffset(text);
    throw new TsbuildError(
      'CONFIG_INVALID',
      `${JSON.stringify(name)} is not JSON${offset === undefined ? '' : `: byte ${Buffer.byteLength(text.slice(0, offset))} is unexpected`}`,
      { hint: 'quote its keys and strings (a shell takes unprotected quotes away), or log in again' },
    );
  }
  if (!isJsonObject(value))
    throw new TsbuildError('CONFIG_INVALID', `${JSON.stringify(name)} is not a JSON object`);
  return value;
}

/** The most specific entry that holds a credential; `{}` is a marker of a helper and holds none. */
export function findInAuths(
  auths: Json | undefined,
  registry: string,
  repository: string,
): Credentials | undefined {
  if (!isJsonObject(auths)) return undefined;
  const found = Object.keys(auths)
    .flatMap((key) => {
      const rank = rankOf(key, registry, repository);
      return rank === undefined ? [] : [{ key, rank }];
    })
    .sort((a, b) => b.rank - a.rank);
  for (const { key } of found) {
    const entry = auths[key];
    const credentials = isJsonObject(entry) ? parseEntry(entry) : undefined;
    if (credentials !== undefined) return credentials;
  }
  return undefined;
}

/** How well a key fits; undefined where it does not. Longer paths first, then the host as it is written. */
function rankOf(key: string, registry: string, repository: string): number | undefined {
  const isUrl = /^https?:\/\//.test(key);
  const bare = key.replace(/^https?:\/\//, '').replace(/\/+$/, '');
  const slash = bare.indexOf('/');
  const host = slash < 0 ? bare : bare.slice(0, slash);
  const path = slash < 0 ? '' : bare.slice(slash + 1);
  if (!isSameHost(host, registry)) return undefined;
  if (path === '' || /^v[12]$/.test(path) || isUrl) return host === registry && !isUrl ? 2 : 1;
  return repository === path || repository.startsWith(`${path}/`) ? 2 + path.length : undefined;
}

function isSameHost(host: string, registry: string): boolean {
  if (isHub(host) && isHub(registry)) return true;
  const plain = (text: string): string => withoutDefaultPort(withoutDefaultPort(text.toLowerCase()), 'http');
  return plain(host) === plain(registry);
}

/** Whether a key of `auths` stands for the whole registry. */
export function isKeyOf(key: string, registry: string): boolean {
  const bare = key.replace(/^https?:\/\//, '').replace(/\/+$/, '');
  return isSameHost(bare.replace(/\/v[12]$/, ''), registry);
}

function parseEntry(entry: JsonObject): Credentials | undefined {
  const { auth, username, password, identitytoken, registrytoken } = entry;
  const tokens = {
    ...(typeof identitytoken === 'string' && identitytoken !== '' ? { identityToken: identitytoken } : {}),
    ...(typeof registrytoken === 'string' && registrytoken !== '' ? { registryToken: registrytoken } : {}),
  };
  if (typeof auth === 'string' && auth.trim() !== '') {
    // A line end inside the encoding comes from `echo`; passwords may hold colons.
    const text = Buffer.from(auth.trim(), 'base64')
      .toString('utf8')
      .replace(/\0+$/, '')
      .replace(/\r?\n$/, '');
    const colon = text.indexOf(':');
    if (colon >= 0) return pairOf(text.slice(0, colon), text.slice(colon + 1), tokens);
  }
  if (typeof username === 'string' && typeof password === 'string' && username !== '')
    return pairOf(username, password, tokens);
  return Object.keys(tokens).length > 0 ? { username: '', password: '', ...tokens } : undefined;
}

/** docker writes an identity token as the password of `<token>`. */
export function pairOf(
  username: string,
  password: string,
  tokens: Pick<Credentials, 'identityToken' | 'registryToken'> = {},
): Credentials {
  if (username === '<token>') return { username: '', password: '', identityToken: password, ...tokens };
  return { username, password, ...tokens };
}

export function basic({ username, password }: Pick<Credentials, 'username' | 'password'>): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}
