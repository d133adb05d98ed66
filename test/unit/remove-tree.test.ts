import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { removeTree } from '../../src/base/remove-tree.ts';
import { usageOf } from '../../src/base/usage.ts';

/** As a process makes them that goes down step by step. */
function makeDeep(directory: string, levels: number, name = 'n'.repeat(100)): void {
  const script = [
    'import os, sys',
    'os.chdir(sys.argv[1])',
    'for _ in range(int(sys.argv[2])):',
    '  os.mkdir(sys.argv[3]); os.chdir(sys.argv[3]); open("f", "w").close()',
  ].join('\n');
  execFileSync('python3', ['-c', script, directory, String(levels), name]);
}

test('what lies deeper than any path reaches is removed', () => {
  const top = mkdtempSync(join(tmpdir(), 'tsbuild-deep-'));
  try {
    for (const name of ['one', 'two']) {
      mkdirSync(join(top, name));
      makeDeep(join(top, name), 150);
    }
    writeFileSync(join(top, '.cut-0'), '');
    assert.throws(() => rmSync(top, { recursive: true, force: true }), /ENAMETOOLONG/);
    // Names are counted as far as paths reach.
    assert.ok(usageOf(join(top, 'two')).inodes > 20);
    removeTree(top);
    assert.equal(existsSync(top), false);
  } finally {
    if (existsSync(top)) execFileSync('rm', ['-rf', top]);
  }
});

test('what has as many levels as a path has room for is removed', () => {
  const top = mkdtempSync(join(tmpdir(), 'tsbuild-deep-'));
  try {
    makeDeep(top, 1900, 'n');
    removeTree(top);
    assert.equal(existsSync(top), false);
  } finally {
    if (existsSync(top)) execFileSync('rm', ['-rf', top]);
  }
});

test('what is not there is removed, and a file', () => {
  const top = mkdtempSync(join(tmpdir(), 'tsbuild-deep-'));
  removeTree(join(top, 'nothing'));
  writeFileSync(join(top, 'file'), '');
  removeTree(join(top, 'file'));
  assert.equal(existsSync(join(top, 'file')), false);
  removeTree(top);
});
