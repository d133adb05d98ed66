/**
 * Credentials of registries: texts in the environment, then files in their order; in each `credHelpers`, then
 * `credsStore`, then `auths`. A helper that is missing is passed over with a warning: CI often inherits a desktop's
 * file. A helper that fails is fatal for a push, which would end in a refusal that explains nothing.
 */
import { dirname } from 'node:path';
import { writeFileAtomic } from '../base/atomic-file.ts';
import { TsbuildError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { makeDirectories } from '../base/make-directories.ts';
import { isJsonObject, type JsonObject } from '../base/json.ts';
import {
  credentialKey,
  findInAuths,
  isHub,
  isKeyOf,
  parseConfig,
  readConfig,
  type Credentials,
} from './auth-file.ts';
import { askHelper, eraseInHelper, isHelperName, storeInHelper } from './credential-program.ts';
import type { RegistrySettings } from './settings.ts';

export type { Credentials } from './auth-file.ts';

export interface Found extends Credentials {
  /** The file or the helper, for people. */
  readonly from: string;
  /** Asking again may give another one. */
  readonly isRenewable: boolean;
}

export interface Wanted {
  /** `docker.io`, or host with port. */
  readonly registry: string;
  /** For keys with a path; may be ''. */
  readonly repository: string;
  readonly purpose: 'pull' | 'push';
  readonly onWarning?: (text: string) => void;
}

/** undefined: anonymous. */
export async function findCredentials(
  settings: Pick<RegistrySettings, 'configFiles' | 'inlineConfigs'>,
  wanted: Wanted,
): Promise<Found | undefined> {
  for (const { name, config } of configsOf(settings)) {
    const found = (await fromHelper(config, name, wanted)) ?? fromFile(config, name, wanted);
    if (found !== undefined) return found;
  }
  return undefined;
}

function* configsOf({
  configFiles,
  inlineConfigs,
}: Pick<RegistrySettings, 'configFiles' | 'inlineConfigs'>): Generator<{
  readonly name: string;
  readonly config: JsonObject;
}> {
  for (const { name, text } of inlineConfigs)
    if (text.trim() !== '') yield { name, config: parseConfig(text, name) };
  for (const path of configFiles) {
    const config = readConfig(path);
    if (config !== undefined) yield { name: path, config };
  }
}

function fromFile(config: JsonObject, name: string, { registry, repository }: Wanted): Found | undefined {
  // docker's oldest file is the map itself.
  const auths = name.endsWith('.dockercfg') && config['auths'] === undefined ? config : config['auths'];
  const found = findInAuths(auths, registry, repository);
  return found === undefined ? undefined : { ...found, from: name, isRenewable: false };
}

async function fromHelper(config: JsonObject, name: string, wanted: Wanted): Promise<Found | undefined> {
  const { registry, purpose, onWarning } = wanted;
  const helper = helperOf(config, registry);
  if (helper === undefined) return undefined;
  const program = `docker-credential-${helper}`;
  const answer = await askHelper(helper, credentialKey(registry));
  switch (answer.kind) {
    case 'found':
      return { ...answer.credentials, from: program, isRenewable: true };
    case 'none':
      return undefined;
    case 'missing':
      onWarning?.(`${JSON.stringify(name)} names ${program}, which is not installed`);
      return undefined;
    case 'failed': {
      const text = `${program} failed for ${JSON.stringify(registry)}: ${answer.reason}`;
      if (purpose === 'push' && fromFile(config, name, wanted) === undefined)
        throw new TsbuildError('REGISTRY_AUTH', text, {
          hint: `run it by hand: echo ${credentialKey(registry)} | ${program} get`,
        });
      onWarning?.(text);
      return undefined;
    }
  }
}

function helperOf(config: JsonObject, registry: string): string | undefined {
  const helpers = config['credHelpers'];
  const key = isJsonObject(helpers)
    ? Object.keys(helpers).find((each) => each === registry || (isHub(registry) && isKeyOf(each, registry)))
    : undefined;
  const specific = isJsonObject(helpers) && key !== undefined ? helpers[key] : undefined;
  const helper = specific ?? config['credsStore'];
  return typeof helper === 'string' && isHelperName(helper) ? helper : undefined;
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
  if (helper !== undefined && credentials === undefined) erased = await eraseInHelper(helper, key);
  if (helper !== undefined && credentials !== undefined) {
    const reason = await storeInHelper(helper, key, credentials);
    if (reason === undefined) return true;
    // why: who configured a helper does not want a password in a file because the helper failed.
    const program = `docker-credential-${helper}`;
    throw new TsbuildError(
      'CONFIG_INVALID',
      `the credential helper ${JSON.stringify(program)} did not keep the credentials: ${reason}`,
      { hint: `install it, or take it out of ${JSON.stringify(path)}` },
    );
  }
  const before = isJsonObject(config['auths']) ? config['auths'] : {};
  // Every spelling under which the credentials would be found again.
  const others = Object.fromEntries(Object.entries(before).filter(([each]) => !isKeyOf(each, registry)));
  const isKnown = Object.keys(others).length < Object.keys(before).length;
  if (credentials === undefined && !isKnown) return erased;
  const auths = credentials === undefined ? others : { ...others, [key]: entryOf(credentials) };
  makeDirectories(dirname(path), 0o700);
  writeFileAtomic(host, path, `${JSON.stringify({ ...config, auths }, null, '\t')}\n`, {
    mode: 0o600,
    durable: true,
  });
  return true;
}

function entryOf({ username, password, identityToken }: Credentials): JsonObject {
  const auth = Buffer.from(`${username}:${password}`).toString('base64');
  return identityToken === undefined ? { auth } : { auth, identitytoken: identityToken };
}
