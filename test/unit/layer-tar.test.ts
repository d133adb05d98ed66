import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from '../suites/properties.ts';
import { extract, type Header } from 'tar-stream';
import { isTsbuildError, type ErrorCode } from '../../src/base/errors.ts';
import { encodeHeader, type TarEntry } from '../../src/layer/tar-header.ts';
import { looksLikeTar, readTar } from '../../src/layer/tar-reader.ts';
import { createTarWriter } from '../../src/layer/tar-writer.ts';
import { chunksOf, entryOf, tarOf, temporaryDirectory, type Item } from '../suites/layer-fixture.ts';

interface Read {
  readonly entry: TarEntry;
  readonly content: string;
}

async function readAll(tar: Uint8Array, chunk = 700): Promise<Read[]> {
  const all: Read[] = [];
  for await (const { entry, body } of readTar(chunksOf(tar, chunk))) {
    const parts: Uint8Array[] = [];
    for await (const part of body()) parts.push(Uint8Array.from(part));
    all.push({ entry, content: Buffer.concat(parts).toString('latin1') });
  }
  return all;
}

const fails = (code: ErrorCode) => (error: unknown) => isTsbuildError(error, code);
const refuses = (tar: Uint8Array): Promise<void> => assert.rejects(readAll(tar), fails('ARCHIVE_INVALID'));

