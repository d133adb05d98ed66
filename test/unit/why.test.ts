/** Comparing executions of steps: files, the choice of what to compare with, what is kept for it. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import fc from '../suites/properties.ts';
import { digestOf, type CacheKey } from '../../src/base/digest.ts';
import type { Host } from '../../src/base/host.ts';
import type { Cause } from '../../src/progress/cause.ts';
import { createVertex } from '../../src/graph/graph.ts';
import type { RunOp } from '../../src/graph/ops.ts';
import type { NamedInputs } from '../../src/solver/handler.ts';
import {
  entriesOf,
  entryPiece,
  selectedPiece,
  type ListedEntry,
  type Listing,
  type ListingText,
} from '../../src/solver/listing.ts';
import { openRecordStore, parseRecord } from '../../src/solver/records.ts';
import { compareExecutions } from '../../src/solver/why/compare.ts';
import {
  compareFiles,
  type CompareFilesOptions,
  type FileChanges,
} from '../../src/solver/why/compare-files.ts';
import { describeCause, summarize } from '../../src/solver/why/describe.ts';
import { countFiles, differenceOf } from '../../src/solver/why/listing-difference.ts';
import { openDocuments } from '../../src/solver/why/documents.ts';
import { GivenUp, type Execution } from '../../src/solver/why/execution.ts';
import { openJournals, type JournalLine } from '../../src/solver/why/journal.ts';
import { candidatesFor, similarity } from '../../src/solver/why/nearest.ts';
import { createExplainer } from '../../src/solver/why/explainer.ts';
import type { StepOrigin } from '../../src/solver/why/origin.ts';

let root: string;
let names = 0;
const host: Host = { now: () => 1, unique: () => `t${(names += 1)}` };
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'tsbuild-why-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const ALL = { withoutModes: false, withoutOwners: false, most: Infinity };

type Entries = ReadonlyMap<string, ListedEntry>;

/** Of all entries, each looked for in the other listing. */
function changesOf(before: Entries, after: Entries, options: CompareFilesOptions = ALL): FileChanges {
  const comparison = compareFiles(options);
  for (const [path, entry] of after) {
    const old = before.get(path);
    if (old !== undefined) comparison.entry(path, old, entry);
  }
  const alone = (entries: Entries, others: Entries): Entries =>
    new Map([...entries].filter(([path]) => !others.has(path)));
  return comparison.finish(alone(before, after), alone(after, before));
}

/** Of texts of listings that come in parts of so many bytes. */
function changesOfTexts(before: string, after: string, size = Infinity): FileChanges {
  const comparison = compareFiles(ALL);
  const { gone, come } = differenceOf(inParts(before, size), inParts(after, size), (...entry) =>
    comparison.entry(...entry),
  );
  return comparison.finish(gone, come);
}

/** Each part is gone once the next is asked for. */
function inParts(text: string, size = Infinity): ListingText {
  return function* () {
    const bytes = Buffer.from(text, 'latin1');
    for (let at = 0; at < bytes.byteLength; at += size) {
      const part = Buffer.from(bytes.subarray(at, at + size));
      yield part;
      part.fill(0xaa);
    }
  };
}

function entries(files: Readonly<Record<string, string>>): ReadonlyMap<string, ListedEntry> {
  return new Map(
    Object.entries(files).map(([path, content]) => [
      path.replace(/\/$/, ''),
      path.endsWith('/')
        ? { type: 'directory', mode: '755', owner: '', content: '' }
        : { type: 'file', mode: '644', owner: '', content: digestOf(content) },
    ]),
  );
}

test('a file that moved is one change, also where others of the same content stay', () => {
  const before = entries({ 'a/': '', 'a/x': '1', 'a/y': '1', 'b/': '' });
  const after = entries({ 'a/': '', 'a/y': '1', 'b/': '', 'b/x': '1' });
  assert.deepEqual(changesOf(before, after).changes, [{ change: 'renamed', path: 'b/x', from: 'a/x' }]);
});

