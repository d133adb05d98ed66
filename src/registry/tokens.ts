/**
 * Bearer tokens: one per (realm, service, scopes, account), fetched once at a time, replaced before they expire.
 *
 * With a password a token is asked for by GET, with an identity token by POST; where a server knows only the other
 * way, that is tried. Life counts from when we received it, so a wrong clock on the other side does not matter.
 */
import type { Dispatcher } from 'undici';
import { TsbuildError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { isJsonObject, type JsonObject } from '../base/json.ts';
import { hostnameOf, isLocalHost, mayBePlain } from './address.ts';
import { readText, responseOf, type Response } from './answer.ts';
import { basic } from './auth-file.ts';
import type { Challenge } from './challenge.ts';
import type { Endpoint } from './endpoints.ts';
import type { Found } from './keychain.ts';
import { resolveLocation } from './location.ts';
import type { Exchange } from './pools.ts';
import { protocolError, readRefusal, refusalError, unreachable, type Asked } from './registry-error.ts';
import type { Need } from './request.ts';
import { backoff, isPassing, isRetryable, networkCode, parseRetryAfter, sleep } from './retry.ts';
import type { RegistrySettings } from './settings.ts';

export interface TokenRequest {
  readonly challenge: Challenge;
  readonly scopes: readonly string[];
  readonly found: Found | undefined;
  readonly need: Need;
  /** A token that was refused: another one is wanted. */
  readonly refused: string | undefined;
}

export interface Tokens {
  get(request: TokenRequest): Promise<string>;
}

export interface TokensOptions {
  readonly endpoint: Endpoint;
  readonly settings: RegistrySettings;
  readonly host: Host;
  readonly send: (exchange: Exchange) => Promise<Dispatcher.ResponseData>;
}

interface Token {
  readonly value: string;
  /** Milliseconds since the epoch. */
  readonly bornAt: number;
  readonly lifeMs: number;
}

const DEFAULT_LIFE_S = 60;
const MAX_TOKEN_BODY = 1 << 20;
const MAX_REDIRECTS = 5;
/** The part of its life after which a token is replaced, and what a large request needs of it. */
const USUAL = 0.8;
const LARGE = 0.5;
const MARGIN_MS = 30_000;

export function createTokens({ endpoint, settings, host, send }: TokensOptions): Tokens {
  const tokens = new Map<string, Promise<Token>>();
  /** Refresh tokens that servers gave beside a token, for this process alone. */
  const refresh = new Map<string, string>();

  async function fetchToken({ challenge, scopes, found, need }: TokenRequest): Promise<Token> {
    const asked = { ...need.asked, action: 'getting a token' };
    const realm = checkedRealm(challenge.parameters.get('realm') ?? '', asked);
    const service = challenge.parameters.get('service');
    const bornAt = host.now();
    const answer = await ask(realm, service, scopes, found, { ...need, asked });
    const { token, access_token, expires_in, refresh_token } = answer;
    const value = typeof token === 'string' && token !== '' ? token : access_token;
    if (typeof value !== 'string' || value === '')
      throw protocolError(asked, `the token server at ${JSON.stringify(new URL(realm).host)} sent no token`);
    if (typeof refresh_token === 'string' && refresh_token !== '') refresh.set(realm, refresh_token);
    const life = typeof expires_in === 'number' && expires_in > 0 ? expires_in : DEFAULT_LIFE_S;
    return { value, bornAt, lifeMs: life * 1000 };
  }

  function checkedRealm(realm: string, asked: Asked): string {
    let url: URL;
    try {
      url = new URL(realm);
    } catch {
      throw protocolError(
        asked,
        `the registry names ${JSON.stringify(realm)} as its token server, which is no URL`,
      );
    }
    if (url.protocol !== 'https:' && url.protocol !== 'http:')
      throw protocolError(asked, `the registry names ${JSON.stringify(realm)} as its token server`);
    const isLocal = isLocalHost(hostnameOf(endpoint.authority));
    // why: a password must not travel in clear because a registry, or somebody before it, names such a place.
    if (url.protocol === 'http:' && !endpoint.mayBePlain && !mayBePlain(url.host, settings.insecure))
      throw protocolError(
        asked,
        `the registry wants credentials sent in clear to ${JSON.stringify(url.host)}`,
        `if that is right, use --insecure-registry ${asked.host}`,
      );
    if (
      isLocalHost(hostnameOf(url.host)) &&
      !isLocal &&
      hostnameOf(url.host) !== hostnameOf(endpoint.authority)
    )
      throw protocolError(
        asked,
        `the registry names ${JSON.stringify(url.host)} as its token server, an address of a private network`,
      );
    return realm;
  }

  async function ask(
    realm: string,
    service: string | undefined,
    scopes: readonly string[],
    found: Found | undefined,
    need: Need,
  ): Promise<JsonObject> {
    const form = (grant: Readonly<Record<string, string>>): string =>
      new URLSearchParams({
        ...grant,
        client_id: 'tsbuild',
        ...(service === undefined ? {} : { service }),
        ...(scopes.length === 0 ? {} : { scope: scopes.join(' ') }),
      }).toString();
    const identity = found?.identityToken ?? refresh.get(realm);
    if (identity !== undefined) {
      const body = form({ grant_type: 'refresh_token', refresh_token: identity });
      const response = await exchange(realm, need, { body });
      // Some servers know no POST, or take an identity token as a password only.
      if (![400, 401, 404, 405].includes(response.status)) return parsed(response, need.asked);
      await response.discard();
      const pair = basic({ username: '<token>', password: identity });
      return parsed(
        await exchange(getUrl(realm, service, scopes), need, { authorization: pair }),
        need.asked,
      );
    }
    const hasPassword = found !== undefined && found.username !== '';
    const url = getUrl(realm, service, scopes, hasPassword ? found.username : undefined);
    const response = await exchange(url, need, hasPassword ? { authorization: basic(found) } : {});
    if (response.status !== 405 || !hasPassword) return parsed(response, need.asked);
    await response.discard();
    const { username, password } = found;
    const body = form({ grant_type: 'password', username, password });
    return parsed(await exchange(realm, need, { body }), need.asked);
  }

  /** One question to a token server, with retries. */
  async function exchange(
    start: string,
    { asked, signal, onNotice }: Need,
    { body, authorization }: { readonly body?: string; readonly authorization?: string },
  ): Promise<Response> {
    for (let failures = 1; ; failures += 1) {
      const isLast = failures >= settings.retry.tries;
      let reason: string;
      let waitMs: number | undefined;
      try {
        const response = await follow(start, asked, signal, body, authorization);
        waitMs = parseRetryAfter(response.header('retry-after'), host.now());
        if (!isRetryable(response.status) || isLast || waitMs === Infinity) return response;
        reason = `status ${response.status} of the token server`;
        await response.discard();
      } catch (error) {
        if (signal.aborted) throw new TsbuildError('ABORTED', 'the transfer was aborted', { cause: error });
        if (error instanceof TsbuildError || !isPassing(error) || isLast)
          throw unreachable({ ...asked, via: new URL(start).host }, error);
        reason = networkCode(error);
      }
      waitMs ??= backoff(settings.retry, failures, settings.random);
      onNotice?.({ kind: 'retry', host: new URL(start).host, reason, waitMs });
      await sleep(waitMs, signal);
    }
  }

  async function follow(
    start: string,
    asked: Asked,
    signal: AbortSignal,
    body: string | undefined,
    authorization: string | undefined,
  ): Promise<Response> {
    let url = start;
    for (let hops = 0; hops <= MAX_REDIRECTS; hops += 1) {
      const isOwn = new URL(url).origin === new URL(start).origin;
      const response = await send({
        method: body === undefined ? 'GET' : 'POST',
        url,
        headers: {
          'user-agent': settings.userAgent,
          accept: 'application/json',
          ...(body === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' }),
          ...(authorization === undefined || !isOwn ? {} : { authorization }),
        },
        ...(body === undefined ? {} : { body }),
        answerMs: settings.timeouts.idleMs,
        signal,
      });
      const { location } = response.headers;
      const answer = responseOf(response, url);
      if (answer.status < 300 || answer.status >= 400 || typeof location !== 'string') return answer;
      await answer.discard();
      url = resolveLocation(location, url, asked);
      // A form holds a secret; it goes where it was meant to go.
      if (body !== undefined && new URL(url).origin !== new URL(start).origin)
        throw protocolError(asked, 'the token server redirects credentials to another host');
    }
    throw protocolError(asked, `the token server redirects more than ${MAX_REDIRECTS} times`);
  }

  return {
    async get(request) {
      const { challenge, found, need, refused } = request;
      const key = JSON.stringify([
        challenge.parameters.get('realm'),
        challenge.parameters.get('service'),
        // What a challenge asked for besides comes with the token, but does not name it.
        need.scopes.toSorted(),
        found?.username ?? null,
        found?.identityToken ?? null,
      ]);
      for (;;) {
        const current = tokens.get(key);
        const known = await current?.catch(() => undefined);
        const isGood = known !== undefined && known.value !== refused;
        if (isGood && isFresh(known, need.isLarge === true, host.now())) return known.value;
        // Somebody else may have asked for a new one in the meantime.
        if (tokens.get(key) !== current) continue;
        const fetching = fetchToken(request);
        tokens.set(key, fetching);
        return (await fetching).value;
      }
    },
  };
}

function isFresh({ bornAt, lifeMs }: Token, isLarge: boolean, now: number): boolean {
  const age = now - bornAt;
  // A clock that was set back says nothing about a token's age.
  if (age < 0) return false;
  if (isLarge) return age < lifeMs * LARGE;
  return age < lifeMs * USUAL && (lifeMs <= 2 * MARGIN_MS || age < lifeMs - MARGIN_MS);
}

/** Parameters of the realm itself stay. */
function getUrl(
  realm: string,
  service: string | undefined,
  scopes: readonly string[],
  account?: string,
): string {
  const pairs: readonly (readonly [string, string])[] = [
    ...(service === undefined ? [] : [['service', service] as const]),
    ...scopes.map((scope) => ['scope', scope] as const),
    ['client_id', 'tsbuild'],
    ...(account === undefined ? [] : [['account', account] as const]),
  ];
  const query = pairs.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');
  return `${realm}${realm.includes('?') ? '&' : '?'}${query}`;
}

async function parsed(response: Response, asked: Asked): Promise<JsonObject> {
  const where = { ...asked, via: new URL(response.url).host };
  const text = await readText(response, MAX_TOKEN_BODY);
  if (response.status !== 200) throw refusalError(where, readRefusal(response.status, text));
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  if (!isJsonObject(value)) throw protocolError(where, 'the token server sent something that is not JSON');
  return value;
}
