/** An express app in TypeScript, two stages: built first, with nothing changed, and with one source changed. */
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { note, timed, type Results } from './measure.ts';
import { BUILDAH_BUILD, type Workplace } from './workplace.ts';

const DOCKERFILE = `FROM node:bench AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json ./
COPY src ./src
RUN npx tsc
FROM node:bench
WORKDIR /app
ENV NODE_ENV=production
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
EXPOSE 3000
USER 1000
CMD ["node", "dist/index.js"]
`;

const SOURCE = `import express from 'express';
const app = express();
app.get('/', (_request, response) => void response.send('hello'));
app.listen(3000);
`;

export async function measureExpress(place: Workplace): Promise<Results> {
  const tar = makeBase(place.directory);
  await timed(place.ours('ours', 'import', '-q', tar, 'node:bench'));
  const base = join(place.directory, 'base');
  mkdirSync(base);
  cpSync(tar, join(base, 'root.tar'));
  writeFileSync(join(base, 'Dockerfile'), 'FROM scratch\nADD root.tar /\nENV PATH=/usr/bin:/bin\n');
  await timed(place.buildah('buildah', ...BUILDAH_BUILD, '-t', 'node:bench', base));
  const docker = await place.docker();
  const env = { ...process.env, DOCKER_BUILDKIT: '1' };
  if (docker !== undefined) await timed([...docker.command, 'import', tar, 'node:bench']);
  const context = makeApp(place.directory);
  const contenders = [
    [
      'tsbuild',
      place.ours('ours', '-q', '--network', 'host', '--allow', 'network.host', '-t', 'app', context),
    ],
    ['buildah', place.buildah('buildah', ...BUILDAH_BUILD, '--pull=never', '-t', 'app', context)],
    ...(docker === undefined
      ? []
      : [['docker', [...docker.command, 'build', '-q', '--network', 'host', '-t', 'app', context]] as const]),
  ] as const;
  const results: Results = new Map();
  for (const [name, command] of contenders) note(results, `${name}, first`, await timed(command, { env }));
  for (let round = 0; round < place.rounds; round += 1) {
    note(results, 'node -e 0', await timed([process.execPath, '-e', '0']));
    for (const [name, command] of contenders) {
      // What was built last is noted by the build that finds it cached.
      await timed(command, { env });
      note(results, `${name}, nothing changed`, await timed(command, { env }));
    }
    appendFileSync(join(context, 'src/index.ts'), `// ${round}\n`);
    for (const [name, command] of contenders)
      note(results, `${name}, one source changed`, await timed(command, { env }));
  }
  return results;
}

/** Debian with this machine's own Node, npm and authorities. */
function makeBase(directory: string): string {
  const [tar, root] = [join(directory, 'node.tar'), join(directory, 'node-root')];
  execFileSync('mmdebstrap', ['--variant=essential', '--include=libstdc++6', 'bookworm', root], {
    stdio: 'ignore',
  });
  cpSync(process.execPath, join(root, 'usr/bin/node'));
  const npm = realpathSync(execFileSync('sh', ['-c', 'command -v npm'], { encoding: 'utf8' }).trim());
  const modules = join(root, 'usr/lib/node_modules');
  mkdirSync(modules, { recursive: true });
  cpSync(dirname(dirname(npm)), join(modules, 'npm'), { recursive: true });
  for (const name of ['npm', 'npx'])
    symlinkSync(`../lib/node_modules/npm/bin/${name}-cli.js`, join(root, 'usr/bin', name));
  const authorities = '/etc/ssl/certs/ca-certificates.crt';
  mkdirSync(join(root, dirname(authorities)), { recursive: true });
  cpSync(authorities, join(root, authorities));
  execFileSync('tar', ['-C', root, '-cf', tar, '.']);
  return tar;
}

function makeApp(directory: string): string {
  const context = join(directory, 'app');
  mkdirSync(join(context, 'src'), { recursive: true });
  const dependencies = { express: '^4.19.2' };
  const devDependencies = { typescript: '^5.4.0', '@types/express': '^4.17.21', '@types/node': '^20.0.0' };
  const options = {
    module: 'commonjs',
    target: 'es2022',
    outDir: 'dist',
    esModuleInterop: true,
    strict: true,
  };
  const put = (name: string, text: string): void => writeFileSync(join(context, name), text);
  put('package.json', JSON.stringify({ name: 'app', version: '1.0.0', dependencies, devDependencies }));
  put('tsconfig.json', JSON.stringify({ compilerOptions: options, include: ['src'] }));
  put('src/index.ts', SOURCE);
  put('Dockerfile', DOCKERFILE);
  put('.dockerignore', 'node_modules\ndist\n');
  execFileSync('npm', ['install', '--package-lock-only', '--no-audit', '--no-fund'], {
    cwd: context,
    stdio: 'ignore',
  });
  const registry = execFileSync('npm', ['config', 'get', 'registry'], {
    cwd: context,
    encoding: 'utf8',
  }).trim();
  put('.npmrc', `registry=${registry}\ncafile=/etc/ssl/certs/ca-certificates.crt\n`);
  if (!readFileSync(join(context, 'package-lock.json'), 'utf8').includes('express'))
    throw new Error('no lock file');
  return context;
}
