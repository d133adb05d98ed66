/** Secrets in output: struck out in every form that one command makes, and nothing else is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from '../suites/properties.ts';
import { createMask } from '../../src/solver/exec/secret-mask.ts';

const SECRET = 'Tr0ub4dor&3/horse+staple';
const KEY = `-----BEGIN KEY-----\n${Array.from({ length: 12 }, (_, n) => `line${n}ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnop+/${n}`).join('\n')}\n-----END KEY-----\n`;

function shown(secret: string, pieces: readonly string[]): string {
  const mask = createMask([Buffer.from(secret)]);
  return Buffer.concat([...pieces.map((piece) => mask.push(Buffer.from(piece))), mask.end()]).toString();
}

function folded(text: string, width: number): string {
  return (text.match(new RegExp(`.{1,${width}}`, 'gs')) ?? []).map((line) => `${line}\n`).join('');
}

test('a value is struck out, alone and among other text, in one piece or in many', () => {
  assert.equal(shown(SECRET, [`a ${SECRET} b\n`]), 'a **** b\n');
  assert.equal(shown(SECRET, [...`a ${SECRET} b\n`]), 'a **** b\n');
  assert.equal(shown(SECRET, ['nothing of it\n']), 'nothing of it\n');
});

test('encodings are struck out also where they are broken into lines', () => {
  const bytes = Buffer.from(KEY);
  for (const prefix of ['', 'x', 'xy']) {
    const text = Buffer.concat([Buffer.from(prefix), bytes]).toString('base64');
    for (const width of [1000, 76, 64, 10]) {
      const out = shown(KEY, [folded(text, width)]);
      assert.ok(out.replace(/\s/g, '').length < 20, `${width}: ${out}`);
    }
  }
  const hex = bytes.toString('hex');
  assert.ok(shown(KEY, folded(hex, 60).split(/(?<=\n)/)).length < 20, 'xxd -p, line by line');
  assert.ok(shown(KEY, [hex.replace(/../g, '$& ')]).length < 20, 'od -An -tx1');
});

test('values with blanks between their characters are struck out', () => {
  for (const between of [' ', '\n', '\r\n', '\t'])
    assert.equal(shown(SECRET, [[...SECRET].join(between)]).trim(), '****');
  assert.ok(!shown(SECRET, folded(SECRET, 7).split(/(?<=\n)/)).includes('dor&3'));
  assert.equal(shown(SECRET, [[...SECRET].reverse().join('')]), '****');
});

test('blanks without end are not held back', () => {
  const mask = createMask([Buffer.from(SECRET)]);
  assert.equal(mask.push(Buffer.from(SECRET.slice(0, 10))).length, 0);
  const blanks = Buffer.alloc(1 << 16, ' ');
  let size = 0;
  for (let count = 0; count < 10; count += 1) size += mask.push(blanks).length;
  assert.ok(size > 9 * blanks.length, String(size));
});

test('output without secrets comes out as it went in, however it is cut', () => {
  const text = fc.string({ unit: fc.constantFrom('T', 'r', '0', 'u', 'b', ' ', '\n', 'x') });
  fc.assert(
    fc.property(fc.array(text), (pieces) => {
      assert.equal(shown(SECRET, pieces), pieces.join(''));
    }),
  );
});
