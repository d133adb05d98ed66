/** What we pack is read by others as we meant it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { digestOf, hexOf } from '../../src/base/digest.ts';
import { openLayerStore } from '../../src/layer/layer-store.ts';
import type { Layer } from '../../src/layer/layer.ts';
import { openSnapshotter } from '../../snapshotter/open.ts';
import {
  bytesOf,
  changeInside,
  describeTree,
  temporaryDirectory,
  testHost,
} from '../suites/layer-fixture.ts';

const FIRST = `
mkdir -p keep gone/deep remade
echo one > keep/file; echo two > gone/deep/file; echo three > remade/old; echo four > plain
cp /bin/true keep/capable; setcap cap_net_raw+ep keep/capable 2>/dev/null || true
ln keep/file keep/hard; ln -s ../plain keep/soft; mkfifo keep/fifo; mknod keep/null c 1 3
chmod 6755 plain; chown 1234:70000 keep/file; touch keep/$(printf 'x%.0s' $(seq 1 200)) keep/$(printf 'caf\\303\\251')
`;
const SECOND = `
rm -r gone; rm -r remade; mkdir remade; echo new > remade/new; rm plain; mkdir plain; echo in > plain/in
echo more >> keep/hard
`;

test('umoci unpacks our layers to the state that we show', async () => {
  using temporary = temporaryDirectory();
  const root = temporary.path;
  const store = openLayerStore(join(root, 'layers'), testHost);
  const snapshots = openSnapshotter({ root, host: testHost, layers: store, driver: 'overlay' });
  await using first = await snapshots.prepare(undefined);
  changeInside(first.mounts, FIRST);
  const below = await first.commit();
  await using second = await snapshots.prepare(below.snapshot.name);
  changeInside(second.mounts, SECOND);
  const top = await second.commit();
  await writeLayout(join(root, 'oci'), [below.layer, top.layer]);
  const run = spawnSync('umoci', ['unpack', '--image', `${root}/oci:test`, join(root, 'bundle')], {
    encoding: 'utf8',
  });
  assert.equal(run.status, 0, run.stderr);
  await using view = await snapshots.view(top.snapshot.name);
  const theirs = describeTree([{ kind: 'bind', source: join(root, 'bundle', 'rootfs'), readonly: true }]);
  assert.deepEqual(describeTree(view.mounts), theirs);
});

/** A minimal OCI image layout with the tars as they are. */
async function writeLayout(at: string, layers: readonly Layer[]): Promise<void> {
  const blobs = join(at, 'blobs', 'sha256');
  mkdirSync(blobs, { recursive: true });
  const put = (mediaType: string, bytes: Uint8Array): object => {
    const digest = digestOf(bytes);
    writeFileSync(join(blobs, hexOf(digest)), bytes);
    return { mediaType, digest, size: bytes.byteLength };
  };
  const json = (type: string, value: object): object =>
    put(`application/vnd.oci.image.${type}.v1+json`, Buffer.from(JSON.stringify(value)));
  const tars: object[] = [];
  for (const layer of layers) tars.push(put('application/vnd.oci.image.layer.v1.tar', await bytesOf(layer)));
  const config = json('config', {
    architecture: 'amd64',
    os: 'linux',
    config: {},
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffID }) => diffID) },
  });
  const manifest = json('manifest', {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config,
    layers: tars,
  });
  writeFileSync(join(at, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  const named = { ...manifest, annotations: { 'org.opencontainers.image.ref.name': 'test' } };
  writeFileSync(join(at, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [named] }));
}
