/**
 * Authentication per host: nothing, basic, or bearer tokens from the realm that the registry names.
 *
 * Tokens are kept per set of scopes and fetched once at a time; a token that is over half of its life, or that the
 * registry refuses, is fetched again. Our own scopes are asked for, whatever the challenge says.
 *
 * Source: distribution, "Token Authentication Specification" and "OAuth2 Token Authentication".
 */
import type { Dispatcher } from 'undici';
import { TsbuildError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { isJsonObject } from '../base/json.ts';
import { parseChallenges, type Challenge } from './challenge.ts';
import { findCredentials, type Credentials } from './keychain.ts';
import { statusError, unreachable, type Asked } from './registry-error.ts';
import { mayBePlain, type RegistrySettings } from './settings.ts';

export interface Authorizer {
  /** Value of the Authorization header. `fresh`: the last one was refused. */
  authorization(
    scopes: readonly string[],
    options: { readonly fresh: boolean; readonly asked: Asked; readonly signal: AbortSignal },
  ): Promise<string | undefined>;
  /** What a 401 said. */
  challenged(header: string | readonly string[] | undefined): void;
}

export interface AuthorizerOptions {
  readonly authority: string;
  readonly settings: RegistrySettings;
  readonly host: Host;
  readonly send: (
    url: string,
    init: Omit<Dispatcher.RequestOptions, 'origin' | 'path'>,
  ) => Promise<Dispatcher.ResponseData>;
  /** Instead of the keychain. */
  readonly credentials?: Credentials;
}

interface Token {
  readonly value: string;
  /** Milliseconds since the epoch when half of its life is over. */
  readonly staleAt: number;
}

const DEFAULT_LIFE_S = 60;
const MAX_TOKEN_BODY = 1 << 20;

export function createAuthorizer({
  authority,
  settings,
  host,
  send,
  credentials,
}: AuthorizerOptions): Authorizer {
  let challenge: Challenge | undefined;
  const tokens = new Map<string, Promise<Token>>();

  function find(asked: Asked): Promise<Credentials | undefined> {
    if (credentials !== undefined) return Promise.resolve(credentials);
    const registry = authority === 'registry-1.docker.io' ? 'docker.io' : authority;
    return findCredentials(settings.configFiles, registry, asked.repository);
  }

  async function fetchToken(scopes: readonly string[], asked: Asked, signal: AbortSignal): Promise<Token> {
    const realm = challenge?.parameters.get('realm') ?? '';
    if (!/^https?:\/\//.test(realm))
      throw new TsbuildError(
        'REGISTRY_PROTOCOL',
        `${asked.host} names no place to get a token: realm is ${JSON.stringify(realm)}`,
      );
    // why: a password must not travel in clear because a registry, or somebody before it, names such a place.
    if (
      realm.startsWith('http://') &&
      !mayBePlain(authority, settings.insecure) &&
      !mayBePlain(new URL(realm).host, settings.insecure)
    )
      throw new TsbuildError(
        'REGISTRY_PROTOCOL',
        `${asked.host} wants credentials sent in clear to ${JSON.stringify(new URL(realm).host)}`,
        {
          hint: `if that is right, use --insecure-registry ${asked.host}`,
        },
      );
    const service = challenge?.parameters.get('service');
    const found = await find(asked);
    const started = host.now();
    const response = await askForToken(realm, service, scopes, found, asked, signal);
    const { token, access_token, expires_in } = response;
    const value = typeof token === 'string' && token !== '' ? token : access_token;
    if (typeof value !== 'string' || value === '')
      throw new TsbuildError('REGISTRY_PROTOCOL', `the token server of ${asked.host} sent no token`);
    const life = typeof expires_in === 'number' && expires_in > 0 ? expires_in : DEFAULT_LIFE_S;
    return { value, staleAt: started + life * 500 };
  }

  async function askForToken(
    realm: string,
    service: string | undefined,
    scopes: readonly string[],
    found: Credentials | undefined,
    asked: Asked,
    signal: AbortSignal,
  ): Promise<Record<string, unknown>> {
    const common = { signal, headersTimeout: 60_000 };
    if (found?.identityToken !== undefined) {
      const form = new URLSearchParams({
        grant_type: 'refresh_token',
        refresh_token: found.identityToken,
        client_id: 'tsbuild',
        scope: scopes.join(' '),
      });
      if (service !== undefined) form.set('service', service);
      return readToken(asked, () =>
        send(realm, {
          ...common,
          method: 'POST',
          headers: { 'content-type': 'application/x-www-form-urlencoded' },
          body: form.toString(),
        }),
      );
    }
    const url = new URL(realm);
    if (service !== undefined) url.searchParams.set('service', service);
    for (const scope of scopes) url.searchParams.append('scope', scope);
    url.searchParams.set('client_id', 'tsbuild');
    if (found !== undefined) url.searchParams.set('account', found.username);
    return readToken(asked, () =>
      send(url.href, {
        ...common,
        method: 'GET',
        headers: found === undefined ? {} : { authorization: basic(found) },
      }),
    );
  }

  async function readToken(
    asked: Asked,
    ask: () => Promise<Dispatcher.ResponseData>,
  ): Promise<Record<string, unknown>> {
    let response: Dispatcher.ResponseData;
    try {
      response = await ask();
    } catch (error) {
      throw unreachable({ ...asked, action: 'get a token' }, error);
    }
    const text = await boundedText(response, asked);
    if (response.statusCode !== 200)
      throw statusError({ ...asked, action: 'get a token' }, response.statusCode, text);
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      value = undefined;
    }
    if (!isJsonObject(value))
      throw new TsbuildError(
        'REGISTRY_PROTOCOL',
        `the token server of ${asked.host} sent something that is not JSON`,
      );
    return { ...value };
  }

  return {
    challenged(header) {
      const offered = parseChallenges(header);
      const chosen =
        offered.find(({ scheme }) => scheme === 'bearer') ?? offered.find(({ scheme }) => scheme === 'basic');
      if (chosen !== undefined) challenge = chosen;
    },
    async authorization(scopes, { fresh, asked, signal }) {
      if (challenge === undefined) return undefined;
      if (challenge.scheme === 'basic') {
        const found = await find(asked);
        return found === undefined ? undefined : basic(found);
      }
      const key = scopes.toSorted().join(' ');
      const known = fresh ? undefined : await tokens.get(key)?.catch(() => undefined);
      if (known !== undefined && known.staleAt > host.now()) return `Bearer ${known.value}`;
      const fetching = fetchToken(scopes, asked, signal);
      tokens.set(key, fetching);
      return `Bearer ${(await fetching).value}`;
    },
  };
}

async function boundedText({ body }: Dispatcher.ResponseData, asked: Asked): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength;
    if (size > MAX_TOKEN_BODY)
      throw new TsbuildError(
        'REGISTRY_PROTOCOL',
        `the token server of ${asked.host} sent more than ${MAX_TOKEN_BODY} bytes`,
      );
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function basic({ username, password }: Credentials): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}
