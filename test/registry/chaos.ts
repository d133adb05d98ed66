/**
 * Chaos: pushes and pulls of an image of five layers through a registry and a network that fail at random, from a
 * seed. Faults that pass must not show; faults that stay must give the right class of error; nothing that was not
 * verified may be in the store, and the registry may see nothing that the protocol does not allow.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { digestOf } from '../../src/base/digest.ts';
import { isTsbuildError, type ErrorCode } from '../../src/base/errors.ts';
import { copyImage } from '../../src/content/copy-image.ts';
import type { Fault } from './faults.ts';
import { keep, makeImage, openBench, reference, type TestImage } from './fixture.ts';
import { startTestRegistry, type Seen, type TestRegistry } from './test-registry.ts';

export interface ChaosReport {
  readonly rounds: number;
  readonly succeeded: number;
  /** Faults that were meant to stay, by the class that was reported. */
  readonly refused: Readonly<Record<string, number>>;
  readonly faults: number;
  /** What should not have happened. */
  readonly wrong: readonly string[];
  /** Bytes of blobs that were sent twice, at most, for one fault. */
  readonly mostResent: number;
}

/** Small, fast, and the same everywhere. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const SIZES = [1_000, 20_000, 70_000, 150_000, 300_000];
const CHUNK = 60_000;
/** How many requests meet a fault. */
const RATE = 0.35;

function passingFault(random: () => number, seen: Seen, challenge: string): Fault {
  const at = Math.floor(random() * 100_000);
  const faults: readonly Fault[] = [
    { kind: 'drop' },
    { kind: 'cut-request', after: at },
    { kind: 'cut-answer', after: at },
    { kind: 'lose-answer' },
    { kind: 'truncate', after: at },
    { kind: 'status', status: 503 },
    { kind: 'status', status: 500 },
    { kind: 'status', status: 429 },
    { kind: 'status', status: 429, headers: { 'retry-after': new Date(Date.now() - 5000).toUTCString() } },
    { kind: 'slow', delayMs: 2 },
    { kind: 'corrupt' },
    { kind: 'extra' },
    // Whoever damages a manifest is told that it is none; that is no fault that passes.
    seen.url.includes('/manifests/') ? { kind: 'drop' } : { kind: 'corrupt-request' },
    { kind: 'status', status: 401, headers: { 'www-authenticate': `${challenge},error="invalid_token"` } },
  ];
  return faults[Math.floor(random() * faults.length)] ?? { kind: 'drop' };
}

interface Lasting {
  readonly fits: (seen: Seen) => boolean;
  readonly fault: Fault;
  readonly codes: readonly ErrorCode[];
}

const isBlob = ({ url }: Seen): boolean => /\/blobs\/sha256/.test(url);

/** Faults that no client can do anything about, and how they must be called. */
const LASTING: readonly Lasting[] = [
  { fits: () => true, fault: { kind: 'status', status: 403 }, codes: ['REGISTRY_AUTH'] },
  { fits: () => true, fault: { kind: 'status', status: 503 }, codes: ['REGISTRY_REFUSED'] },
  { fits: () => true, fault: { kind: 'drop' }, codes: ['REGISTRY_UNREACHABLE'] },
  {
    fits: (seen) => seen.method === 'GET' && isBlob(seen),
    fault: { kind: 'corrupt' },
    codes: ['DIGEST_MISMATCH'],
  },
  {
    fits: (seen) => seen.method === 'GET' && isBlob(seen),
    fault: { kind: 'status', status: 404 },
    codes: ['REGISTRY_NOT_FOUND'],
  },
  {
    fits: (seen) => seen.method === 'GET' && isBlob(seen),
    fault: { kind: 'cut-answer', after: 5 },
    codes: ['REGISTRY_UNREACHABLE'],
  },
];

/** One fault at most per address and method, so that a request always goes through in the end. */
function faultsOf(
  random: () => number,
  challenge: string,
  count: () => void,
): (seen: Seen) => Fault | undefined {
  const spent = new Set<string>();
  return (seen) => {
    const { method, url } = seen;
    const key = `${method} ${(url.split('?')[0] ?? '').replace(/uploads\/u\d+/, 'uploads/u')}`;
    if (spent.has(key) || random() > RATE) return undefined;
    spent.add(key);
    count();
    return passingFault(random, seen, challenge);
  };
}