test('of directories that moved only the moved one is named, and what else changed in it', () => {
  const before = entries({ 'a/': '', 'a/s/': '', 'a/s/1': '1', 'a/s/e': '', 'a/2': '2', 'k/': '' });
  const after = entries({
    'b/': '',
    'b/s/': '',
    'b/s/1': '1',
    'b/s/e': '',
    'b/2': '2',
    'k/': '',
    'b/new': 'n',
  });
  assert.deepEqual(changesOf(before, after).changes, [
    { change: 'renamed', path: 'b/', from: 'a/' },
    { change: 'added', path: 'b/new' },
  ]);
});

test('what changed in a directory that was renamed is named, too', () => {
  const before = entries({ 'a/': '', 'a/s/': '', 'a/s/1': '1', 'a/s/2': '2', 'a/3': '3', 'a/gone': 'g' });
  const after = entries({ 'b/': '', 'b/s/': '', 'b/s/1': '1', 'b/s/2': 'two', 'b/3/': '', 'b/3/in': 'i' });
  assert.deepEqual(changesOf(before, after).changes, [
    { change: 'content', path: 'b/s/2' },
    { change: 'type', path: 'b/3', before: 'file', after: 'directory' },
    { change: 'renamed', path: 'b/', from: 'a/' },
    { change: 'removed', path: 'a/gone' },
  ]);
});

test('an empty file that was renamed is one change, and directories that came and went are not', () => {
  const before = entries({ a: '', 'd/': '' });
  const after = entries({ b: '', 'e/': '' });
  assert.deepEqual(changesOf(before, after).changes, [
    { change: 'renamed', path: 'b', from: 'a' },
    { change: 'added', path: 'e/' },
    { change: 'removed', path: 'd/' },
  ]);
});

test('content and mode of one file are two changes of one file', () => {
  const after = new Map([['f', { type: 'file', mode: '755', owner: '', content: digestOf('2') }]]);
  assert.deepEqual(
    changesOf(entries({ f: '1' }), after).changes.map(({ change }) => change),
    ['content', 'mode'],
  );
  assert.deepEqual(
    changesOf(entries({ f: '1' }), after, { ...ALL, withoutModes: true }).changes.map(({ change }) => change),
    ['content'],
  );
});

test('of a file all changes are told or none, and it counts as one', () => {
  const after = new Map([['f', { type: 'file', mode: '755', owner: '', content: digestOf('2') }]]);
  const { changes, changed } = changesOf(entries({ f: '1', g: '1' }), after, { ...ALL, most: 2 });
  assert.deepEqual([changes.length, changed], [2, 2]);
  assert.deepEqual(changesOf(entries({ f: '1' }), after, { ...ALL, most: 1 }).changes, []);
});

test('what changed is never more than what there is or was', () => {
  const one = fc.option(fc.constantFrom('1', '2', ''), { nil: undefined });
  const paths = ['a', 'b', 'd/a', 'd/b', 'd/e/a', 'd/e/f', 'g/a', 'g/b'];
  const state = fc.tuple(...paths.map(() => one)).chain((contents) =>
    fc.constantFrom('755', '700').map((mode) => {
      const found = new Map<string, ListedEntry>();
      for (const [index, path] of paths.entries()) {
        const content = contents[index];
        if (content === undefined) continue;
        for (let at = path.indexOf('/'); at > 0; at = path.indexOf('/', at + 1))
          found.set(path.slice(0, at), { type: 'directory', mode, owner: '', content: '' });
        if (content !== '') found.set(path, { type: 'file', mode: '644', owner: '', content });
      }
      return found;
    }),
  );
  fc.assert(
    fc.property(state, state, (before, after) => {
      const { changed, beside, changes } = changesOf(before, after);
      const files = [...after.values()].filter(({ type }) => type === 'file').length;
      assert.ok(changed <= files + beside, JSON.stringify(changes));
      assert.equal(changed > 0, !isDeepStrictEqual(new Map(before), new Map(after)));
    }),
    { numRuns: 3000 },
  );
});

const line = (text: string, step: number): JournalLine => ({ key: digestOf(text) as CacheKey, step, text });

