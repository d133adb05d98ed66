/**
 * Credentials of registries, from docker's config.json (and containers' auth.json, which has the same form):
 * `credHelpers`, then `credsStore`, then `auths`.
 *
 * Source: docker CLI, "Credential stores"; docker-credential-helpers' protocol.
 */
import { spawn } from 'node:child_process';
import { dirname } from 'node:path';
import { mkdirSync } from 'node:fs';
import { readTextIfExists, writeFileAtomic } from '../base/atomic-file.ts';
import { TsbuildError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { isJsonObject, type Json, type JsonObject } from '../base/json.ts';

export interface Credentials {
  readonly username: string;
  readonly password: string;
  /** OAuth refresh token instead of a password. */
  readonly identityToken?: string;
}

/** What docker calls Docker Hub in its files. */
export const HUB_KEY = 'https://index.docker.io/v1/';
const HUB_NAMES: ReadonlySet<string> = new Set(['docker.io', 'index.docker.io', 'registry-1.docker.io']);
const HELPER_NAME = /^[A-Za-z0-9._-]+$/;
const HELPER_TIMEOUT_MS = 30_000;
const MAX_ANSWER = 1 << 20;

/** The key under which credentials of a registry are kept. */
export function credentialKey(registry: string): string {
  return HUB_NAMES.has(registry) ? HUB_KEY : registry;
}

/** Credentials for a registry (and repository, for keys with a path); undefined: anonymous. */
export async function findCredentials(
  configFiles: readonly string[],
  registry: string,
  repository: string,
): Promise<Credentials | undefined> {
  for (const path of configFiles) {
    const config = readConfig(path);
    if (config === undefined) continue;
    const helper = helperOf(config, registry);
    const found =
      (helper === undefined ? undefined : await askHelper(helper, credentialKey(registry))) ??
      fromAuths(config['auths'], registry, repository);
    if (found !== undefined) return found;
  }
  return undefined;
}

function readConfig(path: string): JsonObject | undefined {
  const text = readTextIfExists(path);
  if (text === undefined || text.trim() === '') return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new TsbuildError('CONFIG_INVALID', `${JSON.stringify(path)} is not JSON`, {
      hint: 'quote its strings, or remove the file and log in again',
    });
  }
  if (!isJsonObject(value))
    throw new TsbuildError('CONFIG_INVALID', `${JSON.stringify(path)} is not a JSON object`);
  return value;
}

function helperOf(config: JsonObject, registry: string): string | undefined {
  const helpers = config['credHelpers'];
  const specific = isJsonObject(helpers) ? helpers[registry] : undefined;
  const helper = specific ?? config['credsStore'];
  return typeof helper === 'string' && HELPER_NAME.test(helper) ? helper : undefined;
}

function fromAuths(auths: Json | undefined, registry: string, repository: string): Credentials | undefined {
  if (!isJsonObject(auths)) return undefined;
  const full = `${registry}/${repository}`;
  const matching = Object.keys(auths)
    .filter((key) => matches(key, registry, full))
    .sort((a, b) => b.length - a.length);
  for (const key of matching) {
    const entry = auths[key];
    const found = isJsonObject(entry) ? parseEntry(entry) : undefined;
    if (found !== undefined) return found;
  }
  return undefined;
}

