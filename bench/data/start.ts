/** `true` in busybox, from the shell: whole commands, each with its default network and without one. */
import { copyFileSync, mkdirSync, symlinkSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { note, timed, type Results } from './measure.ts';
import { startDocker } from './peers.ts';
import type { Workplace } from './workplace.ts';

const PAUSE_MS = 300;

export async function measureStart(place: Workplace): Promise<Results> {
  const root = join(place.directory, 'root');
  mkdirSync(join(root, 'bin'), { recursive: true });
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'));
  symlinkSync('busybox', join(root, 'bin/true'));
  const tar = join(place.directory, 'root.tar');
  execFileSync('tar', ['-C', root, '--owner=0', '--group=0', '-cf', tar, '.']);
  await timed(place.ours('ours', 'import', '-q', tar, 'busybox'));
  const podman = place.podman('podman');
  await timed([...podman, 'import', '-q', tar, 'busybox']);
  await using docker = await startDocker(join(place.directory, 'docker'), { bridge: true });
  if (docker !== undefined) await timed([...docker.command, 'import', tar, 'busybox']);
  const programs: readonly (readonly [string, readonly string[]])[] = [
    ['tsbuild', [...place.ours('ours'), 'run', '--rm']],
    // why: it wants more open files than some machines allow.
    ['podman', [...podman, 'run', '--rm', '--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=4096:4096']],
    ...(docker === undefined ? [] : [['docker', [...docker.command, 'run', '--rm']] as const]),
  ];
  const contenders = [
    ['node -e 0', [process.execPath, '-e', '0']] as const,
    ...programs.flatMap(([name, words]) => [
      [`${name} run`, [...words, 'busybox', 'true']] as const,
      [`${name} run, no network`, [...words, '--network', 'none', 'busybox', 'true']] as const,
    ]),
  ];
  const results: Results = new Map();
  for (let round = -2; round < place.rounds; round += 1)
    for (const [name, command] of contenders) {
      const run = await timed(command);
      // The first rounds warm up.
      if (round >= 0) note(results, name, run);
      // What daemons clean up afterwards is not to fall into the next one's time.
      await sleep(PAUSE_MS);
    }
  return results;
}
