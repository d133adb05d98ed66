import assert from 'node:assert/strict';
import {
  closeSync,
  existsSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { getXattr, makeFile, makeNode, setTimeNs, setXattr, tryLock } from '../../native/sys.ts';
import { openOverlayView } from '../../native/overlay.ts';
import { temporaryDirectory } from '../suites/layer-fixture.ts';

function inDirectory(use: (path: string) => void): void {
  using temporary = temporaryDirectory();
  use(temporary.path);
}

describe('system calls', () => {
  test('an error names the call and its errno', () => {
    inDirectory((path) => {
      assert.throws(
        () => {
          makeNode(join(path, 'no', 'such'), 'fifo', 0o600, 0, 0);
        },
        { code: 'ENOENT', message: /^mknod: ENOENT/ },
      );
    });
  });

  test('makeNode makes devices with large numbers and fifos', () => {
    inDirectory((path) => {
      makeNode(join(path, 'c'), 'char', 0o640, 300, 70_000);
      makeNode(join(path, 'b'), 'block', 0o600, 8, 1);
      makeNode(join(path, 'f'), 'fifo', 0o600, 0, 0);
      assert.equal(
        BigInt(lstatSync(join(path, 'c')).rdev),
        (300n << 8n) | (70_000n & 0xffn) | ((70_000n & ~0xffn) << 12n),
      );
      assert.ok(lstatSync(join(path, 'b')).isBlockDevice());
      assert.ok(lstatSync(join(path, 'f')).isFIFO());
    });
  });

  test('makeFile sets content, mode, owner and time, and says where a name is taken', () => {
    inDirectory((path) => {
      const at = Buffer.concat([Buffer.from(`${path}/`), Buffer.of(0xe9)]);
      const attributes = { mode: 0o6755, uid: 12, gid: 34, mtime: -5 };
      assert.equal(makeFile(at, attributes, Buffer.from('content')), true);
      assert.equal(readFileSync(at, 'utf8'), 'content');
      const { mode, uid, gid, mtimeMs } = lstatSync(at);
      assert.deepEqual([mode & 0o7777, uid, gid, mtimeMs], [0o6755, 12, 34, -5000]);
      assert.equal(makeFile(at, attributes, Buffer.from('other')), false);
      symlinkSync('/etc/never', join(path, 'link'));
      assert.equal(makeFile(join(path, 'link'), attributes, Buffer.from('x')), false);
      assert.ok(!existsSync('/etc/never'));
      assert.equal(readFileSync(at, 'utf8'), 'content');
      assert.throws(() => makeFile(join(path, 'x'.repeat(300)), attributes, Buffer.alloc(0)), {
        code: 'ENAMETOOLONG',
      });
    });
  });

  test('xattrs are bytes, and one that is absent is undefined', () => {
    inDirectory((path) => {
      const at = join(path, 'f');
      writeFileSync(at, '');
      assert.equal(getXattr(at, 'user.a'), undefined);
      setXattr(at, 'user.a', Uint8Array.of(0, 255, 10));
      assert.deepEqual(getXattr(at, 'user.a'), Uint8Array.of(0, 255, 10));
      assert.throws(() => getXattr(join(path, 'none'), 'user.a'), { code: 'ENOENT' });
      symlinkSync('f', join(path, 'l'));
      assert.equal(getXattr(join(path, 'l'), 'user.a'), undefined);
    });
  });

  test('times are exact to the nanosecond, before the epoch too, and of the link itself', () => {
    inDirectory((path) => {
      const at = join(path, 'l');
      symlinkSync('nowhere', at);
      for (const time of [1_234_567_890_123_456_789n, -1n, -1_000_000_001n]) {
        setTimeNs(at, time);
        assert.equal(lstatSync(at, { bigint: true }).mtimeNs, time);
      }
    });
  });

  test('a lock excludes others until its descriptor is closed', () => {
    inDirectory((path) => {
      const [one, other] = [openSync(path, 'r'), openSync(path, 'r')];
      assert.equal(tryLock(one, 'exclusive'), true);
      assert.equal(tryLock(other, 'shared'), false);
      closeSync(one);
      assert.equal(tryLock(other, 'shared'), true);
      closeSync(other);
    });
  });

  test('an overlay view merges, is read-only and is mounted nowhere', () => {
    inDirectory((path) => {
      for (const [name, file] of [
        ['top', 'a'],
        ['low', 'b'],
      ] as const) {
        mkdirSync(join(path, name));
        writeFileSync(join(path, name, file), name);
        writeFileSync(join(path, name, 'both'), name);
      }
      // Others may mount meanwhile.
      const mounts = (): readonly string[] =>
        readFileSync('/proc/self/mounts', 'utf8')
          .split('\n')
          .filter((line) => line.includes(path));
      const before = mounts();
      const fd = openOverlayView([join(path, 'top'), join(path, 'low')]);
      assert.deepEqual(readdirSync(`/proc/self/fd/${fd}/`).sort(), ['a', 'b', 'both']);
      assert.equal(readFileSync(`/proc/self/fd/${fd}/both`, 'utf8'), 'top');
      assert.throws(
        () => {
          writeFileSync(`/proc/self/fd/${fd}/new`, '');
        },
        { code: 'EROFS' },
      );
      assert.deepEqual(mounts(), before);
      closeSync(fd);
      assert.throws(() => fstatSync(fd));
      assert.throws(() => openOverlayView([join(path, 'top'), join(path, 'none')]), { code: 'ENOENT' });
    });
  });
});
