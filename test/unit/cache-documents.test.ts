/** Records and plans on their way: what is written is read, and what is hostile is refused. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from '../suites/properties.ts';
import { chainIDOf, digestOf, type DiffID } from '../../src/base/digest.ts';
import { isTsbuildError } from '../../src/base/errors.ts';
import { canonicalJson, type Json } from '../../src/base/json.ts';
import {
  documentOf,
  inlineData,
  parsePlans,
  PLAN_TYPE,
  plansManifest,
  stepManifest,
  STEP_TYPE,
} from '../../src/engine/cache/artifacts.ts';
import { INLINE_ANNOTATION, inlineAnnotation, inlinePlan } from '../../src/engine/cache/inline-plan.ts';
import { parsePlan, serializePlan, type Plan } from '../../src/engine/cache/plan-document.ts';
import { parseStep, serializeStep, type TravellingStep } from '../../src/engine/cache/step-document.ts';
import { MEDIA_TYPES, type Descriptor, type ImageConfig, type Manifest } from '../../src/oci/documents.ts';
import { parseManifestOrIndex } from '../../src/oci/parse.ts';
import type { StepRecord } from '../../src/solver/handler.ts';

const layer = (name: string): DiffID => digestOf(name) as DiffID;

function record(named: Record<string, Json> = { kind: 'run', args: ['true'] }): StepRecord {
  return {
    key: digestOf(canonicalJson(named)),
    named,
    result: {
      kind: 'stack',
      layers: [{ diffID: layer('a'), created: 5 }],
      chain: chainIDOf(undefined, layer('a')),
    },
    tookMs: 3,
    finished: 1_700_000_000_000,
  };
}

function step(named?: Record<string, Json>): TravellingStep {
  const blob = { mediaType: MEDIA_TYPES.layerGzip, digest: digestOf('blob'), size: 4 };
  return { record: record(named), blobs: new Map([[layer('a'), blob]]) };
}

const bytes = (value: unknown): Buffer =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));

function refuses(work: () => unknown, message = /./): void {
  assert.throws(work, (error) => isTsbuildError(error, 'CACHE_INVALID') && message.test(error.message));
}

/** The document of a step, changed. */
function changed(change: (value: Record<string, Record<string, unknown>>) => void): Buffer {
  const value = JSON.parse(serializeStep(step())) as Record<string, Record<string, unknown>>;
  change(value);
  return bytes(value);
}

test('a step is read as it was written', () => {
  const written = step();
  assert.deepEqual(parseStep(bytes(serializeStep(written)), written.record.key), written);
});

test('any named inputs come through: the key is that of what was read', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (named) => {
      const written = step(JSON.parse(JSON.stringify(named)) as Record<string, Json>);
      assert.deepEqual(
        parseStep(bytes(serializeStep(written)), written.record.key).record.key,
        written.record.key,
      );
    }),
  );
});

test('a record under a key that is not the digest of its inputs is refused', () => {
  const { key } = record();
  refuses(
    () =>
      parseStep(
        changed((value) => (value['record'] = { ...value['record'], named: { kind: 'evil' } })),
        key,
      ),
    /key is not that/,
  );
  refuses(() => parseStep(bytes(serializeStep(step({ kind: 'other' }))), key), /no record/);
});

test('documents that are no documents are refused, whatever they are', () => {
  const { key } = record();
  for (const garbage of ['', '{', '[]', 'null', '"x"', '{"version":2}', Buffer.from([0xff, 0xfe])])
    refuses(() => parseStep(Buffer.from(garbage), key));
  refuses(() => parseStep(Buffer.alloc((1 << 20) + 1, ' '), key), /more than/);
  refuses(() =>
    parseStep(
      changed((value) => delete value['blobs']),
      key,
    ),
  );
  refuses(
    () =>
      parseStep(
        changed((value) => (value['blobs'] = { '../x': {} })),
        key,
      ),
    /no diffID/,
  );
});