/** A header block patched and summed again. */
function patched(item: Item, patch: (block: Buffer) => void): Buffer {
  const block = Buffer.from(encodeHeader(entryOf(item)));
  patch(block);
  block.fill(0x20, 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

const END = Buffer.alloc(1024);

function pax(flag: string, records: string | Buffer): Buffer {
  const body = Buffer.from(records);
  const head = patched({ path: 'pax', content: '' }, (block) => {
    block.write(flag, 156);
    block.write(body.byteLength.toString(8).padStart(11, '0'), 124);
  });
  return Buffer.concat([head, body, Buffer.alloc((512 - (body.byteLength % 512)) % 512)]);
}

describe('tar writer', () => {
  test('an ASCII entry that fits is one plain ustar block', () => {
    assert.equal(encodeHeader(entryOf({ path: 'a', content: 'x' })).byteLength, 512);
    assert.equal(
      encodeHeader(entryOf({ path: `${'d'.repeat(120)}/${'f'.repeat(90)}`, content: '' })).byteLength,
      512,
    );
  });

  test('the same entries give the same bytes, whatever the chunks', () => {
    const once = tarOf({ path: 'a' }, { path: 'a/b', content: 'hello' });
    const chunks: Buffer[] = [];
    const writer = createTarWriter({ write: (bytes) => void chunks.push(Buffer.from(bytes)) });
    writer.entry(entryOf({ path: 'a' }));
    writer.entry(entryOf({ path: 'a/b', content: 'hello' }));
    for (const byte of Buffer.from('hello')) writer.content(Uint8Array.of(byte));
    writer.end();
    assert.ok(once.equals(Buffer.concat(chunks)));
    assert.equal(once.byteLength % 512, 0);
  });

  test('contents must have the size that the header says', () => {
    const writer = createTarWriter({ write: () => undefined });
    writer.entry(entryOf({ path: 'a', content: 'abc' }));
    assert.throws(() => writer.content(Buffer.from('abcd')), fails('IO_FAILED'));
    assert.throws(() => writer.entry(entryOf({ path: 'b', content: '' })), fails('IO_FAILED'));
    assert.throws(() => writer.end(), fails('IO_FAILED'));
  });

  test('a file that shrinks while it is read is an error, one that grows is cut', () => {
    using temporary = temporaryDirectory();
    const path = join(temporary.path, 'f');
    writeFileSync(path, 'x'.repeat(3_000_000));
    const fd = openSync(path, 'r');
    try {
      const chunks: Buffer[] = [];
      const writer = createTarWriter({ write: (bytes) => void chunks.push(Buffer.from(bytes)) });
      writer.file({ ...entryOf({ path: 'f', content: '' }), size: 2_000_000 }, fd);
      writer.end();
      assert.equal(Buffer.concat(chunks).byteLength, 512 + Math.ceil(2_000_000 / 512) * 512 + 1024);
      truncateSync(path, 10);
      const short = createTarWriter({ write: () => undefined });
      assert.throws(
        () => short.file({ ...entryOf({ path: 'f', content: '' }), size: 100 }, fd),
        fails('IO_FAILED'),
      );
    } finally {
      closeSync(fd);
    }
  });

  test('a large file is read by turns with the event loop, and stops at an abort', async () => {
    using temporary = temporaryDirectory();
    const path = join(temporary.path, 'f');
    writeFileSync(path, '');
    truncateSync(path, 40 << 20);
    const fd = openSync(path, 'r');
    try {
      let [bytes, turns] = [0, 0];
      const timer = setInterval(() => (turns += 1), 0);
      const writer = createTarWriter({ write: (chunk) => (bytes += chunk.byteLength) });
      const header = { ...entryOf({ path: 'f', content: '' }), size: 40 << 20 };
      await writer.largeFile(header, fd, new AbortController().signal);
      clearInterval(timer);
      writer.end();
      assert.equal(bytes, 512 + (40 << 20) + 1024);
      assert.ok(turns > 0);
      const aborted = AbortSignal.abort();
      const again = openSync(path, 'r');
      await assert.rejects(createTarWriter({ write: () => undefined }).largeFile(header, again, aborted), {
        name: 'AbortError',
      });
      closeSync(again);
    } finally {
      closeSync(fd);
    }
  });

  test('a NUL in a name is refused', () => {
    assert.throws(() => encodeHeader(entryOf({ path: 'a\0b', content: '' })), fails('ARCHIVE_INVALID'));
  });

  test('GNU tar shows what was written', () => {
    const { stdout, stderr } = spawnSync(
      'tar',
      ['-tv', '--numeric-owner', '--utc', '--full-time', '--quoting-style=escape'],
      {
        input: tarOf(
          { path: 'd', mode: 0o1777, uid: 3_000_000, gid: 2 },
          { path: `d/${'l'.repeat(300)}`, content: 'abc', mode: 0o4711, mtime: 2 ** 33 + 5 },
          { path: 'd/caf\u00c3\u00a9', type: 'symlink', linkname: 't'.repeat(150) },
          { path: 'd/n', type: 'char', major: 5, minor: 1 },
        ),
        encoding: 'utf8',
        env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' },
      },
    );
    assert.equal(stderr, '');
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => line.replace(/\s+/g, ' '));
    assert.equal(lines[0], 'drwxrwxrwt 3000000/2 0 2020-09-13 12:26:40 d/');
    assert.equal(lines[1], `-rws--x--x 0/0 3 2242-03-16 12:56:37 d/${'l'.repeat(300)}`);
    assert.equal(lines[2], `lrw-r--r-- 0/0 0 2020-09-13 12:26:40 d/caf\\303\\251 -> ${'t'.repeat(150)}`);
    assert.equal(lines[3], 'crw-r--r-- 0/0 5,1 2020-09-13 12:26:40 d/n');
  });
});

describe('tar reader', () => {
  const name = fc
    .stringMatching(/^[a-z\u0001-\u002d\u0030-\u00ff]{1,140}$/)
    .filter((text) => text !== '.' && text !== '..');
  const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => names.join('/'));

  test('whatever is written is read again', async () => {
    await fc.assert(
      fc.asyncProperty(
        path,
        fc.nat(0o7777),
        fc.nat(2 ** 32 - 1),
        fc.integer({ min: -(2 ** 31), max: 2 ** 36 }),
        fc.string({ maxLength: 1500 }),
        fc.option(fc.uint8Array({ maxLength: 40 })),
        fc.integer({ min: 1, max: 3000 }),
        async (at, mode, id, mtime, content, xattr, chunk) => {
          const item: Item = {
            path: at,
            mode,
            uid: id,
            gid: id,
            mtime,
            content,
            ...(xattr === null ? {} : { xattrs: new Map([['security.capability', xattr]]) }),
          };
          const [read, ...more] = await readAll(tarOf(item, { path: 'after', content: 'x' }), chunk);
          assert.deepEqual(read?.entry, entryOf(item));
          assert.equal(read.content, Buffer.from(content).toString('latin1'));
          assert.equal(more.length, 1);
        },
      ),
      { numRuns: 150 },
    );
  });

  test('agrees with tar-stream on what GNU tar writes in every format', async () => {
    using temporary = temporaryDirectory();
    const at = join(temporary.path, 'in');
    mkdirSync(join(at, 'sub'), { recursive: true });
    writeFileSync(join(at, 'sub', 'x'.repeat(180)), 'long');
    writeFileSync(join(at, 'short'), 's'.repeat(1000));
    spawnSync('sh', ['-c', 'ln short hard; ln -s short soft; mkfifo pipe'], { cwd: at });
    for (const format of ['gnu', 'oldgnu', 'pax', 'posix', 'ustar']) {
      const made = spawnSync('tar', ['-c', `--format=${format}`, '--sort=name', '-C', at, '.'], {
        maxBuffer: 1 << 20,
      });
      const ours = await readAll(made.stdout);
      const theirs = await oracle(made.stdout);
      assert.deepEqual(
        ours.map(({ entry }) => [
          entry.path,
          entry.type,
          entry.mode,
          entry.size,
          entry.mtime,
          entry.linkname ?? '',
        ]),
        theirs.map((header) => [
          header.name.replace(/^\.\/?/, '').replace(/\/$/, ''),
          header.type === 'link' ? 'hardlink' : header.type,
          header.mode,
          header.size,
          Math.floor(header.mtime.getTime() / 1000),
          ((header.linkname as string | null) ?? '').replace(/^\.\//, ''),
        ]),
        format,
      );
    }
  });

  test('a tar of the seventh edition is read, directories by their slash', async () => {
    const old = (path: string, size: string): Buffer =>
      patched({ path, content: '' }, (block) => {
        block.fill(0, 156, 157);
        block.fill(0, 257, 512);
        block.write(path, 0);
        block.write(size, 124);
      });
    const tar = Buffer.concat([
      old('d/', '00000000000'),
      old('d/f', '00000000002'),
      Buffer.alloc(512, 'hi\0'),
      END,
    ]);
    const read = await readAll(tar);
    assert.deepEqual(
      read.map(({ entry, content }) => [entry.path, entry.type, content]),
      [
        ['d', 'directory', ''],
        ['d/f', 'file', 'hi'],
      ],
    );
  });

  async function oracle(tar: Buffer): Promise<Header[]> {
    const headers: Header[] = [];
    const stream = extract();
    stream.on('entry', (header, body, next) => {
      headers.push(header);
      body.on('end', next).resume();
    });
    await new Promise<void>((resolve, reject) => {
      stream.on('finish', resolve).on('error', reject).end(tar);
    });
    return headers;
  }

  test('names are confined: absolute ones, dots and what climbs', async () => {
    const names = ['/etc/passwd', '../../x', 'a/../../b', './c/./d', 'e//f', 'g/..', '..', 'h/.x', '..i'];
    const tar = Buffer.concat([
      ...names.map((each) => encodeHeader(entryOf({ path: each, content: '' }))),
      END,
    ]);
    assert.deepEqual(
      (await readAll(tar)).map(({ entry }) => entry.path),
      ['etc/passwd', 'x', 'b', 'c/d', 'e/f', '', '', 'h/.x', '..i'],
    );
    const [link] = await readAll(tarOf({ path: 'l', type: 'hardlink', linkname: '../../etc/shadow' }));
    assert.equal(link?.entry.linkname, 'etc/shadow');
  });

  test('a body that is not read is skipped', async () => {
    const seen: string[] = [];
    for await (const { entry } of readTar(
      chunksOf(tarOf({ path: 'a', content: 'x'.repeat(9000) }, { path: 'b', content: '' })),
    ))
      seen.push(entry.path);
    assert.deepEqual(seen, ['a', 'b']);
  });

  test('a directory in the guise of a file cannot hide entries in its content', async () => {
    const hidden = encodeHeader(entryOf({ path: 'hidden', content: '' }));
    const head = patched({ path: 'd', content: '' }, (block) => {
      block.write('d/', 0);
      block.write('00000001000', 124);
    });
    const read = await readAll(
      Buffer.concat([head, hidden, encodeHeader(entryOf({ path: 'z', content: '' })), END]),
    );
    assert.deepEqual(
      read.map(({ entry }) => [entry.path, entry.type]),
      [
        ['d', 'directory'],
        ['z', 'file'],
      ],
    );
  });

  test('numbers in base 256 are read, too large ones refused', async () => {
    const base256 =
      (value: bigint) =>
      (block: Buffer): void => {
        block.fill(0, 108, 116);
        block[108] = 0x80;
        block.writeBigUInt64BE(value | (0x80n << 56n), 108);
      };
    const [read] = await readAll(
      Buffer.concat([patched({ path: 'a', content: '' }, base256(4_000_000_000n)), END]),
    );
    assert.equal(read?.entry.uid, 4_000_000_000);
    await refuses(Buffer.concat([patched({ path: 'a', content: '' }, base256(2n ** 55n)), END]));
  });

  test('a PAX record overrides the header, an empty one takes it back', async () => {
    const [read] = await readAll(
      Buffer.concat([
        pax('x', '12 path=one\n8 path=\n18 mtime=-1.25000\n'),
        encodeHeader(entryOf({ path: 'own', content: '' })),
        END,
      ]),
    );
    assert.equal(read?.entry.path, 'one');
    assert.equal(read.entry.mtime, -2);
  });

  const sparse = (records: string, content: string): Buffer =>
    Buffer.concat([
      pax(
        'x',
        records
          .split(';')
          .map((record) => `${record.length + 4} ${record}\n`)
          .join(''),
      ),
      tarOf({ path: 'a', content }),
    ]);

  for (const form of ['gnu', 'pax 0.0', 'pax 0.1', 'pax 1.0'])
    test(`a sparse file has its holes filled: ${form}`, async () => {
      using directory = temporaryDirectory();
      const at = join(directory.path, 'sparse');
      const content = Buffer.alloc(3_000_001);
      for (let i = 0; i < 30; i += 1) content.write(`part ${i}`, i * 100_000);
      const fd = openSync(at, 'w');
      for (let i = 0; i < 30; i += 1) writeSync(fd, `part ${i}`, i * 100_000);
      ftruncateSync(fd, content.byteLength);
      closeSync(fd);
      const [format = '', version = '1.0'] = form.split(' ');
      const archive = execFileSync('tar', [
        ...['-c', '-S', `--format=${format}`, '-C', directory.path],
        ...(format === 'pax' ? [`--sparse-version=${version}`] : []),
        'sparse',
      ]);
      assert.ok(archive.byteLength < 1_000_000);
      const [read, ...others] = await readAll(archive);
      assert.equal(others.length, 0);
      assert.equal(read?.entry.path, 'sparse');
      assert.equal(read.entry.size, content.byteLength);
      assert.ok(read.content === content.toString('latin1'));
    });

  const truncated = tarOf({ path: 'a', content: 'x'.repeat(2000) });
  const hostile: Readonly<Record<string, Buffer>> = {
    'a wrong checksum': Buffer.concat([
      encodeHeader(entryOf({ path: 'a', content: '' })).fill('z', 0, 1),
      END,
    ]),
    'an end inside a content': truncated.subarray(0, 1500),
    'an end inside a padding': truncated.subarray(0, 512 + 2000 + 10),
    'an end inside a header': truncated.subarray(0, 100),
    'a sparse file of a version that nobody knows': Buffer.concat([
      pax('x', '22 GNU.sparse.major=2\n22 GNU.sparse.minor=0\n'),
      encodeHeader(entryOf({ path: 'a', content: '' })),
      END,
    ]),
    'a sparse file without its size': sparse('GNU.sparse.map=0,3', 'abc'),
    'a sparse file whose parts overlap': sparse('GNU.sparse.map=0,2,1,1;GNU.sparse.size=9', 'abc'),
    'a sparse file with a part beyond its end': sparse('GNU.sparse.map=8,3;GNU.sparse.size=9', 'abc'),
    'a sparse file of which too little is there': sparse('GNU.sparse.map=0,4;GNU.sparse.size=9', 'abc'),
    'a sparse file with half a part': sparse('GNU.sparse.map=0,3,5;GNU.sparse.size=9', 'abc'),
    'a sparse file that ends inside its map': Buffer.concat([
      patched({ path: 'a', content: '' }, (block) => block.fill(1, 482, 483).write('S', 156)),
    ]),
    'a sparse file with more parts than it can have': sparse(
      'GNU.sparse.major=1;GNU.sparse.minor=0;GNU.sparse.realsize=9',
      '99999999\n'.padEnd(512, '\0'),
    ),
    'a type that is not known': Buffer.concat([
      patched({ path: 'a', content: '' }, (block) => block.write('Q', 156)),
      END,
    ]),
    'a negative size': Buffer.concat([
      patched({ path: 'a', content: '' }, (block) => block.fill(0xff, 124, 136)),
      END,
    ]),
    'a size that is no number': Buffer.concat([
      patched({ path: 'a', content: '' }, (block) => block.write('9z', 124)),
      END,
    ]),
    'a PAX record longer than its header': Buffer.concat([pax('x', '99 path=a\n'), END]),
    'a PAX record without a key': Buffer.concat([pax('x', '5 ab\n'), END]),
    'a PAX size that is no number': Buffer.concat([pax('x', '11 size=-1\n'), END]),
    'a NUL in a PAX name': Buffer.concat([
      pax('x', '12 path=a\0b\n'),
      encodeHeader(entryOf({ path: 'a', content: '' })),
      END,
    ]),
    'a name longer than Linux takes': Buffer.concat([
      pax('L', 'a/'.repeat(3000)),
      encodeHeader(entryOf({ path: 'a', content: '' })),
      END,
    ]),
    'an extended header of 2 MiB': Buffer.concat([
      patched({ path: 'a', content: '' }, (block) => {
        block.write('x', 156);
        block.write((2 << 20).toString(8).padStart(11, '0'), 124);
      }),
      Buffer.alloc(2 << 20),
      END,
    ]),
  };
  for (const [subject, tar] of Object.entries(hostile))
    test(`${subject} is refused`, async () => {
      await refuses(tar);
    });

  test('random bytes are refused or read, never anything else', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(5000), fc.uint8Array({ minLength: 1, maxLength: 30 }), async (at, noise) => {
        const tar = tarOf({ path: 'd' }, { path: 'd/\u00e9', content: 'x'.repeat(700), uid: 3_000_000 });
        tar.set(noise.subarray(0, Math.max(0, tar.byteLength - at)), Math.min(at, tar.byteLength));
        try {
          await readAll(tar);
        } catch (error) {
          assert.ok(isTsbuildError(error, 'ARCHIVE_INVALID'), String(error));
        }
      }),
      { numRuns: 300 },
    );
  });

  test('a tar is known by its first block', () => {
    assert.ok(looksLikeTar(tarOf({ path: 'a', content: '' })));
    assert.ok(!looksLikeTar(Buffer.alloc(1024)));
    assert.ok(!looksLikeTar(Buffer.from('#!/bin/sh\n'.repeat(100))));
    assert.ok(!looksLikeTar(Buffer.alloc(10)));
  });

  test('a large body is read in constant memory', async () => {
    const chunk = Buffer.alloc(1 << 20);
    async function* large(): AsyncGenerator<Uint8Array> {
      yield encodeHeader({ ...entryOf({ path: 'big', content: '' }), size: 600 << 20 });
      for (let i = 0; i < 600; i += 1) yield await Promise.resolve(chunk);
      yield END;
    }
    const before = process.memoryUsage().rss;
    let size = 0;
    for await (const { body } of readTar(large())) for await (const part of body()) size += part.byteLength;
    assert.equal(size, 600 << 20);
    assert.ok(process.memoryUsage().rss - before < 64 << 20);
  });
});
