/** An image whose documents and layers are named by sha512 goes through layouts, archives and the store as it is. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { digestOf } from '../../src/base/digest.ts';
import { MEDIA_TYPES } from '../../src/oci/documents.ts';
import { openWorkspace } from './fixture.ts';

/** Its manifest's digest. */
function makeLayout(directory: string): string {
  const blobs = join(directory, 'blobs/sha512');
  mkdirSync(blobs, { recursive: true });
  const put = (
    mediaType: string,
    bytes: Buffer,
  ): { readonly mediaType: string; readonly digest: string; readonly size: number } => {
    const hex = createHash('sha512').update(bytes).digest('hex');
    writeFileSync(join(blobs, hex), bytes);
    return { mediaType, digest: `sha512:${hex}`, size: bytes.byteLength };
  };
  const json = (value: object): Buffer => Buffer.from(JSON.stringify(value));
  writeFileSync(join(directory, 'hello'), 'hi');
  const tar = execFileSync('tar', ['-C', directory, '-cf', '-', 'hello']);
  const layers = [put(MEDIA_TYPES.layer, tar)];
  const rootfs = { type: 'layers', diff_ids: [digestOf(tar)] };
  const config = put(MEDIA_TYPES.config, json({ os: 'linux', architecture: 'amd64', config: {}, rootfs }));
  const document = { schemaVersion: 2, mediaType: MEDIA_TYPES.manifest, config, layers };
  const manifest = put(MEDIA_TYPES.manifest, json(document));
  const named = { ...manifest, annotations: { 'org.opencontainers.image.ref.name': '1' } };
  writeFileSync(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(join(directory, 'index.json'), json({ schemaVersion: 2, manifests: [named] }));
  return manifest.digest;
}

test('C17: an image by sha512 keeps its name through archive, layout, store and prune', () => {
  using space = openWorkspace();
  const digest = makeLayout(join(space.directory, 'from'));
  const copy = (from: string, to: string): void =>
    assert.equal(space.ok(['copy', from, to]).stdout.trim(), digest, `${from} ${to}`);
  copy('oci:from:1', 'oci-archive:a.tar:1');
  copy(`oci-archive:a.tar@${digest}`, 'oci:second:1');
  copy('oci:second:1', 'store:kept:1');
  space.ok(['system', 'prune']);
  space.ok(['system', 'check']);
  copy('store:kept:1', 'oci:third:1');
  const [algorithm = '', hex = ''] = digest.split(':');
  const bytes = readFileSync(join(space.directory, 'third/blobs', algorithm, hex));
  assert.equal(createHash('sha512').update(bytes).digest('hex'), hex);
});
