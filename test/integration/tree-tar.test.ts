/** The tar reader of the tree engine (native/tree/tar-read.h) sees what src/layer/tar-reader.ts sees, errors included. */
import assert from 'node:assert/strict';
import { execFileSync, type ExecFileSyncOptions } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import fc from '../suites/properties.ts';
import { TAR_SOURCES } from '../../bench/native-fuzzers.ts';
import { isTsbuildError } from '../../src/base/errors.ts';
import { encodeHeader, padding, type TarEntryType } from '../../src/layer/tar-header.ts';
import { readTar } from '../../src/layer/tar-reader.ts';
import { packageRoot } from '../e2e/fixture.ts';
import { chunksOf, entryOf, type Item } from '../suites/layer-fixture.ts';

const TYPES: readonly TarEntryType[] = ['file', 'hardlink', 'symlink', 'char', 'block', 'directory', 'fifo'];

const hex = (text: string): string => Buffer.from(text, 'latin1').toString('hex');

/** One line per entry, or why it was refused. */
async function seenByOracle(tar: Uint8Array): Promise<string[]> {
  const lines: string[] = [];
  try {
    for await (const { entry, body } of readTar(chunksOf(tar, 999))) {
      const parts: Uint8Array[] = [];
      const head = [TYPES.indexOf(entry.type), hex(entry.path), hex(entry.linkname ?? '')];
      const { mode, uid, gid, major = 0, minor = 0, mtime, size } = entry;
      const xattrs = [...(entry.xattrs ?? [])].map(
        ([name, value]) => `${hex(name)} ${Buffer.from(value).toString('hex')}`,
      );
      for await (const part of body()) parts.push(Uint8Array.from(part));
      const numbers = [mode.toString(8), uid, gid, major, minor, mtime + 0, size];
      lines.push([...head, ...numbers, xattrs.sort(), Buffer.concat(parts).toString('hex')].join(' '));
    }
  } catch (error) {
    if (!isTsbuildError(error, 'ARCHIVE_INVALID')) throw error;
    lines.push(error.message);
  }
  return lines;
}

