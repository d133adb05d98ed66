import assert from 'node:assert/strict';
import { closeSync, mkdirSync, readSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { isTsbuildError, type ErrorCode } from '../../src/base/errors.ts';
import { emptyTree, openDirectoryTree, openTree } from '../../src/layer/open-tree.ts';
import type { Tree } from '../../src/layer/tree.ts';
import { temporaryDirectory } from '../suites/layer-fixture.ts';

const fails = (code: ErrorCode) => (error: unknown) => isTsbuildError(error, code);

/** root/{a/{f,b/},abs → /a,rel → a/b,out → ../../etc,chain → rel/..,loop → loop,gone → a/missing} */
function withTree(use: (tree: Tree, root: string) => void): void {
  using temporary = temporaryDirectory();
  const root = join(temporary.path, 'root');
  mkdirSync(join(root, 'a', 'b'), { recursive: true });
  writeFileSync(join(root, 'a', 'f'), 'inside');
  writeFileSync(join(temporary.path, 'secret'), 'outside');
  const links = {
    abs: '/a',
    rel: 'a/b',
    out: '../../../../secret',
    chain: 'rel/..',
    loop: 'loop',
    gone: 'a/missing',
    'a/up': '../../secret',
  };
  for (const [name, target] of Object.entries(links)) symlinkSync(target, join(root, name));
  using tree = openDirectoryTree(root);
  use(tree, root);
}

describe('tree of a directory', () => {
  const resolved: readonly (readonly [string, string])[] = [
    ['', ''],
    ['/', ''],
    ['a/f', 'a/f'],
    ['/a//b/.', 'a/b'],
    ['a/b/../f', 'a/f'],
    ['../../a', 'a'],
    ['abs/f', 'a/f'],
    ['rel', 'a/b'],
    ['chain/f', 'a/f'],
    ['out', 'secret'],
    ['a/up', 'secret'],
    ['gone', 'a/missing'],
    ['gone/x/../y', 'a/missing/y'],
    ['new/deep/file', 'new/deep/file'],
    ['new/../a', 'a'],
    ['a/f/below', 'a/f/below'],
  ];
  for (const [path, expected] of resolved)
    test(`${JSON.stringify(path)} means ${JSON.stringify(expected)}`, () => {
      withTree((tree) => {
        assert.equal(tree.resolve(path), expected);
      });
    });

  test('stat follows links inside the root, lstat does not follow the last one', () => {
    withTree((tree) => {
      assert.equal(tree.stat('abs')?.type, 'directory');
      assert.equal(tree.lstat('abs')?.type, 'symlink');
      assert.equal(tree.lstat('abs/f')?.type, 'file');
      assert.equal(tree.stat('gone'), undefined);
      assert.equal(tree.stat('a/f/below'), undefined);
      assert.equal(tree.stat('')?.type, 'directory');
      assert.equal(tree.readlink('abs'), '/a');
    });
  });

  test('nothing outside can be read', () => {
    withTree((tree) => {
      for (const path of ['out', 'a/up', '../secret', '/../secret', 'rel/../../../secret'])
        assert.equal(tree.readFile(path, 100), undefined, path);
      assert.equal(Buffer.from(tree.readFile('chain/f', 100) ?? []).toString(), 'inside');
    });
  });

  test('a file larger than allowed is refused, a directory is no file', () => {
    withTree((tree) => {
      assert.throws(() => tree.readFile('a/f', 5), fails('IO_FAILED'));
      assert.equal(tree.readFile('a', 100), undefined);
      assert.equal(tree.readFile('a/nothing', 100), undefined);
    });
  });

  test('loops, names that are too long and non-directories are errors of ours', () => {
    withTree((tree) => {
      assert.throws(() => tree.stat('loop/x'), fails('IO_FAILED'));
      assert.throws(() => tree.stat('x'.repeat(300)), fails('IO_FAILED'));
      assert.throws(() => tree.directory('a/f'), fails('IO_FAILED'));
      assert.throws(() => tree.readlink('a'), fails('IO_FAILED'));
    });
    assert.throws(() => openDirectoryTree('/nowhere/at/all'), fails('IO_FAILED'));
  });

  test('a directory lists names by bytes and never follows', () => {
    withTree((tree, root) => {
      writeFileSync(Buffer.concat([Buffer.from(`${root}/a/`), Buffer.of(0xff, 0x41)]), 'odd');
      using directory = tree.directory('chain');
      assert.deepEqual(directory.names(), ['b', 'f', 'up', '\u00ffA']);
      assert.equal(directory.lstat('up').type, 'symlink');
      assert.equal(directory.lstatIfExists('none'), undefined);
      assert.throws(() => directory.open('up'));
      assert.throws(() => directory.directory('up'));
      const fd = directory.open('\u00ffA');
      const buffer = Buffer.alloc(10);
      assert.equal(buffer.toString('latin1', 0, readSync(fd, buffer)), 'odd');
      closeSync(fd);
      using below = directory.directory('b');
      assert.deepEqual(below.names(), []);
    });
  });

  test('a stat holds size, time in ns and links', () => {
    withTree((tree) => {
      const stat = tree.stat('a/f');
      assert.equal(stat?.size, 6);
      assert.equal(stat.nlink, 1);
      assert.ok(stat.mtimeNs > 1_600_000_000_000_000_000n);
    });
  });
});

test('an empty tree has a root and nothing else', () => {
  for (const tree of [emptyTree(), openTree([])]) {
    assert.equal(tree.stat('/')?.type, 'directory');
    assert.equal(tree.lstat('x'), undefined);
    assert.equal(tree.resolve('/a/../b/'), 'b');
    assert.deepEqual(tree.directory('').names(), []);
    assert.equal(tree.readFile('etc/passwd', 100), undefined);
    assert.throws(() => tree.directory('x'), fails('IO_FAILED'));
  }
});