function chosen(
  text: string,
  step: number,
  lines: readonly JournalLine[],
  texts: readonly string[] = [],
): readonly string[] {
  const used = new Map(lines.map(({ key }, index) => [key, index]));
  return candidatesFor({ text, step }, lines, new Set([text, ...texts]), (key) => used.get(key)).map(
    (each) => each.text,
  );
}

test('a step is compared with the same text, wherever it stood', () => {
  const lines = [line('RUN b', 2), line('RUN a', 3)];
  assert.deepEqual(chosen('RUN b', 3, lines, ['RUN a']), ['RUN b']);
});

test('an instruction that was changed is compared with what stood there', () => {
  assert.deepEqual(chosen('RUN yarn install', 3, [line('RUN npm ci', 3)]), ['RUN npm ci']);
});

test('an instruction that was inserted is compared with nothing', () => {
  const lines = [line('RUN old', 3), line('RUN npm ci', 3)];
  assert.deepEqual(chosen('RUN touch /x', 3, lines, ['RUN npm ci']), []);
  assert.deepEqual(chosen('RUN touch /x', 3, [line('COPY a b', 3)]), []);
});

test('an instruction that was moved and changed is compared with the one most like it', () => {
  const lines = [line('RUN apk add curl git', 2), line('RUN make all', 5)];
  assert.deepEqual(chosen('RUN apk add curl git jq', 4, lines), ['RUN apk add curl git']);
  assert.equal(similarity('RUN a b', 'RUN b c'), 1 / 3);
});

test('records that are gone are not chosen', () => {
  assert.deepEqual(
    candidatesFor({ text: 'RUN a', step: 1 }, [line('RUN a', 1)], new Set(), () => undefined),
    [],
  );
});

const ORIGIN: StepOrigin = {
  stage: 's',
  step: 2,
  text: 'RUN x',
  variables: {},
  args: [],
  inputs: [{ kind: 'image', reference: 'b:1' }],
};

function execution(named: NamedInputs, origin: Partial<StepOrigin> = {}): Execution {
  return {
    named,
    origin: { ...ORIGIN, ...origin },
    listing: () => undefined,
    ignoreText: () => undefined,
  };
}

function compare(before: Execution, after: Execution): readonly Cause[] {
  return compareExecutions(before, after, {
    causesOfInput: () => [],
    linkedOnto: () => [],
    changedSteps: () => [],
  });
}

test('a part of the key that nothing has words for is named as it is', () => {
  const causes = compare(execution({ kind: 'run', odd: 1 }), execution({ kind: 'run', odd: 2 }));
  assert.deepEqual(causes, [{ kind: 'other', part: 'odd' }]);
  assert.deepEqual(compare(execution({ kind: 'run' }), execution({ kind: 'run' })), []);
});

test('files whose earlier list is gone have changed all the same', () => {
  const copy = (files: string): Execution =>
    execution(
      { kind: 'copy', sources: [{ files: digestOf(files) }] },
      {
        inputs: [
          { kind: 'image', reference: 'b' },
          { kind: 'context', name: 'context' },
        ],
        patterns: [['.']],
      },
    );
  const [cause] = compare(copy('1'), copy('2'));
  assert.equal(cause === undefined ? '' : describeCause(cause), 'files of the build context changed');
});

/** COPY of a context with these files, as the record of an execution has it. */
function copyOf(files: Readonly<Record<string, string>>, giveUpAt = Infinity): Execution {
  const text = [
    selectedPiece({ argument: 0, pivot: '', asked: '' }, 'directory'),
    ...Object.entries(files).map(([name, content]) => entryPiece(name, 'file', '644', '', content)),
  ].join('');
  const inputs: StepOrigin['inputs'] = [
    { kind: 'image', reference: 'b' },
    { kind: 'context', name: 'context' },
  ];
  return {
    ...execution({ kind: 'copy', sources: [{ files: digestOf(text) }] }, { inputs, patterns: [['.']] }),
    listing: () => inParts(text),
    giveUpAt,
  };
}