test('nested deeper than a stack, a document is refused and not a crash', () => {
  const { key } = record();
  const deep = `${'{"a":'.repeat(150_000)}1${'}'.repeat(150_000)}`;
  refuses(() =>
    parseStep(
      bytes(
        `{"version":1,"blobs":{},"record":{"key":"${key}","named":{"x":${deep}},"result":{"kind":"stack","layers":[]},"tookMs":1,"finished":1}}`,
      ),
      key,
    ),
  );
});

test('results that are no stacks, layers and times that make no sense are refused', () => {
  const { key } = record();
  const withResult = (result: unknown): Buffer =>
    changed((value) => (value['record'] = { ...value['record'], result }));
  refuses(() => parseStep(withResult({ kind: 'context', name: '/etc' }), key));
  refuses(() =>
    parseStep(withResult({ kind: 'file', blob: digestOf('x'), size: 1, filename: 'x', mtime: 1 }), key),
  );
  refuses(() => parseStep(withResult({ kind: 'stack', layers: [{ diffID: 'sha256:x', created: 1 }] }), key));
  refuses(() =>
    parseStep(withResult({ kind: 'stack', layers: [{ diffID: layer('a'), created: 1e300 }] }), key),
  );
  refuses(() =>
    parseStep(
      withResult({ kind: 'stack', layers: Array(1001).fill({ diffID: layer('a'), created: 1 }) }),
      key,
    ),
  );
  refuses(() =>
    parseStep(
      changed((value) => (value['record'] = { ...value['record'], finished: -1 })),
      key,
    ),
  );
});

test('blobs that are no layers are refused', () => {
  const { key } = record();
  const withBlob = (blob: unknown): Buffer => changed((value) => (value['blobs'] = { [layer('a')]: blob }));
  refuses(() => parseStep(withBlob({ mediaType: 'text/html', digest: digestOf('x'), size: 1 }), key));
  refuses(() => parseStep(withBlob({ mediaType: MEDIA_TYPES.layer, digest: 'md5:x', size: 1 }), key));
  refuses(() => parseStep(withBlob({ mediaType: MEDIA_TYPES.layer, digest: digestOf('x'), size: -1 }), key));
});

function plan(): Plan {
  return {
    records: [record(), record({ kind: 'copy' })],
    blobs: step().blobs,
    contents: new Map([[digestOf('question'), digestOf('files')]]),
    documents: ['{"config":{}}'],
    image: digestOf('image'),
  };
}

test('a plan is read as it was written, and the same plan is the same bytes', () => {
  assert.deepEqual(parsePlan(serializePlan(plan())), plan());
  assert.deepEqual(serializePlan(plan()), serializePlan(plan()));
});

test('plans that are bombs or lies are refused', () => {
  refuses(() => parsePlan(gzipSync(Buffer.alloc((32 << 20) + 1, ' '))), /decompressed/);
  refuses(() => parsePlan(Buffer.from('no gzip')));
  const lie = { version: 1, records: [{ ...record(), named: {} }], blobs: {}, contents: {}, documents: [] };
  refuses(() => parsePlan(gzipSync(JSON.stringify(lie))));
  refuses(() => parsePlan(gzipSync(JSON.stringify({ ...lie, records: [], contents: { x: 'y' } }))));
  refuses(() => parsePlan(gzipSync(JSON.stringify({ ...lie, records: [], documents: [1] }))));
});

test('a step stands in its manifest while it is small, and is a layer where there is none', () => {
  const document = documentOf(STEP_TYPE, serializeStep(step()));
  const manifest = parseManifestOrIndex(stepManifest(document, []).bytes, 'x');
  if (manifest.kind !== 'manifest') throw new Error('an index');
  assert.deepEqual(inlineData(manifest.manifest.config), Buffer.from(document.bytes));
  assert.deepEqual(
    manifest.manifest.layers.map(({ digest }) => digest),
    [document.descriptor.digest],
  );
  const large = documentOf(STEP_TYPE, serializeStep(step({ kind: 'run', args: ['x'.repeat(100_000)] })));
  assert.doesNotMatch(Buffer.from(stepManifest(large, []).bytes).toString(), /"data"/);
});

