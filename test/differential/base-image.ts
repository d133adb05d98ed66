/** The root file system behind `bb:1`: a busybox with users, groups, directories and links to copy onto. */
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const FILES: Readonly<Record<string, string>> = {
  '/etc/passwd':
    'root:x:0:0:root:/root:/bin/sh\nbob:x:1000:2000:Bob:/home/bob:/bin/sh\neve:x:1001:1001::/:/bin/sh\n',
  '/etc/group': 'root:x:0:\nbobs:x:2000:\neve:x:1001:\nextra:x:3000:bob\nstaff:x:50:eve,bob\n',
  '/srv/real/kept': 'kept\n',
  '/srv/file': 'file of the base\n',
  '/srv/full/sub/deep': 'deep\n',
};

const LINKS: Readonly<Record<string, string>> = {
  '/srv/link': 'real',
  '/srv/absolute': '/srv/real',
  '/srv/to-file': 'file',
  '/srv/dangling': 'nowhere',
  '/srv/up': '../../../srv/real',
};

/** Directory → mode, uid, gid. */
const DIRECTORIES: Readonly<Record<string, readonly [number, number, number]>> = {
  '/root': [0o700, 0, 0],
  '/tmp': [0o1777, 0, 0],
  '/home/bob': [0o750, 1000, 2000],
  '/srv/owned': [0o705, 5, 6],
  '/srv/full/sub': [0o705, 5, 6],
  '/mnt': [0o755, 0, 0],
};

/** Writes the archive and returns its path. */
export function makeBaseTar(directory: string): string {
  const root = join(directory, 'base');
  for (const name of [
    'bin',
    'etc',
    'root',
    'tmp',
    'home/bob',
    'mnt',
    'srv/real',
    'srv/owned',
    'srv/full/sub',
  ])
    mkdirSync(join(root, name), { recursive: true, mode: 0o755 });
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'));
  for (const applet of execFileSync('/bin/busybox', ['--list'], { encoding: 'utf8' }).trim().split('\n'))
    if (applet !== 'busybox') symlinkSync('busybox', join(root, 'bin', applet));
  for (const [path, text] of Object.entries(FILES)) writeFileSync(join(root, path), text, { mode: 0o644 });
  for (const [path, target] of Object.entries(LINKS)) symlinkSync(target, join(root, path));
  for (const [path, [mode, uid, gid]] of Object.entries(DIRECTORIES)) {
    chmodSync(join(root, path), mode);
    chownSync(join(root, path), uid, gid);
  }
  const tar = join(directory, 'base.tar');
  execFileSync('tar', ['-C', root, '--sort=name', '--numeric-owner', '-cf', tar, '.']);
  return tar;
}
