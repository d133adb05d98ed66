/** Properties of the frontend: what holds for any text, against models that are too slow or too simple to ship. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from '../suites/properties.ts';
import { isTsbuildError } from '../../src/base/errors.ts';
import { createIgnoreMatcher } from '../../src/layer/ignore-patterns.ts';
import { expandWord } from '../../frontend/expand/expand.ts';
import { createBuildGraph } from '../../frontend/frontend.ts';
import { parseJsonForm } from '../../frontend/parse/arguments.ts';
import type { FrontendRequest } from '../../frontend/request.ts';
import { heredocText, parseLines, type RawInstruction } from '../../frontend/parse/lines.ts';
import { imageConfig, requestOf } from '../suites/frontend-fixture.ts';
import { digestOf } from '../../src/base/digest.ts';

const parse = (text: string): readonly RawInstruction[] =>
  parseLines({ file: 'Dockerfile', text }).instructions;

/** A pattern with `*` and `?`, tried on a whole text by recursion. */
function fits(pattern: string, text: string): boolean {
  if (pattern === '') return text === '';
  const rest = pattern.slice(1);
  if (pattern.startsWith('*')) return fits(rest, text) || (text !== '' && fits(pattern, text.slice(1)));
  return text !== '' && (pattern.startsWith('?') || pattern[0] === text[0]) && fits(rest, text.slice(1));
}

function trimmed(value: string, pattern: string, operator: string): string {
  const cuts = Array.from({ length: value.length + 1 }, (_, length) => length);
  if (operator.length === 2) cuts.reverse();
  const isStart = operator.startsWith('#');
  const cut = cuts.find((n) => fits(pattern, isStart ? value.slice(0, n) : value.slice(value.length - n)));
  if (cut === undefined) return value;
  return isStart ? value.slice(cut) : value.slice(0, value.length - cut);
}

/** Leftmost longest matches that are not empty. */
function replaced(value: string, pattern: string, by: string, all: boolean): string {
  for (let at = 0; at < value.length; at += 1)
    for (let end = value.length; end > at; end -= 1) {
      if (!fits(pattern, value.slice(at, end))) continue;
      const rest = value.slice(end);
      return value.slice(0, at) + by + (all ? replaced(rest, pattern, by, all) : rest);
    }
  return value;
}

function chosen(value: string | undefined, operator: string, word: string): string | undefined {
  const isThere = value !== undefined && !(operator.startsWith(':') && value === '');
  if (operator.endsWith('-')) return isThere ? value : word;
  if (operator.endsWith('+')) return isThere ? word : '';
  return isThere ? value : undefined;
}

const value = fc.string({ unit: fc.constantFrom('a', 'b', '.', '/'), maxLength: 8 });
const plain = fc.string({ unit: fc.constantFrom('x', 'y', ' ', '-'), maxLength: 4 });
const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '.', '*', '?'), minLength: 1, maxLength: 5 });

test('- + ? choose as the model does', () => {
  const operator = fc.constantFrom('-', ':-', '+', ':+', '?', ':?');
  fc.assert(
    fc.property(fc.option(value, { nil: undefined }), operator, plain, (v, op, word) => {
      const expand = (): string => expandWord(`<\${v${op}${word}}>`, { escape: '\\', lookup: () => v });
      const wanted = chosen(v, op, word);
      if (wanted === undefined) assert.throws(expand, (error) => isTsbuildError(error, 'EXPANSION_FAILED'));
      else assert.equal(expand(), `<${wanted}>`);
    }),
    { numRuns: 1000 },
  );
});

test('# and % cut as the model does', () => {
  fc.assert(
    fc.property(value, fc.constantFrom('#', '##', '%', '%%'), pattern, (v, op, p) => {
      assert.equal(expandWord(`\${v${op}${p}}`, { escape: '\\', lookup: () => v }), trimmed(v, p, op));
    }),
    { numRuns: 2000 },
  );
});

