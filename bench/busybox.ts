/** A root file system with busybox, for builds that need a base and no registry. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Makes it below `directory`; returns the path of its tar there. */
export function makeBusyboxTar(directory: string): string {
  const files = join(directory, 'busybox');
  for (const name of ['bin', 'etc', 'tmp']) mkdirSync(join(files, name), { recursive: true });
  copyFileSync('/bin/busybox', join(files, 'bin/busybox'));
  for (const applet of execFileSync('/bin/busybox', ['--list'], { encoding: 'utf8' }).trim().split('\n'))
    if (applet !== 'busybox') symlinkSync('busybox', join(files, 'bin', applet));
  writeFileSync(join(files, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n');
  execFileSync('chmod', ['1777', join(files, 'tmp')]);
  const tar = join(directory, 'busybox.tar');
  execFileSync('tar', ['-C', files, '-cf', tar, '.']);
  return tar;
}