describe('the native tar reader', () => {
  let output: string;
  before(() => {
    output = mkdtempSync(join(tmpdir(), 'tsbuild-tar-'));
    const native = join(packageRoot(), 'native');
    const sources = ['fuzz/tar-entries.c', ...TAR_SOURCES, 'tree/sha256.c'];
    execFileSync('cc', ['-std=gnu11', '-D_GNU_SOURCE', '-o', join(output, 'entries'), ...sources], {
      cwd: native,
    });
  });
  after(() => rmSync(output, { recursive: true, force: true }));

  function seenByReader(tar: Uint8Array): string[] {
    const file = join(output, 'tar');
    writeFileSync(file, tar);
    const fd = openSync(file, 'r');
    const options = { stdio: [fd, 'pipe', 'inherit'], maxBuffer: 1 << 26 } satisfies ExecFileSyncOptions;
    const text = execFileSync(join(output, 'entries'), options).toString();
    closeSync(fd);
    return text
      .split('\n')
      .filter((line) => line.endsWith(';') || line.startsWith('refused: '))
      .map((line) => {
        if (line.startsWith('refused: ')) return line.slice(9);
        const [head = '', content = ''] = line.slice(0, -1).split('=');
        const words = head.split(' ');
        const xattrs = new Map<string, string>();
        for (let at = 10; at + 1 < words.length; at += 2) xattrs.set(words[at] ?? '', words[at + 1] ?? '');
        return [...words.slice(0, 10), [...xattrs].map((pair) => pair.join(' ')).sort(), content].join(' ');
      });
  }

  async function agrees(tar: Uint8Array): Promise<readonly string[]> {
    const seen = seenByReader(tar);
    const expected = await seenByOracle(tar);
    // Sparse files are left to the oracle.
    const isLeft = seen.at(-1)?.includes('a sparse file, which cannot be mounted') === true;
    if (isLeft) assert.deepEqual(seen.slice(0, -1), expected.slice(0, seen.length - 1));
    else assert.deepEqual(seen, expected);
    return seen;
  }

  test('agrees on what GNU tar writes in every format', async () => {
    const at = join(output, 'in');
    mkdirSync(join(at, 'sub'), { recursive: true });
    writeFileSync(join(at, 'sub', 'x'.repeat(180)), 'long');
    writeFileSync(join(at, 'short'), 's'.repeat(1000));
    execFileSync('sh', ['-c', 'ln short hard; ln -s ../short soft; mkfifo pipe; mknod null c 1 3'], {
      cwd: at,
    });
    for (const format of ['gnu', 'oldgnu', 'pax', 'ustar', 'v7']) {
      const select = format === 'v7' || format === 'ustar' ? ['short', 'hard', 'soft'] : ['.'];
      const tar = execFileSync('tar', ['-c', `--format=${format}`, '-C', at, ...select]);
      assert.ok((await agrees(tar)).length >= select.length, format);
    }
  });

  const text = fc.oneof(
    fc.constantFrom(
      '..',
      '.',
      '',
      '/',
      'a',
      'a/../b',
      '/etc/passwd',
      '../../x',
      'd/',
      'x\0y',
      'p'.repeat(120),
    ),
    fc.string({
      unit: fc.integer({ min: 1, max: 255 }).map((code) => String.fromCharCode(code)),
      maxLength: 12,
    }),
  );
  const record = fc
    .tuple(
      fc.constantFrom(
        ...['path', 'linkpath', 'size', 'uid', 'gid', 'mtime', 'comment', 'GNU.sparse.major'],
        ...['SCHILY.xattr.user.a', 'SCHILY.xattr.security.capability'],
      ),
      fc.oneof(
        text,
        fc.constantFrom(
          '12',
          '-3',
          '1.5',
          '-1.5',
          '-2.0',
          '9007199254740991',
          '9007199254740992',
          '007',
          '1e3',
          '600',
        ),
      ),
    )
    .map(([keyword, value]) => {
      const rest = keyword.length + value.length + 3;
      let length = rest + 1;
      while (`${length}`.length + rest !== length) length += 1;
      return `${length} ${keyword}=${value}\n`;
    });
  const block = (item: Item, patches: readonly (readonly [number, string])[]): Buffer => {
    const made = Buffer.from(encodeHeader(entryOf(item)));
    const last = made.subarray(-512);
    for (const [offset, bytes] of patches) last.write(bytes, offset, 512 - offset, 'latin1');
    last.fill(0x20, 148, 156);
    last.write(
      `${last
        .reduce((sum, byte) => sum + byte, 0)
        .toString(8)
        .padStart(6, '0')}\0`,
      148,
    );
    return made;
  };
  const entry = fc
    .tuple(
      fc.constantFrom(...'\u00000123456789VSLKxgD'),
      text.filter((name) => !name.includes('\0')),
      fc.option(
        fc.constantFrom(
          '00000000000',
          '00000000010',
          '777',
          ' 12 ',
          '9',
          '-1',
          '\x80\0\0\0\0\0\0\0\0\0\0\x05',
        ),
      ),
      fc.option(
        fc.constantFrom(
          '\xff\xff\xff\xff\xff\xff\xff\xfe',
          '\x80\xff\xff\xff\xff\xff\xff\xff',
          'q',
          '0000017',
        ),
      ),
      fc.array(record, { maxLength: 3 }),
      fc.string({ maxLength: 30 }),
    )
    .map(([flag, path, size, uid, records, content]) => {
      const isMeta = 'xgLK'.includes(flag);
      const body = Buffer.from(
        isMeta ? (flag === 'L' || flag === 'K' ? path : records.join('')) : content,
        'latin1',
      );
      const own = size === null || isMeta ? body.byteLength.toString(8).padStart(11, '0') : size;
      const patches: [number, string][] = [
        [156, flag],
        [124, own],
        ...(path === '' ? [] : ([[0, path.slice(0, 100)]] as [number, string][])),
        ...(uid === null ? [] : ([[108, uid]] as [number, string][])),
        ...(flag === '2' || flag === '1' ? ([[157, path.slice(0, 100)]] as [number, string][]) : []),
      ];
      return Buffer.concat([block({ path: 'n', content: '' }, patches), body, padding(body.byteLength)]);
    });

  test('agrees on archives that nobody would write', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(entry, { minLength: 1, maxLength: 6 }),
        fc.option(fc.nat(3000)),
        async (entries, cut) => {
          const tar = Buffer.concat([...entries, Buffer.alloc(1024)]);
          await agrees(cut === null ? tar : tar.subarray(0, cut));
        },
      ),
      { numRuns: 200 },
    );
  });

  test('agrees on headers that are too large and names that are too long', async () => {
    const long = (flag: string, size: number): Buffer =>
      Buffer.concat([
        block({ path: 'n', content: '' }, [
          [156, flag],
          [124, size.toString(8).padStart(11, '0')],
        ]),
        Buffer.alloc(Math.ceil(size / 512) * 512, 'ab/'),
        encodeHeader(entryOf({ path: 'own', content: '' })),
        Buffer.alloc(1024),
      ]);
    for (const [flag, size] of [
      ['L', 4096],
      ['L', 4097],
      ['K', 70_000],
      ['L', 1 << 20],
      ['x', (1 << 20) + 1],
    ] as const)
      assert.equal((await agrees(long(flag, size))).length, 1);
  });
});