test('/ and // replace as the model does', () => {
  // A pattern of stars alone also matches nothing at all: what that means is in the table of the unit tests.
  const some = pattern.filter((text) => !/^\*+$/.test(text));
  fc.assert(
    fc.property(value, fc.boolean(), some, plain, (v, all, p, by) => {
      const text = `\${v/${all ? '/' : ''}${p}/${by}}`;
      assert.equal(expandWord(text, { escape: '\\', lookup: () => v }), replaced(v, p, by, all));
    }),
    { numRuns: 2000 },
  );
});

/** Names against names: `**` is any number of them, none included. */
function matchesNames(patterns: readonly string[], names: readonly string[]): boolean {
  const [first, ...rest] = patterns;
  const [name, ...below] = names;
  if (first === undefined) return names.length === 0;
  if (first === '**') {
    // At the end it is everything below, not the directory itself.
    if (rest.length === 0) return names.length > 0;
    return matchesNames(rest, names) || (name !== undefined && matchesNames(patterns, below));
  }
  return name !== undefined && fits(first, name) && matchesNames(rest, below);
}

function isIgnored(patterns: readonly string[], path: string): boolean {
  const names = path.split('/');
  const prefixes = names.map((_, index) => names.slice(0, index + 1));
  return patterns.reduce((ignored, written) => {
    const isNegated = written.startsWith('!');
    const parts = written.slice(isNegated ? 1 : 0).split('/');
    return prefixes.some((prefix) => matchesNames(parts, prefix)) ? !isNegated : ignored;
  }, false);
}

test('ignore patterns match as the model does', () => {
  const name = fc.string({ unit: fc.constantFrom('a', 'b', '.x'), minLength: 1, maxLength: 2 });
  const star = fc
    .string({ unit: fc.constantFrom('a', 'b', '?'), minLength: 1, maxLength: 2 })
    .chain((text) => fc.constantFrom(text, `*${text}`, `${text}*`, '*'));
  const written = fc
    .tuple(fc.boolean(), fc.array(fc.oneof(star, star, fc.constant('**')), { minLength: 1, maxLength: 4 }))
    .map(([isNegated, parts]) => `${isNegated ? '!' : ''}${parts.join('/')}`)
    // `**/**` and its like have corners of their own in the original.
    .filter((text) => !text.includes('**/**'));
  const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
  fc.assert(
    fc.property(fc.array(written, { minLength: 1, maxLength: 4 }), path, (patterns, at) => {
      assert.equal(
        createIgnoreMatcher(patterns).excludes(at),
        isIgnored(patterns, at),
        `${patterns.join(' ')} ${at}`,
      );
    }),
    { numRuns: 5000 },
  );
});

interface Document {
  readonly name: string;
  readonly quote: string;
  readonly chomp: boolean;
  readonly body: string;
}

const bodyLine = fc.oneof(
  fc.string({ maxLength: 12 }),
  fc.string({ unit: fc.constantFrom('\t', '#', '\\', '<<E', ' ', "'", '"', '$x', 'é'), maxLength: 6 }),
);
const documents = fc.array(
  fc.record({
    quote: fc.constantFrom('', '"', "'"),
    chomp: fc.boolean(),
    lines: fc.array(fc.tuple(bodyLine, fc.constantFrom('\n', '\r\n')), { maxLength: 5 }),
  }),
  { minLength: 1, maxLength: 4 },
);
const written = documents.map((all): readonly Document[] =>
  all.map(({ quote, chomp, lines }, index) => ({
    // A body has no line that is the delimiter: no line of it begins with END.
    ...{ name: `END${index}`, quote, chomp },
    body: lines.map(([text, end]) => text.replace(/[\r\n]/g, '').replaceAll('END', '') + end).join(''),
  })),
);
const opening = ({ name, quote, chomp }: Document): string => `<<${chomp ? '-' : ''}${quote}${name}${quote}`;
const closing = ({ name, body, chomp }: Document): string => `${body}${chomp ? '\t' : ''}${name}\n`;

