/** COPY of very many small files: cold, one file changed, nothing changed. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { dropCaches, note, timed, type Results } from './measure.ts';
import { BUILDAH_BUILD, type Workplace } from './workplace.ts';

const DIRECTORIES = 500;
const FILES = 100;
const SIZE = 8192;

export async function measureCopy(place: Workplace, isCold: boolean): Promise<Results> {
  const context = join(place.directory, 'context');
  makeTree(join(context, 'tree'));
  writeFileSync(join(context, 'Dockerfile'), 'FROM scratch\nCOPY tree /tree\n');
  const results: Results = new Map();
  const docker = await place.docker();
  const tar = join(place.directory, 'tree.tar');
  for (let round = 0; round < place.rounds; round += 1) {
    const measure = async (
      name: string,
      command: readonly string[],
      env?: NodeJS.ProcessEnv,
    ): Promise<void> => {
      note(results, name, await timed(command, env === undefined ? {} : { env: { ...process.env, ...env } }));
    };
    const cold = (): void => {
      if (isCold) dropCaches();
    };
    cold();
    await measure('tar and sha256sum', ['sh', '-c', `tar -C ${context} -c tree | tee ${tar} | sha256sum`]);
    const contenders = [
      { name: 'tsbuild', command: place.ours(`ours${round}`, '-q', context), env: {} },
      { name: 'buildah', command: place.buildah(`buildah${round}`, ...BUILDAH_BUILD, context), env: {} },
      ...(docker === undefined
        ? []
        : [
            {
              name: 'docker',
              command: [...docker.command, 'build', '-q', context],
              env: { DOCKER_BUILDKIT: '1' },
            },
          ]),
    ];
    if (docker !== undefined) await timed([...docker.command, 'builder', 'prune', '-af']);
    for (const { name, command, env } of contenders) {
      cold();
      await measure(`${name}, cold`, command, env);
      await measure(`${name}, nothing changed`, command, env);
      writeFileSync(join(context, `tree/d${round}/f7`), randomBytes(SIZE));
      await measure(`${name}, one file changed`, command, env);
    }
    place.forget(`ours${round}`);
    place.forget(`buildah${round}`);
  }
  return results;
}

/** 50,000 files of 8 KiB. */
export function makeTree(directory: string): void {
  for (let d = 0; d < DIRECTORIES; d += 1) {
    mkdirSync(join(directory, `d${d}`), { recursive: true });
    for (let f = 0; f < FILES; f += 1)
      writeFileSync(join(directory, `d${d}/f${f}`), Buffer.alloc(SIZE, `${d} ${f} of this tree\n`));
  }
}
