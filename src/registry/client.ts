/**
 * The distribution client: repositories as sources and sinks of blobs (contract in registry.ts).
 *
 * Spec: OCI distribution-spec v1.1.1.
 */
import type { Host } from '../base/host.ts';
import type { IoOptions } from '../content/roles.ts';
import { endpointsFor, rootEndpoint, webEndpoint, type Endpoint } from './endpoints.ts';
import { isHub, type Credentials } from './auth-file.ts';
import { findCredentials } from './keychain.ts';
import { listReferrers } from './referrers.ts';
import type { Asked } from './registry-error.ts';
import { createPools, type Pools } from './pools.ts';
import type { Registry } from './registry.ts';
import type { RegistrySettings } from './settings.ts';
import { createSink, createUploads } from './sink.ts';
import { createSource } from './source.ts';
import { listTags } from './tags.ts';
import { createTransport } from './transport.ts';

export function createRegistry(settings: RegistrySettings, host: Host): Registry {
  const transport = createTransport(settings, host);
  const uploads = createUploads();
  let web: Pools | undefined;
  const primary = async (reference: { registry: string; repository: string }): Promise<Endpoint> => {
    const [endpoint] = await endpointsFor(reference, 'push', settings);
    if (endpoint === undefined) throw new RangeError(reference.registry);
    return endpoint;
  };
  return {
    fetch(url, headers, signal) {
      web ??= createPools(settings);
      const { idleMs: answerMs } = settings.timeouts;
      return web.send({ method: 'GET', url, headers, answerMs, signal }, webEndpoint(new URL(url).host));
    },
    source: (reference) => createSource(transport, settings, reference),
    sink: (reference) => createSink({ transport, settings, host, uploads }, reference),
    async checkLogin(registry, credentials, io) {
      if (credentials !== undefined) {
        await checkLogin(settings, host, registry, credentials, io);
        return undefined;
      }
      const { authority } = await rootEndpoint(registry, settings);
      const found = await findCredentials(settings, {
        registry: isHub(authority) ? 'docker.io' : authority,
        repository: '',
        purpose: 'push',
        onWarning: (text) => io.onNotice?.({ kind: 'warning', host: registry, text }),
      });
      await checkLogin(settings, host, registry, found, io);
      return found?.from;
    },
    async *tags(reference, io) {
      const { registry, repository } = reference;
      const asked: Asked = { side: 'pull from', host: registry, repository, action: 'listing tags' };
      yield* listTags(transport, await primary(reference), asked, io);
    },
    async referrers(reference, subject, io) {
      const { registry, repository } = reference;
      const askedFor = (action: string): Asked => ({ side: 'pull from', host: registry, repository, action });
      return listReferrers(
        { transport, settings, endpoint: await primary(reference), askedFor },
        subject,
        io,
      );
    },
    async [Symbol.asyncDispose]() {
      await web?.close();
      await transport.close();
    },
  };
}

/** Its own transport, so that the keychain's credentials do not answer for the given ones. */
async function checkLogin(
  settings: RegistrySettings,
  host: Host,
  registry: string,
  credentials: Credentials | undefined,
  { signal, onNotice }: IoOptions,
): Promise<void> {
  const endpoint = await rootEndpoint(registry, settings);
  const alone = { ...settings, configFiles: [], inlineConfigs: [] };
  const transport = createTransport(alone, host, credentials);
  try {
    const response = await transport.request(endpoint, {
      method: 'GET',
      url: '/',
      asked: { side: 'log in to', host: registry, repository: '', action: 'checking the credentials' },
      scopes: [],
      accept: [200],
      signal,
      onNotice,
    });
    await response.discard();
  } finally {
    await transport.close();
  }
}