test('of how many files some changed counts what is gone', () => {
  const five = { a: '1', b: '2', c: '3', d: '4', e: '5' };
  assert.equal(
    summarize(compare(copyOf(five), copyOf({ c: '3' }))),
    '4 of 5 files of the build context changed: a, …',
  );
  assert.equal(
    summarize(compare(copyOf(five), copyOf({}))),
    '5 of 5 files of the build context changed: a, …',
  );
  assert.equal(
    summarize(compare(copyOf({ a: '1' }), copyOf({ b: '2' }))),
    '2 of 2 files of the build context changed: b, …',
  );
  assert.equal(summarize(compare(copyOf({ a: '1' }), copyOf({ b: '1' }))), 'a was renamed to b');
});

test('a comparison that cannot be the nearest any more is given up', () => {
  const [before, after] = [
    { a: '1', b: '1', c: '1' },
    { a: '2', b: '2', c: '1' },
  ];
  assert.throws(() => compare(copyOf(before, 2), copyOf(after)), GivenUp);
  assert.equal(compare(copyOf(before, 3), copyOf(after)).length, 1);
});

test('of several sources of an ADD the one that changed is named, in whatever order they are fetched', () => {
  const add = (fetched: string, files: string): Execution =>
    execution(
      { kind: 'copy', sources: [{ whole: fetched }, { inline: 'E' }, { files: digestOf(files) }] },
      {
        inputs: [
          { kind: 'image', reference: 'b' },
          { kind: 'context', name: 'context' },
          { kind: 'fetched', url: 'http://host/f' },
        ],
        patterns: [[], [], ['d']],
        sourceInputs: [2, null, 1],
      },
    );
  assert.deepEqual(compare(add('1', 'a'), add('2', 'a')), [
    { kind: 'source', source: 'http://host/f', before: '1', after: '2' },
  ]);
  assert.equal(summarize(compare(add('1', 'a'), add('1', 'b'))), 'files of the build context changed');
});

test('variables: value, order, and which of them are ARGs', () => {
  const run = (...env: readonly string[]): Execution => execution({ kind: 'run', env }, { args: ['A'] });
  assert.equal(summarize(compare(run('A=1', 'B=1'), run('A=2', 'B=1'))), 'ARG A changed from "1" to "2"');
  assert.equal(summarize(compare(run('B=1'), run('B=1', 'C=x=y'))), 'ENV C is new: "x=y"');
  assert.equal(summarize(compare(run('A=1', 'B=1'), run('B=1', 'A=1'))), 'the variables have another order');
});

test('another platform explains another base of the same name', () => {
  const on = (platform: string, parent: string): Execution =>
    execution(
      { kind: 'run', platform, parent },
      { platform, inputs: [{ kind: 'image', reference: 'b:1', image: digestOf(parent) }] },
    );
  assert.equal(
    summarize(compare(on('linux/amd64', '1'), on('linux/arm64', '2'))),
    'platform changed from "linux/amd64" to "linux/arm64"',
  );
  assert.match(
    summarize(compare(on('linux/amd64', '1'), on('linux/amd64', '2'))),
    /^the base image b:1 changed from sha256:/,
  );
});

test('another platform is the cause of a COPY, too, and not that its base is another image', () => {
  const on = (platform: string): Execution =>
    execution(
      { kind: 'copy', instruction: 'COPY', parent: platform },
      { inputs: [{ kind: 'image', reference: 'b:1', image: digestOf(platform), platform }] },
    );
  assert.deepEqual(compare(on('linux/amd64'), on('linux/arm64')), [
    { kind: 'setting', name: 'platform', before: 'linux/amd64', after: 'linux/arm64' },
  ]);
});

test('what a name of --from stands for is the cause where an image took the place of a directory', () => {
  const copy = (files: string, input: StepOrigin['inputs'][number]): Execution =>
    execution(
      { kind: 'copy', sources: [{ files: digestOf(files) }], destination: '/d' },
      { inputs: [{ kind: 'image', reference: 'b' }, input], patterns: [['.']], text: 'COPY --from=x . /d' },
    );
  const before = copy('1', { kind: 'context', name: 'x' });
  assert.deepEqual(compare(before, copy('2', { kind: 'image', reference: 'c:1' })), [
    { kind: 'setting', name: '--from', before: 'build context "x"', after: 'image c:1' },
  ]);
});

