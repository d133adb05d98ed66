/** Referrers: the API, pages, filters, the tag where there is no API, and a registry that takes the tag for a digest. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { digestOf } from '../../src/base/digest.ts';
import { copyImage } from '../../src/content/copy-image.ts';
import { MEDIA_TYPES, type Descriptor } from '../../src/oci/documents.ts';
import type { Registry } from '../../src/registry/registry.ts';
import {
  keep,
  makeImage,
  openBench,
  reference,
  rejects,
  type Bench,
  type TestImage,
} from '../registry/fixture.ts';
import { startTestRegistry, type TestRegistry, type TestRegistryOptions } from '../registry/test-registry.ts';

let bench: Bench;
const started: TestRegistry[] = [];
beforeEach(() => {
  bench = openBench();
});
afterEach(async () => {
  await bench[Symbol.asyncDispose]();
  for (const each of started.splice(0)) {
    await each[Symbol.asyncDispose]();
    assert.deepEqual(each.violations, []);
  }
});

async function start(options: TestRegistryOptions = {}): Promise<TestRegistry> {
  const registry = await startTestRegistry(options);
  started.push(registry);
  return registry;
}

async function pushImage(client: Registry, registry: TestRegistry): Promise<TestImage> {
  const image = makeImage([100]);
  keep(bench.store, image);
  await copyImage(image.root, bench.store, client.sink(reference(registry.host)), bench.io);
  return image;
}

async function attach(
  client: Registry,
  registry: TestRegistry,
  subject: Descriptor,
  artifactType: string,
): Promise<Descriptor> {
  const config = { mediaType: MEDIA_TYPES.empty, ...bench.store.write('{}') };
  const manifest = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.manifest,
    artifactType,
    config,
    layers: [config],
    subject,
    annotations: { is: artifactType },
  };
  const root = { mediaType: MEDIA_TYPES.manifest, ...bench.store.write(JSON.stringify(manifest)) };
  await copyImage(root, bench.store, client.sink(reference(registry.host)), bench.io);
  return root;
}

async function list(
  client: Registry,
  registry: TestRegistry,
  subject: Descriptor,
  artifactType?: string,
): Promise<readonly string[]> {
  const found = await client.referrers(reference(registry.host), subject.digest, {
    ...bench.io,
    ...(artifactType === undefined ? {} : { artifactType }),
  });
  return found.map(({ digest, artifactType: type = '' }) => `${type} ${digest}`).sort();
}

for (const referrersApi of [true, false])
  test(`C18: what was attached is listed, ${referrersApi ? 'by the API, page by page' : 'by the tag'}`, async () => {
    const registry = await start({ referrersApi, pageSize: 2 });
    const client = bench.client();
    const image = await pushImage(client, registry);
    assert.deepEqual(await list(client, registry, image.root), []);
    const made = [];
    for (const type of ['application/a', 'application/b', 'application/c'])
      made.push(`${type} ${(await attach(client, registry, image.root, type)).digest}`);
    assert.deepEqual(await list(client, registry, image.root), made);
    assert.deepEqual(await list(client, registry, image.root, 'application/b'), [made[1]]);
    const tag = registry.state.repository('team/app').tags.has(`sha256-${image.root.digest.slice(7)}`);
    assert.equal(tag, !referrersApi);
  });

test('C18: the list under the tag is sorted, has each once, and keeps types and annotations', async () => {
  const registry = await start({ referrersApi: false });
  const client = bench.client();
  const image = await pushImage(client, registry);
  await attach(client, registry, image.root, 'application/a');
  await attach(client, registry, image.root, 'application/b');
  await attach(bench.client(), registry, image.root, 'application/a');
  const repository = registry.state.repository('team/app');
  const digest = repository.tags.get(`sha256-${image.root.digest.slice(7)}`) ?? '';
  const index = JSON.parse(repository.manifests.get(digest)?.bytes.toString() ?? '') as {
    manifests: (Descriptor & { artifactType: string })[];
  };
  assert.equal(index.manifests.length, 2);
  assert.deepEqual(
    index.manifests.map((each) => each.digest),
    index.manifests.map((each) => each.digest).sort(),
  );
  assert.ok(index.manifests.every((each) => each.annotations?.['is'] === each.artifactType));
});

test('C18: a registry that resolves the tag to the image itself gives no referrers', async () => {
  const registry = await start({ referrersApi: false });
  const client = bench.client();
  const image = makeImage([100]);
  keep(bench.store, image);
  const index = bench.store.write(
    JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests: [image.root] }),
  );
  const root = { mediaType: MEDIA_TYPES.index, ...index };
  await copyImage(root, bench.store, client.sink(reference(registry.host)), bench.io);
  registry.state.repository('team/app').tags.set(`sha256-${root.digest.slice(7)}`, root.digest);
  assert.deepEqual(await list(client, registry, root), []);
});

test('C18: a tag that is an image is not overwritten', async () => {
  const registry = await start({ referrersApi: false });
  const client = bench.client();
  const image = await pushImage(client, registry);
  const other = makeImage([50], 3);
  keep(bench.store, other);
  await copyImage(other.root, bench.store, client.sink(reference(registry.host)), bench.io);
  registry.state.repository('team/app').tags.set(`sha256-${image.root.digest.slice(7)}`, other.root.digest);
  await rejects(
    attach(client, registry, image.root, 'application/a'),
    'REGISTRY_PROTOCOL',
    /not a list of referrers/,
  );
});

test('C19: OCI-Subject means that nothing has to be written', async () => {
  const registry = await start();
  const client = bench.client();
  const image = await pushImage(client, registry);
  await attach(client, registry, image.root, 'application/a');
  assert.equal(registry.state.repository('team/app').tags.size, 0);
  await attach(bench.client({ referrers: 'tag' }), registry, image.root, 'application/b');
  assert.equal(registry.state.repository('team/app').tags.size, 1);
});

test('C18: an API that answers with 400 or 404 is none', async () => {
  for (const status of [400, 404]) {
    const registry = await start({
      fault: ({ url }) => (url.includes('/referrers/') ? { kind: 'status', status } : undefined),
    });
    assert.deepEqual(
      await list(bench.client(), registry, { mediaType: 'x', digest: digestOf('x'), size: 1 }),
      [],
    );
  }
});