export async function runChaos(rounds: number, seed: number): Promise<ChaosReport> {
  await using tokens = await startTokens();
  const challenge = `Bearer realm="${tokens.realm}",service="chaos"`;
  const wrong: string[] = [];
  const refused: Record<string, number> = {};
  let [succeeded, faults, mostResent] = [0, 0, 0];
  for (let round = 0; round < rounds; round += 1) {
    const random = randomFrom(seed * 100_003 + round);
    const lasting = random() < 0.15 ? LASTING[Math.floor(random() * LASTING.length)] : undefined;
    let isPulling = false;
    let met = 0;
    const passing = faultsOf(random, challenge, () => (met += 1));
    const registry = await startTestRegistry({
      mounts: random() < 0.5,
      location: random() < 0.5 ? 'absolute' : 'relative',
      authorize: ({ headers }) =>
        headers.authorization?.startsWith('Bearer t') === true ? undefined : { status: 401, challenge },
      fault: (seen) => (isPulling && lasting?.fits(seen) === true ? lasting.fault : passing(seen)),
    });
    await using bench = openBench();
    const image = makeImage(SIZES, round % 17);
    const settings = {
      ...(random() < 0.4 ? { chunkSize: CHUNK } : {}),
      inlineConfigs: [
        {
          name: 'chaos',
          text: JSON.stringify({ auths: { [registry.host]: { username: 'u', password: 'p' } } }),
        },
      ],
    };
    const where = `round ${round} (seed ${seed})`;
    try {
      const client = bench.client(settings);
      const place = reference(registry.host);
      keep(bench.store, image);
      const sink = client.sink(place);
      await copyImage(image.root, bench.store, sink, bench.io);
      await sink.tag(place, image.root, bench.io);
      wrong.push(...missing(registry, image).map((what) => `${where}: ${what}`));
      mostResent = Math.max(mostResent, resentPerFault(registry, met));
      for (const digest of bench.store.list()) bench.store.remove(digest);
      isPulling = true;
      const source = client.source(place);
      const root = await source.resolve(place, bench.io);
      if (root.digest !== image.root.digest) wrong.push(`${where}: resolved to ${root.digest}`);
      await copyImage(root, source, bench.store, bench.io);
      if (lasting !== undefined) wrong.push(`${where}: a lasting fault did not show`);
      for (const digest of image.blobs.keys())
        if (bench.store.size(digest as typeof image.root.digest) === undefined)
          wrong.push(`${where}: ${digest} was not pulled`);
      succeeded += 1;
    } catch (error) {
      const code = isTsbuildError(error) ? error.code : String(error);
      if (lasting?.codes.includes(code as ErrorCode) !== true)
        wrong.push(`${where}: ${code}: ${error instanceof Error ? error.message : ''}`);
      refused[code] = (refused[code] ?? 0) + 1;
    }
    for (const digest of bench.store.list())
      if (digestOf(await bench.store.read(digest, 1 << 24)) !== digest)
        wrong.push(`${where}: ${digest} is damaged in the store`);
    faults += met;
    await registry[Symbol.asyncDispose]();
    wrong.push(...registry.violations.map((what) => `${where}: ${what}`));
  }
  return { rounds, succeeded, refused, faults, wrong, mostResent };
}

/** Gives everybody a token, now and then an error first. */
async function startTokens(): Promise<AsyncDisposable & { readonly realm: string }> {
  let made = 0;
  const server = createServer((_, response) => {
    made += 1;
    if (made % 5 === 0) response.writeHead(503).end();
    else response.end(JSON.stringify({ token: `t${made}`, expires_in: 60 }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    realm: `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

function missing(registry: TestRegistry, image: TestImage): readonly string[] {
  const there = registry.state.repository('team/app');
  const lost = [...image.blobs].filter(([digest, bytes]) => there.blobs.get(digest)?.equals(bytes) !== true);
  return [
    ...lost.map(([digest]) => `${digest} did not arrive`),
    ...(there.tags.get('1') === image.root.digest ? [] : ['the tag does not lead to the image']),
  ];
}

/** Bytes of uploads beyond the image's own, for each fault. */
function resentPerFault(registry: TestRegistry, faults: number): number {
  const sent = registry.log
    .filter(({ method, url }) => (method === 'PUT' || method === 'PATCH') && url.includes('/blobs/uploads/'))
    .reduce((sum, { headers }) => sum + Number(headers['content-length'] ?? 0), 0);
  const own = [...(registry.state.repositories.get('team/app')?.blobs.values() ?? [])].reduce(
    (sum, blob) => sum + blob.byteLength,
    0,
  );
  return faults === 0 ? 0 : Math.max(0, sent - own) / faults;
}