test('another from= of a mount is that option, and not that its files changed', () => {
  const run = (stage: string): Execution =>
    execution(
      { kind: 'run', mounts: [{ kind: 'bind', target: '/m', source: `sha256:${stage} /x`, input: null }] },
      { mountInputs: [1], inputs: [...ORIGIN.inputs, { kind: 'step', name: stage, stage }] },
    );
  assert.deepEqual(compare(run('a'), run('b')), [
    {
      ...{ kind: 'mount', mount: 'bind /m', change: 'option', option: 'from' },
      ...{ before: 'stage "a"', after: 'stage "b"' },
    },
  ]);
});

test('what a step has of its own is not named again for its mounts', () => {
  const run = (network: string): Execution =>
    execution(
      {
        ...{ kind: 'run', network },
        mounts: [{ kind: 'bind', target: '/m', source: `sha256:${network} /x`, input: null }],
      },
      { mountInputs: [1], inputs: [...ORIGIN.inputs, { kind: 'step', name: 's', stage: 's' }] },
    );
  const own: readonly Cause[] = [{ kind: 'setting', name: '--network', before: 'none', after: 'host' }];
  assert.deepEqual(
    compareExecutions(run('none'), run('host'), {
      causesOfInput: () => own,
      linkedOnto: () => [],
      changedSteps: () => [],
    }),
    own,
  );
});

test('a variable that only follows another is no cause, unless what is written changed, too', () => {
  const run = (a: string, b: string, written: string): Execution =>
    execution({ kind: 'run', env: [`A=${a}`, `B=${b}`] }, { args: ['A'], derived: { B: written } });
  const names = (causes: readonly Cause[]): readonly string[] =>
    causes.flatMap((cause) => (cause.kind === 'variable' ? [cause.name] : []));
  assert.deepEqual(names(compare(run('1', 'v1', 'v$A'), run('2', 'v2', 'v$A'))), ['A']);
  assert.deepEqual(names(compare(run('1', 'v1', 'v${A}'), run('2', 'w2', 'w${A}'))), ['A', 'B']);
  assert.deepEqual(names(compare(run('1', 'v1', '$OTHER'), run('1', 'v2', '$OTHER'))), ['B']);
});

test('an unreadable earlier list says nothing where flags make another list of it', () => {
  const copy = (owner: string, files: string): Execution =>
    execution({ kind: 'copy', owner, sources: [{ files: digestOf(files) }] }, { patterns: [['.']] });
  assert.deepEqual(compare(copy('1', 'a'), copy('2', 'b')), [
    { kind: 'setting', name: '--chown', before: '1', after: '2' },
  ]);
});

function listing(count: number): Listing {
  const pieces = [selectedPiece({ argument: 0, pivot: '', asked: 'd' }, 'directory')];
  for (let n = 0; n < count; n += 1) pieces.push(entryPiece(`f${n}`, 'file', '644', '', digestOf(String(n))));
  const text = pieces.join('');
  return { digest: digestOf(text), text };
}

test('a listing is kept short and comes back entry by entry', () => {
  const documents = openDocuments(root, host);
  const made = listing(1000);
  documents.putListing(made);
  const kept = documents.listing(made.digest) ?? inParts('');
  const text = Array.from(kept(), (part) => part.toString('latin1')).join('');
  const entry = entriesOf(text).get('d/f7');
  assert.deepEqual(entry, { type: 'file', mode: '644', owner: '', content: digestOf('7').slice(7, 23) });
  assert.equal(documents.listing(digestOf('another')), undefined);
});