test('data in a descriptor that is not what it names does not count', () => {
  const { descriptor } = documentOf(STEP_TYPE, 'good');
  assert.equal(inlineData({ ...descriptor, data: Buffer.from('evil').toString('base64') }), undefined);
});

test('plans of several builds share an artifact, each with its layers', () => {
  const blob = (name: string, mediaType = MEDIA_TYPES.layerGzip as string) =>
    documentOf(mediaType, name).descriptor;
  const entries = ['one', 'two'].map((id, index) => ({
    id,
    title: `linux/amd64 ${id}`,
    written: index,
    document: blob(`plan ${id}`, PLAN_TYPE),
    layers: index === 0 ? [] : [blob('a'), blob('b')],
  }));
  const { table, manifest } = plansManifest(entries);
  const parsed = parseManifestOrIndex(manifest.bytes, 'x');
  if (parsed.kind !== 'manifest') throw new Error('an index');
  assert.deepEqual(parsePlans(parsed.manifest, table.bytes), entries);
  refuses(() => parsePlans({ ...parsed.manifest, layers: parsed.manifest.layers.slice(1) }, table.bytes));
  refuses(() =>
    parsePlans(
      parsed.manifest,
      bytes({ version: 1, plans: [{ id: 'x', title: 'x', written: 1, layers: -1 }] }),
    ),
  );
});

describe('a plan in an image', () => {
  const draft = {
    records: [{ ...record(), causes: [{ kind: 'new' as const }] }],
    ...{ contents: new Map([[digestOf('k'), digestOf('c')]]), documents: ['{}'] },
  };
  const image = {
    ...{ id: digestOf('image'), tags: [], manifest: undefined },
    config: { rootfs: { type: 'layers', diff_ids: [layer('base'), layer('a')] } } as unknown as ImageConfig,
  };
  const blob = (name: string, mediaType: string = MEDIA_TYPES.layerGzip): Descriptor => ({
    ...{ mediaType, digest: digestOf(name), size: 4 },
  });
  const manifest = (text: string | undefined, ...layers: readonly Descriptor[]): Manifest => ({
    ...{
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.manifest,
      config: blob('config', MEDIA_TYPES.config),
      layers,
    },
    ...(text === undefined ? {} : { annotations: { [INLINE_ANNOTATION]: text } }),
  });
  const text = inlineAnnotation(draft, image);

  test('is read as it was written, with the blobs that the manifest has now', () => {
    const plan = inlinePlan(manifest(text, blob('1'), blob('2', MEDIA_TYPES.layerZstd)));
    assert.deepEqual(plan?.records, [record()], 'without causes');
    assert.deepEqual([plan.contents, plan.documents], [draft.contents, draft.documents]);
    assert.deepEqual(
      [...plan.blobs],
      [
        [layer('base'), blob('1')],
        [layer('a'), blob('2', MEDIA_TYPES.layerZstd)],
      ],
    );
  });

  test('has no blobs where the manifest has other layers, or what is no layer', () => {
    assert.equal(inlinePlan(manifest(text, blob('1')))?.blobs.size, 0);
    assert.equal(inlinePlan(manifest(text, blob('1'), blob('2', 'text/plain')))?.blobs.size, 1);
    assert.equal(inlinePlan(manifest(undefined, blob('1'))), undefined);
  });

  test('goes without documents where it is too large with them, and not at all where it is still', () => {
    const noise = (size: number): string => randomBytes(size).toString('base64');
    const large = inlineAnnotation({ ...draft, documents: [noise(2 << 20)] }, image);
    assert.deepEqual(inlinePlan(manifest(large, blob('1'), blob('2')))?.documents, []);
    const records = [{ ...record(), named: { noise: noise(2 << 20) } }];
    assert.equal(inlineAnnotation({ ...draft, records }, image), undefined);
  });

  test('with layers that are none is refused', () => {
    const bad = serializePlan({ ...draft, blobs: new Map(), layers: ['x' as DiffID] }).toString('base64');
    refuses(() => inlinePlan(manifest(bad)), /its layers are no diffIDs/);
    refuses(() => inlinePlan(manifest('####')));
  });
});
