import assert from 'node:assert/strict';
import { test } from 'node:test';
import { layerEntryOf } from '../../src/layer/archive-entry.ts';
import type { TarEntry } from '../../src/layer/tar-header.ts';

const FILE: TarEntry = { path: 'f', type: 'file', mode: 0o644, uid: 0, gid: 0, size: 0, mtime: 0 };

test('of xattrs a layer keeps capabilities, without the header that they lay in', () => {
  const header = new Uint8Array(1 << 16).fill(7);
  const xattrs = new Map([
    ['user.k', header],
    ['security.capability', header.subarray(4, 24)],
  ]);
  const kept = layerEntryOf({ ...FILE, xattrs }).xattrs;
  assert.deepEqual([...(kept?.keys() ?? [])], ['security.capability']);
  const capability = kept?.get('security.capability');
  assert.equal(capability?.byteLength, 20);
  assert.equal(capability.buffer.byteLength, 20);
  assert.equal('xattrs' in layerEntryOf({ ...FILE, xattrs: new Map([['user.k', header]]) }), false);
});

test('what no file of an image can be is refused', () => {
  const refused: readonly (readonly [Partial<TarEntry>, RegExp])[] = [
    [{ path: `d/${'n'.repeat(256)}` }, /a name of 256 bytes: 255 are the most/],
    [{ path: 'd/.wh.f' }, /"d\/\.wh\.f", a name that means a deletion/],
    [{ type: 'char', major: 4096, minor: 0 }, /a device 4096:0/],
    [{ type: 'block', major: 1, minor: 1 << 20 }, /a device 1:1048576/],
    [{ xattrs: new Map([['security.capability', new Uint8Array(65)]]) }, /capabilities of 65 bytes/],
  ];
  for (const [part, message] of refused)
    assert.throws(() => layerEntryOf({ ...FILE, ...part }), { code: 'ARCHIVE_INVALID', message });
});

test('what is at a limit is kept', () => {
  const entry: TarEntry = { ...FILE, type: 'char', path: 'n'.repeat(255), major: 4095, minor: (1 << 20) - 1 };
  assert.deepEqual(layerEntryOf(entry), entry);
});
