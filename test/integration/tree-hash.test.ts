import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { callTree } from '../../native/tree.ts';
import { isTsbuildError } from '../../src/base/errors.ts';

void test('a call hashes files of all sizes around a block as Node does', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'tsbuild-tree-'));
  try {
    for (const size of [0, 1, 55, 56, 63, 64, 65, 119, 120, 1 << 20, (1 << 20) + 57]) {
      const bytes = Buffer.alloc(size, `${size} bytes`);
      writeFileSync(join(directory, 'file'), bytes);
      const fd = openSync(join(directory, 'file'), 'r');
      const answer = await callTree({
        job: 'hash',
        request: new Uint8Array(),
        descriptors: [fd],
        what: 'hash a file',
      });
      closeSync(fd);
      assert.equal(answer.toString('hex', 0, 32), createHash('sha256').update(bytes).digest('hex'));
      assert.equal(answer.readBigUInt64LE(32), BigInt(size));
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
});

void test('a call that was given nothing to hash says so', async () => {
  await assert.rejects(
    callTree({ job: 'hash', request: new Uint8Array(), descriptors: [], what: 'hash a file' }),
    (error) => isTsbuildError(error, 'IO_FAILED') && error.message.includes('0 descriptors were given'),
  );
});

void test('a call that is aborted ends', async () => {
  const zero = openSync('/dev/zero', 'r');
  const abort = new AbortController();
  const call = callTree({
    job: 'hash',
    request: new Uint8Array(),
    descriptors: [zero],
    what: 'hash without end',
    signal: abort.signal,
  });
  setTimeout(() => abort.abort(), 50);
  await assert.rejects(call, (error) => isTsbuildError(error, 'ABORTED'));
  closeSync(zero);
});
