/** Each of the flags that keep names from leading elsewhere, alone: what would be let in without it, and is not. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  constants,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { isTsbuildError } from '../../src/base/errors.ts';
import { FdDirectory } from '../../src/layer/fd-directory.ts';
import { openRootFs } from '../../src/layer/open-tree.ts';
import { placeStubs } from '../../snapshotter/stubs.ts';
import { temporaryDirectory } from '../suites/layer-fixture.ts';
import { openSandbox, type Sandbox } from './runtime-fixture.ts';

let box: Sandbox;
before(() => {
  box = openSandbox();
});
after(() => box.close());

test('RESOLVE_NO_MAGICLINKS: a link of procfs is not followed, whatever it leads to', async () => {
  // Below /proc no link is followed at all, so the image leads there.
  const links = ['/proc/self/root/tmp', '/proc/self/cwd', '/proc/1/root'];
  for (const [n, link] of links.entries()) symlinkSync(link, join(box.root, `link-${n}`));
  for (const cwd of [...links, '/link-0', '/link-1', '/link-2'])
    await assert.rejects(
      box.run(box.spec(['true'], { cwd })),
      // EXDEV would be the kernel's own rule for lookups in a root.
      (error) => isTsbuildError(error, 'CONTAINER_START_FAILED') && error.message.includes('ELOOP'),
      cwd,
    );
});

test('O_NOFOLLOW: an open directory gives neither directory nor file by a symlink', () => {
  using directory = temporaryDirectory();
  const root = join(directory.path, 'root');
  for (const path of [join(root, 'd'), join(directory.path, 'victim')]) mkdirSync(path, { recursive: true });
  writeFileSync(join(directory.path, 'victim/file'), 'secret');
  symlinkSync('../victim', join(root, 'dir'));
  symlinkSync('../victim/file', join(root, 'file'));
  symlinkSync('../victim/new', join(root, 'new'));
  using opened = new FdDirectory(openSync(root, constants.O_RDONLY | constants.O_DIRECTORY));
  assert.throws(() => opened.directory('dir'), /ELOOP|ENOTDIR/);
  assert.throws(() => opened.open('file'), /ELOOP/);
  assert.throws(() => opened.makeFile('new', 0o644), /EEXIST/);
  assert.ok(!existsSync(join(directory.path, 'victim/new')));
});

test('O_NONBLOCK: a fifo in the place of a file keeps nobody waiting', { timeout: 60_000 }, () => {
  using directory = temporaryDirectory();
  execFileSync('mkfifo', [join(directory.path, 'fifo')]);
  using opened = new FdDirectory(openSync(directory.path, constants.O_RDONLY | constants.O_DIRECTORY));
  closeSync(opened.open('fifo'));
  using tree = openRootFs(directory.path);
  assert.equal(tree.readFile('fifo', 1 << 20), undefined);
});

/** A root with one stub of that path, and what `change` does to it before it is taken away again. */
function withStub(path: string, type: 'directory' | 'file', change: (root: string) => void): string {
  const root = join(box.directory, `stubs-${path.replaceAll('/', '-')}-${Math.random()}`);
  mkdirSync(root);
  const placed = placeStubs(root, [{ path: `/${path}`, type }]);
  assert.ok(existsSync(join(root, path)));
  change(root);
  placed.remove();
  return root;
}

test('CVE-2024-23652: of a mount point only the inode that was made is taken away', () => {
  assert.ok(
    !existsSync(
      join(
        withStub('m', 'directory', () => undefined),
        'm',
      ),
    ),
    'its own goes',
  );
  const replaced = withStub('m', 'directory', (root) => {
    mkdirSync(join(root, 'other'));
    rmdirSync(join(root, 'm'));
    renameSync(join(root, 'other'), join(root, 'm'));
  });
  assert.ok(existsSync(join(replaced, 'm')), "the step's own directory stays");
});

test('CVE-2024-23652: no mount point is looked for through a symlink', () => {
  const root = withStub('sub/x', 'directory', (at) => {
    renameSync(join(at, 'sub'), join(at, 'gone'));
    symlinkSync('gone', join(at, 'sub'));
  });
  assert.ok(existsSync(join(root, 'gone/x')));
  assert.ok(lstatSync(join(root, 'sub')).isSymbolicLink());
});

test('a mount point that a step made its own stays', () => {
  const written = withStub('f', 'file', (root) => writeFileSync(join(root, 'f'), 'mine'));
  assert.equal(readFileSync(join(written, 'f'), 'utf8'), 'mine');
  const linked = withStub('f', 'file', (root) => linkSync(join(root, 'f'), join(root, 'second')));
  assert.ok(existsSync(join(linked, 'f')));
  const filled = withStub('d', 'directory', (root) => writeFileSync(join(root, 'd/x'), ''));
  assert.ok(existsSync(join(filled, 'd/x')));
});
