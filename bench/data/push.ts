/** Two layers of a GiB, built and pushed: random bytes, and text that compresses. */
import { randomFillSync, randomInt } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { note, timed, type Results } from './measure.ts';
import { BUILDAH_BUILD, type Workplace } from './workplace.ts';

const MIB = 1 << 20;

export async function measurePush(place: Workplace): Promise<Results> {
  const context = join(place.directory, 'context');
  mkdirSync(context, { recursive: true });
  writeFileSync(join(context, 'Dockerfile'), 'FROM scratch\nCOPY random /random\nCOPY text /text\n');
  const results: Results = new Map();
  const docker = await place.docker();
  const { address } = await place.registry();
  for (let round = 0; round < place.rounds; round += 1) {
    makeFiles(context);
    const name = `${address}/ours/app:${round}`;
    const ownEnd = lastEnd(OURS);
    const own = name.replace('ours', `ours${round}`);
    const whole = await timed(
      place.ours(`ours${round}`, '--progress', 'plain', '--no-cache', '-t', own, '--push', context),
      { heard: ownEnd.heard },
    );
    note(results, 'tsbuild, built and pushed', whole);
    note(results, 'tsbuild, after the last step', { ms: whole.ms - ownEnd.ms(), peakMiB: whole.peakMiB });
    place.forget(`ours${round}`);
    const theirs = `${address}/buildah${round}/app:1`;
    const theirEnd = lastEnd(/^COMMIT /m);
    const built = await timed(
      place.buildah(
        `buildah${round}`,
        ...BUILDAH_BUILD.filter((word) => word !== '-q'),
        '-t',
        theirs,
        context,
      ),
      { heard: theirEnd.heard },
    );
    const pushed = await timed(
      place.buildah(`buildah${round}`, 'push', '-q', '--tls-verify=false', theirs, `docker://${theirs}`),
    );
    note(results, 'buildah, built and pushed', { ms: built.ms + pushed.ms, peakMiB: pushed.peakMiB });
    note(results, 'buildah, after the last step', {
      ms: built.ms - theirEnd.ms() + pushed.ms,
      peakMiB: pushed.peakMiB,
    });
    note(results, 'buildah, push alone', pushed);
    place.forget(`buildah${round}`);
    if (docker === undefined) continue;
    const image = `${address}/docker${round}/app:1`;
    const env = { ...process.env, DOCKER_BUILDKIT: '1' };
    await timed([...docker.command, 'builder', 'prune', '-af']);
    const end = lastEnd(/exporting to image/);
    const build = ['build', '--progress', 'plain', '--no-cache', '-t', image, context];
    const one = await timed([...docker.command, ...build], { env, heard: end.heard });
    const two = await timed([...docker.command, 'push', '-q', image]);
    note(results, 'docker, built and pushed', { ms: one.ms + two.ms, peakMiB: two.peakMiB });
    note(results, 'docker, after the last step', { ms: one.ms - end.ms() + two.ms, peakMiB: two.peakMiB });
    note(results, 'docker, push alone', two);
  }
  return results;
}

/** New ones for each round: who has pushed the same before is told by the registry that it has it. */
function makeFiles(context: string): void {
  fill(join(context, 'random'), (chunk) => randomFillSync(chunk));
  const words = readFileSync('/usr/bin/node').subarray(0, 32 * MIB);
  let at = randomInt(words.byteLength);
  // Text-like: the symbols and code of a program, shifted so that no two blocks are the same.
  fill(join(context, 'text'), (chunk) => {
    at = (at + 7919) % (words.byteLength - chunk.byteLength);
    words.copy(chunk, 0, at, at + chunk.byteLength);
  });
}

/** The step's name, and that it is done, by its number. */
const OURS = /^#(\d+) \[3\/3\] (?:.*\n)*?#\1 DONE/m;

/** When what a build printed first matched: the last step's files are where they belong, and a layer is to be made of them. */
function lastEnd(mark: RegExp): {
  readonly heard: (line: string, ms: number) => void;
  readonly ms: () => number;
} {
  let printed = '';
  let found: number | undefined;
  return {
    heard(line, ms) {
      printed += `${line}\n`;
      if (found === undefined && mark.test(printed)) found = ms;
    },
    ms() {
      if (found === undefined) throw new Error(`nothing like ${mark.source} in ${printed}`);
      return found;
    },
  };
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