test('heredocs come back byte for byte', () => {
  fc.assert(
    fc.property(written, (all) => {
      const text = `FROM a\nRUN cat ${all.map(opening).join(' ')} > f\n${all.map(closing).join('')}USER u\n`;
      const [, run, user] = parse(text);
      assert.equal(user?.text, 'USER u');
      assert.deepEqual(
        run?.heredocs.map(({ name, chomp, expand, content }) => ({ name, chomp, expand, content })),
        all.map(({ name, chomp, quote, body }) => ({ name, chomp, expand: quote === '', content: body })),
      );
      for (const heredoc of run.heredocs)
        assert.equal(
          heredocText(heredoc),
          heredoc.chomp
            ? heredoc.content
                .split('\n')
                .map((line) => line.replace(/^\t+/, ''))
                .join('\n')
            : heredoc.content,
        );
    }),
    { numRuns: 1000 },
  );
});

test('a heredoc without its end is DOCKERFILE_SYNTAX, whichever it is', () => {
  fc.assert(
    fc.property(written, fc.nat(), (all, which) => {
      const missing = which % all.length;
      const bodies = all.map((each, index) => (index === missing ? each.body : closing(each)));
      assert.throws(
        () => parse(`RUN ${all.map(opening).join(' ')}\n${bodies.join('')}`),
        (error) => isTsbuildError(error, 'DOCKERFILE_SYNTAX') && error.source?.range.startLine === 1,
      );
    }),
  );
});

const SHORT: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '/': '\\/',
  '\n': '\\n',
  '\t': '\\t',
  '\b': '\\b',
};
const hex = (unit: string): string => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** One way of many in which JSON can write a string: `choices` decides. */
function writeString(text: string, choices: readonly number[]): string {
  const units = text.split('').map((unit, index) => {
    const choice = choices[index % Math.max(1, choices.length)] ?? 0;
    const short = SHORT[unit];
    if (short !== undefined && choice !== 1) return short;
    const mustEscape = unit < ' ' || unit === '"' || unit === '\\' || /[\ud800-\udfff]/.test(unit);
    return mustEscape || choice === 1 ? hex(unit) : unit;
  });
  return `"${units.join('')}"`;
}

test('an array of strings comes back however JSON writes it', () => {
  const blank = fc.string({ unit: fc.constantFrom(' ', '\t'), maxLength: 2 });
  const [from] = parse('CMD x');
  assert.ok(from !== undefined);
  fc.assert(
    fc.property(
      fc.array(fc.string({ unit: 'grapheme', maxLength: 8 }), { maxLength: 4 }),
      fc.array(fc.nat({ max: 2 }), { minLength: 1, maxLength: 6 }),
      fc.tuple(blank, blank, blank),
      (words, choices, [a, b, c]) => {
        const items = words.map((word) => `${a}${writeString(word, choices)}${b}`).join(',');
        assert.deepEqual(parseJsonForm(from, `${c}[${items}${b}]`), words);
      },
    ),
    { numRuns: 1000 },
  );
});

test('what is no array of strings is the shell form or DOCKERFILE_SYNTAX', () => {
  const unit = fc.constantFrom('[', ']', '"', ',', 'a', "'", ' ', '1', '\\', 'null', '{', '}', ':');
  fc.assert(
    fc.property(fc.string({ unit, minLength: 1, maxLength: 12 }), (rest) => {
      const text = `FROM a\nCMD x${rest}`.replace('CMD x', 'CMD ');
      const instruction = parse(text)[1];
      assert.ok(instruction !== undefined);
      let words: readonly string[] | undefined;
      try {
        words = parseJsonForm(instruction, rest.trim());
      } catch (error) {
        assert.ok(isTsbuildError(error, 'DOCKERFILE_SYNTAX'));
        assert.ok(Array.isArray(JSON.parse(rest.trim())));
        return;
      }
      if (words !== undefined) assert.deepEqual(JSON.parse(rest.trim()), words);
    }),
    { numRuns: 3000 },
  );
});

