/**
 * Driver `copy`: every snapshot is a complete copy of its parent, changed. Slow and obvious: the oracle that the
 * other drivers are held against, and the last resort where no overlay can be mounted.
 */
import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { ioError } from '../src/base/errors.ts';
import type { Snapshotter } from './snapshotter.ts';
import type { DriverOptions } from './stacked.ts';
import { createWholeSnapshotter } from './whole.ts';

export function createCopySnapshotter(options: DriverOptions): Snapshotter {
  return createWholeSnapshotter(options, {
    name: 'copy',
    make: (directory) => mkdirSync(join(directory, 'fs'), { mode: 0o755 }),
    copy: (from, directory) => copyTree(from, join(directory, 'fs')),
  });
}

/** cp(1), ended with tsbuild (setpriv), keeps hard links, devices, xattrs and times, and shares blocks where the file system can. */
async function copyTree(from: string, to: string): Promise<void> {
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'cp', '-a', '--reflink=auto', '--', from, to], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' },
  });
  let complaint = '';
  child.stderr.on('data', (data: Buffer) => (complaint = (complaint + data.toString()).slice(0, 4096)));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code === 0) return;
  const [reason = 'cp failed'] = complaint.split('\n', 1);
  const full = /No space left on device|Disk quota exceeded/.test(reason);
  throw ioError('copy a snapshot', Object.assign(new Error(reason), full ? { code: 'ENOSPC' } : {}));
}
