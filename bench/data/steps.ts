/** Twenty trivial steps on a Debian base. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { note, timed, type Results } from './measure.ts';
import { BUILDAH_BUILD, type Workplace } from './workplace.ts';

const STEPS = 20;

export async function measureSteps(place: Workplace): Promise<Results> {
  const tar = join(place.directory, 'debian.tar');
  execFileSync('mmdebstrap', ['--variant=essential', 'bookworm', tar], { stdio: 'ignore' });
  await timed(place.ours('ours', 'import', '-q', tar, 'debian:bench'));
  const base = join(place.directory, 'base');
  mkdirSync(base);
  execFileSync('cp', [tar, join(base, 'root.tar')]);
  writeFileSync(join(base, 'Dockerfile'), 'FROM scratch\nADD root.tar /\n');
  await timed(place.buildah('buildah', ...BUILDAH_BUILD, '-t', 'debian:bench', base));
  const docker = await place.docker();
  const env = { ...process.env, DOCKER_BUILDKIT: '1' };
  if (docker !== undefined) await timed([...docker.command, 'import', tar, 'debian:bench']);
  const context = join(place.directory, 'context');
  mkdirSync(context);
  const lines = Array.from({ length: STEPS }, (_, index) => `RUN echo ${index} > /f${index}`);
  writeFileSync(join(context, 'Dockerfile'), `FROM debian:bench\n${lines.join('\n')}\n`);
  const results: Results = new Map();
  for (let round = -1; round < place.rounds; round += 1) {
    const each = [
      [
        'tsbuild',
        place.ours('ours', '-q', '--no-cache', '--network', 'host', '--allow', 'network.host', context),
      ],
      ['buildah', place.buildah('buildah', ...BUILDAH_BUILD, '--no-cache', '--pull=never', context)],
      ...(docker === undefined
        ? []
        : [
            [
              'docker',
              [...docker.command, 'build', '-q', '--no-cache', '--network', 'host', context],
            ] as const,
          ]),
    ] as const;
    for (const [name, command] of each) {
      const run = await timed(command, { env });
      // The first round warms up.
      if (round >= 0) note(results, `${name}, ${STEPS} steps`, run);
    }
  }
  return results;
}
