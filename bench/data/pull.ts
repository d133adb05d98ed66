/** An image of five layers from a registry, until a program in it could start; and throwing it away. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { note, timed, type Results } from './measure.ts';
import type { Workplace } from './workplace.ts';

const PARTS = ['/usr/bin', '/usr/lib', '/usr/share', '/usr/include', '/usr/sbin'];
const FILES_EACH = 6000;

export async function measurePull(place: Workplace): Promise<Results> {
  const context = join(place.directory, 'context');
  mkdirSync(context, { recursive: true });
  const lines = ['FROM scratch'];
  for (const [index, part] of PARTS.entries()) {
    mkdirSync(join(context, `part${index}`));
    const list = `cd ${part} && find . -xdev -type f -size -400k | head -n ${FILES_EACH}`;
    execFileSync('sh', ['-c', `${list} | tar -c -T - | tar -x -C ${context}/part${index}`]);
    lines.push(`COPY part${index} /part${index}`);
  }
  execFileSync('cp', ['/bin/busybox', join(context, 'true')]);
  lines.push('COPY true /bin/true');
  writeFileSync(join(context, 'Dockerfile'), `${lines.join('\n')}\n`);
  const { address } = await place.registry();
  const image = `${address}/pull/app:1`;
  await timed(place.ours('source', '-q', '-t', image, '--push', context));
  const results: Results = new Map();
  const docker = await place.docker();
  for (let round = 0; round < place.rounds; round += 1) {
    const root = `ours${round}`;
    const pulled = await timed(place.ours(root, 'pull', '-q', image));
    note(results, 'tsbuild pull', pulled);
    const ran = await timed(place.ours(root, 'run', '--rm', '--network', 'none', image, '/bin/true'));
    note(results, 'tsbuild pull and run', { ms: pulled.ms + ran.ms, peakMiB: ran.peakMiB });
    note(results, 'tsbuild rmi and prune', await timed(place.ours(root, 'rmi', image)));
    place.forget(root);
    note(
      results,
      'buildah pull',
      await timed(place.buildah(`buildah${round}`, 'pull', '-q', '--tls-verify=false', image)),
    );
    place.forget(`buildah${round}`);
    if (docker === undefined) continue;
    const theirs = await timed([...docker.command, 'pull', '-q', image]);
    note(results, 'docker pull', theirs);
    const runs = await timed([...docker.command, 'run', '--rm', '--network', 'none', image, '/bin/true']);
    note(results, 'docker pull and run', { ms: theirs.ms + runs.ms, peakMiB: runs.peakMiB });
    note(results, 'docker rmi', await timed([...docker.command, 'rmi', image]));
  }
  return results;
}
