/**
 * Authentication per host: nothing, basic, or bearer tokens from the realm that the registry names.
 *
 * A request begins with what is known of the host. A refusal teaches the challenge; a second one, in spite of a
 * token, gives one fresh token for the scopes of both sides; a third is final. Credentials are per host: those of a
 * registry do not go to its mirrors, nor to where it redirects.
 *
 * Source: distribution, "Token Authentication Specification" and "OAuth2 Token Authentication".
 */
import type { Dispatcher } from 'undici';
import type { Host } from '../base/host.ts';
import { responseOf, type Response } from './answer.ts';
import { basic, isHub, type Credentials } from './auth-file.ts';
import type { Challenge } from './challenge.ts';
import type { Endpoint } from './endpoints.ts';
import { findCredentials, type Found } from './keychain.ts';
import type { Exchange } from './pools.ts';
import type { Need } from './request.ts';
import { joinScopes, splitScopes } from './scopes.ts';
import type { RegistrySettings } from './settings.ts';
import { createTokens, type Tokens } from './tokens.ts';

/** The authentication of one request, over all of its tries. */
export interface Attempts {
  /** Value of the Authorization header. */
  header(): Promise<string | undefined>;
  /** Takes a refusal. Whether another try makes sense. */
  refused(response: Response): boolean;
}

export interface Authorizer {
  begin(need: Need): Attempts;
  /** A token for what another host's challenge asks, without credentials. */
  anonymous(response: Dispatcher.ResponseData, need: Need): Promise<string | undefined>;
}

export interface AuthorizerOptions {
  readonly endpoint: Endpoint;
  readonly settings: RegistrySettings;
  readonly host: Host;
  readonly send: (exchange: Exchange) => Promise<Dispatcher.ResponseData>;
  /** Where to ask for a challenge that a refusal does not name. */
  readonly ping: (signal: AbortSignal) => Promise<Response>;
  /** Instead of the keychain. */
  readonly credentials?: Credentials;
}

/** A helper's credentials may be short-lived. */
const CREDENTIALS_LIFE_MS = 5 * 60_000;

export function createAuthorizer(options: AuthorizerOptions): Authorizer {
  const { endpoint, settings, host, ping } = options;
  const tokens: Tokens = createTokens(options);
  let challenge: Challenge | undefined;
  let pinging: Promise<void> | undefined;
  const kept = new Map<string, { readonly found: Promise<Found | undefined>; readonly at: number }>();

  function credentials({ asked, onNotice }: Need): Promise<Found | undefined> {
    if (options.credentials !== undefined)
      return Promise.resolve({ ...options.credentials, from: 'the command line', isRenewable: false });
    const purpose = asked.side === 'push to' ? 'push' : 'pull';
    const key = `${purpose} ${asked.repository}`;
    const known = kept.get(key);
    if (known !== undefined && host.now() - known.at < CREDENTIALS_LIFE_MS) return known.found;
    const found = findCredentials(settings, {
      registry: isHub(endpoint.authority) ? 'docker.io' : endpoint.authority,
      repository: endpoint.repository,
      purpose,
      onWarning: (text) => onNotice?.({ kind: 'warning', host: endpoint.authority, text }),
    });
    kept.set(key, { found, at: host.now() });
    return found;
  }

  function learn(response: Response): void {
    const offered = response.challenges();
    const chosen =
      offered.find(({ scheme }) => scheme === 'bearer') ?? offered.find(({ scheme }) => scheme === 'basic');
    if (chosen !== undefined) challenge = chosen;
  }

  async function learnByPing(signal: AbortSignal): Promise<void> {
    if (challenge !== undefined) return;
    const response = await ping(signal);
    await response.discard();
    learn(response);
  }

  function begin(need: Need): Attempts {
    let sent: 'nothing' | 'basic' | 'bearer' = 'nothing';
    let refusals = 0;
    let mustPing = false;
    let more: readonly string[] = [];
    let last: string | undefined;
    let wasRefused = false;
    let isRenewable = false;

    async function bearer(found: Found | undefined, realm: Challenge): Promise<string> {
      const scopes = joinScopes(...need.scopes, ...more);
      const token =
        found?.registryToken ?? (await tokens.get({ challenge: realm, scopes, found, need, refused: last }));
      last = token;
      return `Bearer ${token}`;
    }

    return {
      async header() {
        if (mustPing) {
          mustPing = false;
          await (pinging ??= learnByPing(need.signal).finally(() => (pinging = undefined)));
        }
        sent = 'nothing';
        if (challenge === undefined) return undefined;
        const found = await credentials(need);
        isRenewable = found?.isRenewable === true;
        if (challenge.scheme === 'bearer') {
          sent = 'bearer';
          return bearer(found, challenge);
        }
        if (found === undefined) return undefined;
        sent = 'basic';
        return basic(found);
      },
      refused(response) {
        refusals += 1;
        learn(response);
        const [offered] = response.challenges().filter(({ scheme }) => scheme === 'bearer');
        more = joinScopes(...more, ...splitScopes(offered?.parameters.get('scope')));
        if (sent === 'nothing' && refusals === 1) {
          mustPing = challenge === undefined;
          return true;
        }
        // A refused token is replaced once; a password is asked for again where it may have changed.
        const isFirst = !wasRefused;
        wasRefused ||= sent !== 'nothing';
        const mayChange = sent === 'bearer' || (sent === 'basic' && isRenewable);
        if (mayChange) kept.clear();
        return isFirst && mayChange;
      },
    };
  }

  return {
    begin,
    async anonymous(response, need) {
      const answer = responseOf(response, '');
      const realm = answer.challenges().find(({ scheme }) => scheme === 'bearer');
      if (realm === undefined) return undefined;
      const scopes = splitScopes(realm.parameters.get('scope'));
      const token = await tokens.get({
        challenge: realm,
        scopes,
        found: undefined,
        need,
        refused: undefined,
      });
      return `Bearer ${token}`;
    },
  };
}
