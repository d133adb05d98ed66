import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { isTsbuildError, TsbuildError } from '../../src/base/errors.ts';
import {
  decompress,
  decompressedHead,
  peekHead,
  sniffCompression,
  unzstd,
} from '../../src/layer/decompress.ts';
import { chunksOf } from '../suites/layer-fixture.ts';

const CONTENT = Buffer.from('all work and no play makes a dull layer\n'.repeat(20_000));

async function decompressed(bytes: Uint8Array, chunk = 5000): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of decompress(chunksOf(bytes, chunk))) parts.push(Uint8Array.from(part));
  return Buffer.concat(parts);
}

function through(tool: string, ...args: readonly string[]): Buffer {
  const { stdout, status } = spawnSync(tool, args, { input: CONTENT });
  assert.equal(status, 0);
  return stdout;
}

describe('decompress', () => {
  const forms = {
    none: () => CONTENT,
    gzip: () => gzipSync(CONTENT),
    zstd: () => through('zstd', '-c'),
    xz: () => through('xz', '-c'),
    bzip2: () => through('bzip2', '-c'),
  } as const;

  for (const [form, make] of Object.entries(forms)) {
    test(`${form} is known by its first bytes and gives back the content`, async () => {
      const bytes = make();
      assert.equal(sniffCompression(bytes), form);
      assert.ok((await decompressed(bytes)).equals(CONTENT));
      assert.ok((await decompressed(bytes.subarray(0), 1 << 20)).equals(CONTENT));
    });
    if (form !== 'none')
      test(`${form} that is cut is refused`, async () => {
        const bytes = make();
        await assert.rejects(decompressed(bytes.subarray(0, Math.floor(bytes.byteLength / 2))), (error) =>
          isTsbuildError(error, 'ARCHIVE_INVALID'),
        );
      });
  }

  test('several gzip members and several zstd frames are one content', async () => {
    const [gzip, zstd] = [forms.gzip(), forms.zstd()];
    const skippable = Buffer.from('5a2a4d1803000000616263', 'hex');
    assert.ok((await decompressed(Buffer.concat([gzip, gzip]))).equals(Buffer.concat([CONTENT, CONTENT])));
    assert.ok(
      (await decompressed(Buffer.concat([skippable, zstd, skippable, zstd]))).equals(
        Buffer.concat([CONTENT, CONTENT]),
      ),
    );
  });

  test('zstd without the program gives the same, and refuses what is cut', async () => {
    const zstd = forms.zstd();
    const skippable = Buffer.from('5a2a4d1803000000616263', 'hex');
    const collect = async (bytes: Uint8Array): Promise<Buffer> => {
      const parts: Uint8Array[] = [];
      for await (const part of unzstd(chunksOf(bytes, 100))) parts.push(part);
      return Buffer.concat(parts);
    };
    assert.ok(
      (await collect(Buffer.concat([skippable, zstd, zstd]))).equals(Buffer.concat([CONTENT, CONTENT])),
    );
    await assert.rejects(collect(zstd.subarray(0, zstd.byteLength - 20)));
  });

  test('damage in the middle is refused', async () => {
    const bytes = Buffer.from(forms.gzip());
    bytes.fill(0xa5, 300, 400);
    await assert.rejects(decompressed(bytes), (error) => isTsbuildError(error, 'ARCHIVE_INVALID'));
  });

  const SIZE = 512;
  const headOf = async (bytes: Uint8Array, chunk = 1 << 20): Promise<Buffer> =>
    Buffer.from(await decompressedHead(chunksOf(bytes, chunk), SIZE));

  test('xz that wants more memory than its presets do is refused, and is known as what it holds all the same', async () => {
    const bytes = through('xz', '-c', '-T1', '--lzma2=preset=0,dict=192MiB');
    await assert.rejects(decompressed(bytes), { code: 'ARCHIVE_INVALID', message: /[Mm]emory usage limit/ });
    const head = await decompressedHead(chunksOf(bytes, 5000), 100);
    assert.ok(CONTENT.subarray(0, 100).equals(head));
  });

  for (const form of ['gzip', 'zstd', 'xz', 'bzip2'] as const)
    test(`the beginning of ${form} is the same wherever it is damaged behind it`, async () => {
      // Of content that does not compress, so that the beginning takes some bytes.
      const content = randomBytes(4000);
      const { stdout } = spawnSync(form, ['-c'], { input: content });
      assert.ok((await headOf(stdout)).equals(content.subarray(0, SIZE)));
      assert.ok((await headOf(Buffer.concat([stdout, stdout]), 7)).equals(content.subarray(0, SIZE)));
      // These two give out whole blocks, and these blocks are damaged.
      if (form === 'bzip2' || form === 'xz') return;
      for (let at = stdout.byteLength - 1; at > 1000; at -= 100) {
        const damaged = Buffer.from(stdout);
        damaged[at] = (damaged[at] ?? 0) ^ 0xff;
        assert.ok((await headOf(damaged)).equals(content.subarray(0, SIZE)), `damaged at ${at}`);
      }
      assert.ok(
        (await headOf(Buffer.concat([stdout, Buffer.from('garbage')]))).equals(content.subarray(0, SIZE)),
      );
    });

  test('the beginning of what is no stream, or a short one, is as long as it is', async () => {
    assert.equal((await headOf(gzipSync('short'))).toString(), 'short');
    assert.equal((await headOf(Buffer.from('plain'))).toString(), 'plain');
    assert.equal((await headOf(Buffer.from('1f8b08ff00000000', 'hex'))).byteLength, 0);
    assert.equal((await headOf(Buffer.from('28b52ffdffffffff', 'hex'))).byteLength, 0);
    assert.equal((await headOf(Buffer.alloc(0))).byteLength, 0);
  });

  test('an empty source and one shorter than any magic are plain', async () => {
    assert.equal((await decompressed(Buffer.alloc(0))).byteLength, 0);
    assert.equal((await decompressed(Buffer.from('ab'), 1)).toString(), 'ab');
  });

  for (const form of ['gzip', 'zstd', 'xz'] as const)
    test(`an error of the source comes through ${form} as it is`, async () => {
      const broke = new TsbuildError('DIGEST_MISMATCH', 'the source broke');
      async function* failing(): AsyncGenerator<Uint8Array> {
        yield await Promise.resolve(forms[form]().subarray(0, 60));
        throw broke;
      }
      await assert.rejects(
        async () => {
          for await (const part of decompress(failing())) assert.ok(part.byteLength > 0);
        },
        (error) => error === broke,
      );
    });

  test('a reader that stops early ends the tool', async () => {
    for await (const part of decompress(chunksOf(forms.xz(), 100))) {
      assert.ok(part.byteLength > 0);
      break;
    }
  });

  test('the head is seen and not taken away, even where the source reuses its buffer', async () => {
    const buffer = Buffer.alloc(2);
    async function* reusing(): AsyncGenerator<Uint8Array> {
      for (const text of ['ab', 'cd', 'ef']) {
        buffer.write(text);
        yield await Promise.resolve(buffer);
      }
    }
    const { head, all } = await peekHead(reusing(), 3);
    assert.equal(Buffer.from(head).toString(), 'abc');
    let text = '';
    for await (const part of all) text += Buffer.from(part).toString();
    assert.equal(text, 'abcdef');
  });
});
