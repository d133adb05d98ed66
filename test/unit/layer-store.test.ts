import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { digestOf, type DiffID } from '../../src/base/digest.ts';
import { openLayerStore } from '../../src/layer/layer-store.ts';
import { openUnsyncedNotes } from '../../src/layer/unsynced.ts';
import { bytesOf, storeLayer, testHost, writtenBack } from '../suites/layer-fixture.ts';

describe('layer store', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'tsbuild-layers-'));
  });
  afterEach(() => {
    rmSync(root, { recursive: true, force: true });
  });

  test('a layer is named by the digest of its bytes, and read again', async () => {
    const layers = openLayerStore(root, testHost);
    const made = storeLayer(layers, Buffer.from('some bytes'));
    assert.equal(made.diffID, digestOf('some bytes'));
    const found = openLayerStore(root, testHost).get(made.diffID);
    assert.equal(found?.size, 10);
    assert.equal((await bytesOf(found)).toString(), 'some bytes');
    assert.equal((await bytesOf(found)).toString(), 'some bytes');
    assert.deepEqual([...layers.list()], [made.diffID]);
  });

  test('committing the same bytes twice keeps one layer', () => {
    const layers = openLayerStore(root, testHost);
    storeLayer(layers, Buffer.from('twice'));
    storeLayer(layers, Buffer.from('twice'));
    assert.equal([...layers.list()].length, 1);
    assert.deepEqual(readdirSync(join(root, 'partial')), []);
  });

  test('a layer that is not committed leaves nothing', () => {
    const layers = openLayerStore(root, testHost);
    const writer = layers.create();
    writer.write(Buffer.from('half'));
    writer[Symbol.dispose]();
    writer[Symbol.dispose]();
    assert.deepEqual(readdirSync(join(root, 'partial')), []);
    assert.deepEqual([...layers.list()], []);
    assert.throws(() => {
      writer.write(Buffer.from('late'));
    });
  });

  test('remove is idempotent, and what is not there is undefined', () => {
    const layers = openLayerStore(root, testHost);
    const { diffID } = storeLayer(layers, Buffer.from('x'));
    layers.remove(diffID);
    layers.remove(diffID);
    assert.equal(layers.get(diffID), undefined);
    assert.equal(layers.get(digestOf('never') as DiffID), undefined);
  });

  test('what a killed process was writing is swept', () => {
    mkdirSync(join(root, 'partial'), { recursive: true });
    writeFileSync(join(root, 'partial', '1.1.1'), 'left');
    using writer = openLayerStore(root, testHost).create();
    writer.write(Buffer.from('x'));
    assert.ok(!readdirSync(join(root, 'partial')).includes('1.1.1'));
    assert.equal(readdirSync(join(root, 'partial')).length, 1);
  });

  test('layers that no sync covered before a crash are gone, others stay', async () => {
    const layers = openLayerStore(root, testHost);
    const synced = storeLayer(layers, Buffer.from('synced'));
    await writtenBack(layers.unsynced());
    const torn = storeLayer(layers, Buffer.from('torn'));
    crash();
    const later = openLayerStore(root, testHost);
    assert.equal(later.get(torn.diffID), undefined);
    assert.equal(later.get(synced.diffID)?.size, 6);
  });

  test('another process of the same boot trusts what is not synced yet', () => {
    const { diffID } = storeLayer(openLayerStore(root, testHost), Buffer.from('fresh'));
    assert.equal(openLayerStore(root, testHost).get(diffID)?.size, 5);
  });

  test('a sync takes back the notes of its own process alone, while another may still be making what its are of', () => {
    const isThere = (): boolean => false;
    const notes = openUnsyncedNotes(join(root, 'unsynced'), testHost, () => undefined, isThere);
    const other = openUnsyncedNotes(join(root, 'unsynced'), testHost, () => undefined, isThere);
    notes.note('mine');
    other.note('theirs');
    for (const note of notes.take()) rmSync(note);
    assert.deepEqual(notes.take(), []);
    crash();
    const distrusted: string[] = [];
    openUnsyncedNotes(join(root, 'unsynced'), testHost, (name) => distrusted.push(name), isThere);
    openUnsyncedNotes(join(root, 'unsynced'), testHost, (name) => distrusted.push(name), isThere);
    assert.deepEqual(distrusted, ['theirs']);
  });

  test('notes of killed processes do not stay, whether what they are of is there or was removed', () => {
    const isThere = (name: string): boolean => name.startsWith('there');
    const note = (host: typeof testHost, ...names: readonly string[]): void => {
      const notes = openUnsyncedNotes(join(root, 'unsynced'), host, () => undefined, isThere);
      for (const name of names) notes.note(name);
    };
    // Process 1 did not start with the machine's first tick.
    note({ ...testHost, unique: () => '1.0.1' }, 'there1', 'gone');
    note(testHost, 'there2', 'perhaps');
    const notes = openUnsyncedNotes(join(root, 'unsynced'), testHost, () => undefined, isThere);
    notes.note('mine');
    for (const path of notes.take()) rmSync(path);
    const [boot = ''] = readdirSync(join(root, 'unsynced'));
    const left = readdirSync(join(root, 'unsynced', boot)).map((name) => name.split('.')[0]);
    assert.deepEqual(left, ['perhaps']);
  });

  /** The machine starts again: the notes are of an earlier boot. */
  function crash(): void {
    const [boot] = readdirSync(join(root, 'unsynced'));
    renameSync(join(root, 'unsynced', boot ?? ''), join(root, 'unsynced', 'earlier'));
  }
});
