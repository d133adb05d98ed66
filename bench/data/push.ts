/** Two layers of a GiB, built and pushed: random bytes, and text that compresses. */
import { randomFillSync } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { note, timed, type Results } from './measure.ts';
import { BUILDAH_BUILD, type Workplace } from './workplace.ts';

const MIB = 1 << 20;

export async function measurePush(place: Workplace): Promise<Results> {
  const context = join(place.directory, 'context');
  mkdirSync(context, { recursive: true });
  fill(join(context, 'random'), (chunk) => randomFillSync(chunk));
  const words = readFileSync('/usr/bin/node').subarray(0, 32 * MIB);
  let at = 0;
  // Text-like: the symbols and code of a program, shifted so that no two blocks are the same.
  fill(join(context, 'text'), (chunk) => {
    at = (at + 7919) % (words.byteLength - chunk.byteLength);
    words.copy(chunk, 0, at, at + chunk.byteLength);
  });
  writeFileSync(join(context, 'Dockerfile'), 'FROM scratch\nCOPY random /random\nCOPY text /text\n');
  const results: Results = new Map();
  const docker = await place.docker();
  const { address } = await place.registry();
  for (let round = 0; round < place.rounds; round += 1) {
    const name = `${address}/ours/app:${round}`;
    const alone = await timed(place.ours(`alone${round}`, '-q', context));
    note(results, 'tsbuild, built alone', alone);
    place.forget(`alone${round}`);
    const whole = await timed(
      place.ours(
        `ours${round}`,
        '-q',
        '--no-cache',
        '-t',
        name.replace('ours', `ours${round}`),
        '--push',
        context,
      ),
    );
    note(results, 'tsbuild, built and pushed', whole);
    note(results, 'tsbuild, after the last step', { ms: whole.ms - alone.ms, peakMiB: whole.peakMiB });
    place.forget(`ours${round}`);
    const theirs = `${address}/buildah${round}/app:1`;
    const built = await timed(place.buildah(`buildah${round}`, ...BUILDAH_BUILD, '-t', theirs, context));
    const pushed = await timed(
      place.buildah(`buildah${round}`, 'push', '-q', '--tls-verify=false', theirs, `docker://${theirs}`),
    );
    note(results, 'buildah, built and pushed', { ms: built.ms + pushed.ms, peakMiB: pushed.peakMiB });
    note(results, 'buildah, after the last step', pushed);
    place.forget(`buildah${round}`);
    if (docker === undefined) continue;
    const image = `${address}/docker${round}/app:1`;
    const env = { ...process.env, DOCKER_BUILDKIT: '1' };
    await timed([...docker.command, 'builder', 'prune', '-af']);
    const one = await timed([...docker.command, 'build', '-q', '--no-cache', '-t', image, context], { env });
    const two = await timed([...docker.command, 'push', '-q', image]);
    note(results, 'docker, built and pushed', { ms: one.ms + two.ms, peakMiB: two.peakMiB });
    note(results, 'docker, after the last step', two);
  }
  return results;
}

function fill(path: string, make: (chunk: Buffer) => void): void {
  const fd = openSync(path, 'w');
  const chunk = Buffer.alloc(MIB);
  for (let written = 0; written < 1024; written += 1) {
    make(chunk);
    writeSync(fd, chunk);
  }
  closeSync(fd);
}