/** `host`, `host/path` (containers), `https://host/v1/` (docker); Docker Hub by any of its names. */
function matches(key: string, registry: string, full: string): boolean {
  const bare = key.replace(/^https?:\/\//, '').replace(/\/+$/, '');
  if (bare === registry || full === bare || full.startsWith(`${bare}/`)) return true;
  const host = bare.split('/', 1)[0] ?? '';
  if (HUB_NAMES.has(registry) && HUB_NAMES.has(host)) return true;
  const isApi = /\/v[12]$/.test(bare);
  return isApi && host === registry;
}

/** Whether a key of `auths` stands for the whole registry. */
function isKeyOf(key: string, registry: string): boolean {
  const bare = key
    .replace(/^https?:\/\//, '')
    .replace(/\/+$/, '')
    .replace(/\/v[12]$/, '');
  return bare === registry || (HUB_NAMES.has(registry) && HUB_NAMES.has(bare));
}

function parseEntry(entry: JsonObject): Credentials | undefined {
  const { auth, username, password, identitytoken } = entry;
  const token =
    typeof identitytoken === 'string' && identitytoken !== '' ? { identityToken: identitytoken } : {};
  if (typeof auth === 'string' && auth !== '') {
    const text = Buffer.from(auth.trim(), 'base64').toString('utf8').replace(/\0+$/, '').trimEnd();
    const colon = text.indexOf(':');
    if (colon >= 0) return { username: text.slice(0, colon), password: text.slice(colon + 1), ...token };
  }
  if (typeof username === 'string' && typeof password === 'string') return { username, password, ...token };
  return 'identityToken' in token ? { username: '', password: '', ...token } : undefined;
}

async function askHelper(name: string, key: string): Promise<Credentials | undefined> {
  const answer = await callHelper(name, 'get', key);
  if (answer === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(answer);
  } catch {
    return undefined;
  }
  if (!isJsonObject(value)) return undefined;
  const { Username, Secret } = value;
  if (typeof Username !== 'string' || typeof Secret !== 'string') return undefined;
  return Username === '<token>'
    ? { username: '', password: '', identityToken: Secret }
    : { username: Username, password: Secret };
}

/** Standard output of a helper; undefined where it is missing or knows nothing. */
function callHelper(name: string, action: string, input: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const child = spawn(`docker-credential-${name}`, [action], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    // why: spawn's own timeout goes on ticking, and so keeps the process alive, when there is no such program.
    setTimeout(() => child.kill('SIGKILL'), HELPER_TIMEOUT_MS).unref();
    let output = '';
    child.once('error', () => resolve(undefined));
    child.stdout.on('data', (data: Buffer) => (output = (output + data.toString()).slice(0, MAX_ANSWER)));
    child.once('close', (code) => resolve(code === 0 ? output : undefined));
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });
}

/** Writes credentials (undefined: removes them); other fields stay as they are. Returns whether something changed. */
export async function storeCredentials(
  path: string,
  registry: string,
  credentials: Credentials | undefined,
  host: Host,
): Promise<boolean> {
  const config = readConfig(path) ?? {};
  const key = credentialKey(registry);
  const helper = helperOf(config, registry);
  let erased = false;
  if (helper !== undefined) {
    const input =
      credentials === undefined
        ? key
        : JSON.stringify({ ServerURL: key, Username: credentials.username, Secret: credentials.password });
    erased = (await callHelper(helper, credentials === undefined ? 'erase' : 'store', input)) !== undefined;
    // why: who configured a helper does not want a password in a file because the helper failed.
    if (credentials !== undefined && !erased)
      throw new TsbuildError(
        'CONFIG_INVALID',
        `the credential helper ${JSON.stringify(`docker-credential-${helper}`)} did not keep the credentials`,
        {
          hint: `install it, or take it out of ${JSON.stringify(path)}`,
        },
      );
    if (credentials !== undefined) return true;
  }
  const before = isJsonObject(config['auths']) ? config['auths'] : {};
  // Every spelling under which the credentials would be found again.
  const others = Object.fromEntries(Object.entries(before).filter(([each]) => !isKeyOf(each, registry)));
  const isKnown = Object.keys(others).length < Object.keys(before).length;
  if (credentials === undefined && !isKnown) return erased;
  const auth =
    credentials === undefined
      ? undefined
      : { auth: Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64') };
  const auths = auth === undefined ? others : { ...others, [key]: auth };
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeFileAtomic(host, path, `${JSON.stringify({ ...config, auths }, null, '\t')}\n`, {
    mode: 0o600,
    durable: true,
  });
  return true;
}