test('listings without what they share tell the same changes as whole ones, also of files that are named twice', () => {
  const entry = fc.record({
    type: fc.constantFrom('file' as const, 'file' as const, 'directory' as const, 'symlink' as const),
    mode: fc.constantFrom('644', '755', ''),
    content: fc.constantFrom('', 'directory', '0123456789abcdef', 'fedcba9876543210'),
  });
  const paths = ['a', 'ab', 'd/a', 'd/ab', 'd/b', 'd/b/c', 'e', 'e/a', 'e/e'];
  const files = fc.tuple(...paths.map(() => fc.option(entry, { freq: 4 })));
  // Of a later state most is as before.
  const states = fc
    .tuple(files, files, fc.array(fc.nat(paths.length - 1), { maxLength: 3 }))
    .map(([old, other, changed]) => [
      old,
      old.map((each, index) => (changed.includes(index) ? other[index] : each)),
    ]);
  const patterns = fc.array(fc.constantFrom('', 'd', 'e', 'd/b'), { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(states, patterns, fc.integer({ min: 1, max: 300 }), (both, asked, size) => {
      const textOf = (state: (typeof both)[number]): string =>
        asked
          .flatMap((directory, argument) => [
            selectedPiece({ argument, pivot: '', asked: directory }, 'directory'),
            ...paths.flatMap((path, index) => {
              const found = state[index];
              const start = directory === '' ? '' : `${directory}/`;
              if (found === undefined || found === null || !path.startsWith(start)) return [];
              return [entryPiece(path.slice(start.length), found.type, found.mode, '', found.content)];
            }),
          ])
          .join('');
      const [before, after] = [textOf(both[0] ?? []), textOf(both[1] ?? [])];
      const whole = changesOf(entriesOf(before), entriesOf(after));
      const found = changesOfTexts(before, after, size);
      assert.deepEqual(new Set(found.changes), new Set(whole.changes));
      assert.deepEqual([found.changed, found.beside], [whole.changed, whole.beside]);
    }),
    { numRuns: 5000 },
  );
});

test('of listings that differ in one entry nothing else is looked at', () => {
  const { text } = listing(1000);
  const changed = text.replace(digestOf('7'), digestOf('another'));
  const told: string[] = [];
  const tell = (path: string): void => void told.push(path);
  const { gone, come, files, filesBefore } = differenceOf(inParts(text), inParts(changed, 100), tell);
  assert.deepEqual([told, gone.size, come.size], [['d/f7'], 0, 0]);
  assert.deepEqual([files, filesBefore, countFiles(inParts(text))], [1000, 1000, 1000]);
  // A part of it is damaged: whatever comes of it, it comes.
  assert.equal(countFiles(inParts(text.slice(0, -30))), 999);
  differenceOf(inParts(text.slice(0, -30)), inParts(changed), tell);
  assert.equal(countFiles(inParts(`${text}${entryPiece('g', 'directory', '755', '', '')}`)), 1000);
});

test('of neighbours that came or went by the thousand nothing else is looked at', () => {
  const [all, some] = [sortedListing(9000), sortedListing(9000, (n) => n < 2000 || n >= 7000)];
  const count = (before: string, after: string): readonly number[] => {
    const { gone, come } = differenceOf(inParts(before), inParts(after), () => assert.fail());
    return [gone.size, come.size];
  };
  assert.deepEqual(count(all, some), [5000, 0]);
  assert.deepEqual(count(some, all), [0, 5000]);
});

test('of directories that came or went with very many files their names are enough', () => {
  const inDirectory = (name: string): string =>
    selectedPiece({ argument: 0, pivot: '', asked: '.' }, 'directory') +
    entryPiece(name, 'directory', '755', '', '') +
    Array.from({ length: 12_000 }, (_, n) =>
      entryPiece(`${name}/${10_000 + n}`, 'file', '644', '', digestOf(String(n))),
    ).join('');
  const comparison = compareFiles(ALL);
  const { notKept, gone, come, files } = differenceOf(
    inParts(inDirectory('a')),
    inParts(inDirectory('b')),
    () => assert.fail(),
  );
  const { changes, changed, beside } = comparison.finish(gone, come);
  assert.deepEqual(changes, [
    { change: 'added', path: './b/' },
    { change: 'removed', path: './a/' },
  ]);
  assert.deepEqual([changed, files, beside + notKept], [2, 12_000, 12_000]);
  assert.ok(notKept > 0);
});

/** In the order of a layer: a directory as if a slash ended its name. */
function sortedListing(most: number, isThere: (n: number) => boolean = () => true): string {
  const pieces = [selectedPiece({ argument: 0, pivot: '', asked: '.' }, 'directory')];
  for (let n = 0; n < most; n += 1) {
    const name = String(10_000 + n);
    if (isThere(n)) pieces.push(entryPiece(name, 'file', '644', '', digestOf(name)));
  }
  return pieces.join('');
}

test('names that are no UTF-8 are told apart, though they look alike, and targets of links are read as text', () => {
  const textOf = (name: string, target: string): string =>
    selectedPiece({ argument: 0, pivot: '', asked: 'd\xff' }, 'directory') +
    entryPiece('a\xfe', 'file', '644', '', '0123456789abcdef') +
    entryPiece(name, 'file', '644', '', 'fedcba9876543210') +
    entryPiece('link', 'symlink', '', '', Buffer.from(target).toString('latin1'));
  const { changes } = changesOfTexts(textOf('b\xfe', 'Straße'), textOf('b\xff', 'Gasse'));
  assert.deepEqual(changes, [
    { change: 'target', path: 'd\ufffd/link', before: 'Straße', after: 'Gasse' },
    { change: 'renamed', path: 'd\ufffd/b\ufffd', from: 'd\ufffd/b\ufffd' },
  ]);
});

test('a listing that is too long is not kept, and nothing of it is left behind', () => {
  const documents = openDocuments(root, host);
  const digest = digestOf('long');
  const part = Buffer.alloc(1 << 20, 'x');
  documents.putListing({ digest, text: '', short: () => Array.from({ length: 33 }, () => part) });
  assert.equal(documents.listing(digest), undefined);
  for (const shard of readdirSync(root)) assert.deepEqual(readdirSync(join(root, shard)), []);
});

test('a document that is damaged counts as absent', () => {
  const documents = openDocuments(root, host);
  const digest = documents.putText('*.tmp\n');
  assert.equal(documents.text(digest), '*.tmp\n');
  for (const shard of readdirSync(root))
    for (const file of readdirSync(join(root, shard))) writeFileSync(join(root, shard, file), 'xx');
  assert.equal(documents.text(digest), undefined);
});

const textsOf = (lines: readonly JournalLine[]): readonly string[] => lines.map(({ text }) => text);

test('a journal holds the newest first, each record once', () => {
  const journals = openJournals(root, host);
  const project = { place: '/a\0Dockerfile', name: 'Dockerfile' };
  const add = (lines: readonly JournalLine[]): void =>
    journals.add(project, 's', lines, new Set(textsOf(lines)), () => 0);
  add([line('RUN 1', 1)]);
  add([line('RUN 2', 1), line('RUN 1', 1)]);
  assert.deepEqual(textsOf(journals.lines(project, 's')), ['RUN 2', 'RUN 1']);
  assert.deepEqual(textsOf(journals.lines({ ...project, place: '/b\0Dockerfile' }, 's')), []);
  assert.deepEqual(textsOf(journals.lines(project, 'other')), []);
});

test('another checkout of a Dockerfile is found by its steps, and another project of the same name is not', () => {
  const journals = openJournals(root, host);
  const project = { place: '/a\0Dockerfile', name: 'Dockerfile' };
  const steps = new Set(['COPY . /app', 'RUN make', 'RUN make install']);
  // Of three steps one was executed.
  journals.add(project, 's', [line('RUN make', 2)], steps, () => 0);
  const elsewhere = (stage: string, name: string, ...texts: readonly string[]): readonly string[] =>
    textsOf(journals.linesElsewhere({ place: `/b\0${name}`, name }, stage, new Set(texts)));
  const edited = ['COPY . /app', 'RUN make -j2', 'RUN make install'];
  assert.deepEqual(elsewhere('s', 'Dockerfile', ...edited), ['RUN make']);
  assert.deepEqual(elsewhere('s', 'Dockerfile', 'COPY . /app', 'RUN npm ci', 'RUN npm test'), []);
  assert.deepEqual(elsewhere('other', 'Dockerfile', ...edited), []);
  assert.deepEqual(elsewhere('s', 'other.Dockerfile', ...edited), []);
});

test('of too many executions a journal forgets those that were not used for the longest time', () => {
  const journals = openJournals(root, host);
  const project = { place: '/a\0Dockerfile', name: 'Dockerfile' };
  const first = line('RUN first', 1);
  const lastUsed = (key: CacheKey): number => (key === first.key ? 2 : 1);
  const add = (added: JournalLine): void => journals.add(project, 's', [added], new Set(), lastUsed);
  add(first);
  for (let n = 0; n < 300; n += 1) add(line(`RUN ${n}`, 1));
  const texts = textsOf(journals.lines(project, 's'));
  assert.equal(texts.length, 200);
  assert.ok(texts.includes('RUN first') && texts.includes('RUN 299'));
});

/** Shapes that a record may have, and whatever else JSON can be. */
function hostileOrigins(): fc.Arbitrary<unknown> {
  const odd = (usual: unknown): fc.Arbitrary<unknown> =>
    fc.oneof({ weight: 9, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: fc.jsonValue() });
  const input = fc.record({
    kind: fc.constantFrom('image', 'context', 'fetched', 'step'),
    ...{ reference: odd('b:1'), image: odd(digestOf('i')), name: odd('n'), url: odd('u'), stage: odd('s') },
  });
  return fc.record(
    {
      ...{ stage: fc.constant('s'), step: fc.constant(2), text: fc.constantFrom('RUN x', 'RUN x y') },
      ...{ variables: odd({ A: 'b' }), args: odd(['A']), inputs: fc.array(input) },
      ...{ platform: odd('linux/amd64'), mountInputs: odd([0, null]), patterns: odd([['x']]) },
      ignore: fc.constantFrom(
        { file: 'f', text: digestOf('t') },
        { file: 'f', text: 'sha256:../../../../etc/passwd' },
      ),
    },
    { requiredKeys: ['stage', 'step', 'text', 'variables', 'args', 'inputs'] },
  );
}

test('whatever a cache says of earlier executions, it is compared or passed over, and shown in words', () => {
  const records = openRecordStore(root, host);
  const op: RunOp = {
    ...{ kind: 'run', args: ['x'], env: ['A=b'], volatileEnv: [], cwd: '/', user: '', network: 'default' },
    ...{ security: 'sandbox', mounts: [], platform: { os: 'linux', architecture: 'amd64' } },
  };
  const { stage, step, text, variables, args } = ORIGIN;
  const place = { stage, step, text, variables, args };
  const vertex = createVertex({ op, inputs: [], name: 'RUN x', place });
  const parts = ['kind', 'args', 'env', 'cwd', 'user', 'mounts', 'platform', 'parent', 'maxMtime', 'script'];
  const named = fc.dictionary(fc.constantFrom(...parts), fc.jsonValue());
  let compared = 0;
  fc.assert(
    fc.property(named, fc.boolean(), hostileOrigins(), (before, isRun, origin) => {
      const key = digestOf('then');
      const result = { kind: 'stack', layers: [], chain: null };
      const value: unknown = JSON.parse(
        JSON.stringify({
          ...{ key, named: { ...before, ...(isRun ? { kind: 'run' } : {}) }, result, origin },
          ...{ tookMs: 1, finished: 1 },
        }),
      );
      const record = parseRecord(value, key);
      assert.ok(record !== undefined);
      const explainer = createExplainer({
        ...{ host, records, project: undefined, vertices: [vertex], earlier: [record] },
      });
      const now = { kind: 'run', args: ['x'], env: ['A=b'], cwd: '/', mounts: [] };
      const { causes, nearest } = explainer.explain(vertex, digestOf('now') as CacheKey, { named: now });
      if (nearest !== undefined) compared += 1;
      assert.ok(summarize(causes) !== '' || causes.length === 0);
      for (const cause of causes) assert.equal(typeof describeCause(cause), 'string');
    }),
    { numRuns: 500 },
  );
  assert.ok(compared > 20, `${compared} were compared`);
});