/** In a graph or a TsbuildError, within a second; a machine that is busy with something else is asked again. */
async function endsSoon(request: FrontendRequest): Promise<void> {
  let took = Infinity;
  for (let attempt = 0; attempt < 5 && took >= 1000; attempt += 1) {
    const started = performance.now();
    try {
      await createBuildGraph(request);
    } catch (error) {
      assert.ok(isTsbuildError(error), error instanceof Error ? error.stack : String(error));
    }
    took = Math.min(took, performance.now() - started);
  }
  assert.ok(took < 1000, `${took} ms`);
}

const token = fc.oneof(
  fc.constantFrom(
    'a',
    'b:1',
    'scratch',
    '$A',
    '${A:-x}',
    '${A',
    '"q q"',
    "'",
    '\\',
    '--from=a',
    '--mount=type=cache,target=/c',
  ),
  fc.constantFrom(
    '--mount=type=constructor',
    '--toString=1',
    '--chmod=u+x',
    '--platform=$P',
    '--link',
    '["x","y"]',
    '[1]',
    '80/tcp',
  ),
  fc.constantFrom(
    'AS',
    'x',
    '__proto__=1',
    'K=v',
    '<<E',
    '<<-"E"',
    '0',
    '/',
    '.',
    'NONE',
    'CMD',
    'https://h/p.git',
    'RUN',
    'SIGTERM',
  ),
  fc.string({ maxLength: 6 }),
);
const KEYWORDS =
  'FROM ARG ENV RUN COPY ADD CMD ENTRYPOINT EXPOSE USER WORKDIR VOLUME LABEL ONBUILD SHELL HEALTHCHECK STOPSIGNAL MAINTAINER';
const line = fc.oneof(
  {
    weight: 8,
    arbitrary: fc
      .tuple(fc.constantFrom(...KEYWORDS.split(' ')), fc.array(token, { maxLength: 4 }))
      .map(([k, t]) => [k, ...t].join(' ')),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      'E',
      'x \\',
      '# c',
      '',
      '# check=skip=all',
      '# escape=`',
      '\tE',
      'FROM a AS a',
    ),
  },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 20 }) },
);

test('no text makes the frontend throw anything but TsbuildError, nor takes it a second', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(line, { maxLength: 12 }),
      fc.array(line, { maxLength: 2 }),
      async (lines, OnBuild) => {
        const request = requestOf(['FROM a', ...lines].join('\n'), {
          resolveImage: (reference) =>
            Promise.resolve({ reference, manifest: digestOf(reference), config: imageConfig({ OnBuild }) }),
        });
        await endsSoon(request);
      },
    ),
    { numRuns: 3000 },
  );
});

const SLOW: Readonly<Record<string, string>> = {
  'blanks within a line': `RUN a${' '.repeat(65_000)}b`,
  'carriage returns within a line': `RUN a${'\r'.repeat(65_000)}b`,
  'slashes of a URL': `ADD http://x${'/'.repeat(65_000)}x /y`,
  'a long name that is near to none': `ENV ${'a'.repeat(30_000)}=1\nUSER $${'a'.repeat(60_000)}`,
  'a variable that doubles': `ENV A=xxxxxxxx\n${'ENV A=$A$A\n'.repeat(64)}`,
  'substitutions within substitutions': `USER ${'${a:-'.repeat(10_000)}`,
  'brackets within brackets': `CMD ${'['.repeat(60_000)}`,
};
for (const [name, text] of Object.entries(SLOW))
  test(`${name} take no second`, async () => {
    await endsSoon(requestOf(`# check=a${' '.repeat(60_000)}b\nFROM a\n${text}\n`));
    await endsSoon(requestOf(`FROM a\n${text}\n`));
  });
