/** `tsbuild build`, the default command. */
import { resolve } from 'node:path';
import { writeFileAtomic } from '../../base/atomic-file.ts';
import { TsbuildError } from '../../base/errors.ts';
import { build, type BuildResult } from '../../engine/build.ts';
import type { BuildRequest } from '../../engine/build-request.ts';
import type { ContextSpec, DockerfileSpec, DockerfileText } from '../../engine/build-sources.ts';
import {
  checkContextDirectory,
  readContextIgnore,
  readDockerfileSource,
} from '../../engine/dockerfile-source.ts';
import type { Output } from '../../engine/outputs.ts';
import type { Platform } from '../../oci/documents.ts';
import { formatPlatform, parsePlatform } from '../../oci/platform.ts';
import { familiarName } from '../../oci/reference.ts';
import type { Entitlement } from '../../../frontend/request.ts';
import type { ParsedFlags } from '../flags.ts';
import { createRenderer } from '../render/create.ts';
import type { Session } from '../session.ts';
import { parseCacheDestinations, parseCacheSources } from './cache-flag.ts';
import { checkHost } from './extra-host.ts';
import { parseNamedContext, remoteContext } from './context-flag.ts';
import { readCompressionFlags } from './compression-flags.ts';
import { beginNote, noteUnchanged } from './note-unchanged.ts';
import { parseOutputs, pushForm } from './output-flag.ts';
import { readResources } from './resource-flags.ts';
import { readInput } from './read-input.ts';
import { readSecretFlags } from './secret-flag.ts';
import { readSshFlags } from './ssh-flag.ts';
import { formatOf, writeDigest } from './transfer-flags.ts';

const MAX_STDIN = 16 << 20;

export async function runBuild(flags: ParsedFlags, session: Session): Promise<number> {
  if (flags.boolean('check') || flags.has('call')) return (await import('./call.ts')).runCall(flags, session);
  const began = beginNote(flags, session);
  const request = await readRequest(flags, session);
  const heard: string[] = [];
  const renderer = createRenderer(flags, session, (text) => void heard.push(text));
  let result: BuildResult;
  try {
    result = await build(session.engine(), request, { sink: renderer, signal: session.signal });
  } finally {
    renderer.end();
  }
  const { stdout, stderr } = report(result, request, flags, session);
  if (stdout !== '') session.stdout.write(stdout);
  if (stderr !== '') session.stderr.write(stderr);
  if (began !== undefined)
    noteUnchanged(flags, session, began, { request, result, stdout, stderr: `${heard.join('')}${stderr}` });
  return 0;
}

/** Writes the files that were asked for. What is to be printed: */
function report(
  result: BuildResult,
  { outputs }: BuildRequest,
  flags: ParsedFlags,
  session: Session,
): { readonly stdout: string; readonly stderr: string } {
  const { host, cwd } = session;
  const iidfile = flags.text('iidfile');
  if (iidfile !== undefined) writeFileAtomic(host, resolve(cwd, iidfile), result.image.id);
  writeDigest(flags, session, result.manifest ?? result.image.id);
  const metadataFile = flags.text('metadata-file');
  const names = result.references.map(familiarName);
  if (metadataFile !== undefined) {
    const metadata = {
      'containerimage.config.digest': result.image.id,
      ...(result.manifest === undefined ? {} : { 'containerimage.digest': result.manifest }),
      ...(names.length === 0 ? {} : { 'image.name': names.join(',') }),
    };
    writeFileAtomic(host, resolve(cwd, metadataFile), `${JSON.stringify(metadata, null, 2)}\n`);
  }
  const usesStdout = outputs.some(
    (output) => 'destination' in output && typeof output.destination !== 'string',
  );
  if (flags.boolean('quiet') || flags.text('progress') === 'quiet')
    return { stdout: usesStdout ? '' : `${result.image.id}\n`, stderr: '' };
  if (flags.text('progress') === 'json') return { stdout: '', stderr: '' };
  const as = names.length === 0 ? '' : ` as ${names.join(', ')}`;
  return { stdout: '', stderr: `built ${result.image.id}${as} (${countsOf(result)})\n` };
}

function countsOf({ executed, cached, skipped }: BuildResult): string {
  return `${executed} executed, ${cached} cached${skipped === 0 ? '' : `, ${skipped} skipped`}`;
}

export async function readRequest(flags: ParsedFlags, session: Session): Promise<BuildRequest> {
  const { cwd, env } = session;
  const { dockerfile, context } = await readSources(flags, session);
  const network = flags.text('network') ?? 'default';
  if (network !== 'default' && network !== 'none' && network !== 'host')
    throw new TsbuildError('USAGE', `invalid --network ${JSON.stringify(network)}`, {
      hint: 'use default, host or none',
    });
  const target = flags.text('target');
  const buildArgs = pairsFrom(flags.list('build-arg'), env, '--build-arg');
  const epoch = env['SOURCE_DATE_EPOCH'];
  if (epoch !== undefined && epoch !== '' && buildArgs['SOURCE_DATE_EPOCH'] === undefined)
    buildArgs['SOURCE_DATE_EPOCH'] = epoch;
  const isCall = flags.boolean('check') || flags.has('call');
  const format = isCall ? undefined : formatOf(flags);
  const compression = isCall ? undefined : readCompressionFlags(flags);
  const outputs: Output[] = parseOutputs(flags.list('output'), cwd, session.stdout, compression);
  const form = pushForm(flags.list('output'), compression);
  const secrets = readSecretFlags(flags.list('secret'), session);
  const agents = readSshFlags(flags.list('ssh'), session);
  return {
    dockerfile,
    contexts: new Map<string, ContextSpec>([
      ...(context === undefined ? [] : [['context', context] as const]),
      ...flags.list('build-context').map((word) => parseNamedContext(word, cwd)),
    ]),
    ...(target === undefined ? {} : { target }),
    platforms: platformsFrom(flags, env),
    buildArgs,
    labels: labelsFrom(flags.list('label')),
    tags: [...flags.list('tag'), ...pushNames(flags.list('output'))],
    noCache: flags.boolean('no-cache') || flags.list('no-cache-filter').flatMap((each) => each.split(',')),
    ...assertionFrom(flags),
    pull: flags.boolean('pull'),
    push:
      flags.boolean('push') || flags.list('output').some((each) => /(^|,)push=true|type=registry/.test(each)),
    ...(format === undefined ? {} : { format }),
    ...(form === undefined ? {} : { form }),
    pushByDigest: flags.list('output').some((each) => /(^|,)push-by-digest(=true)?(,|$)/.test(each)),
    network,
    allow: flags.list('allow').map(checkEntitlement),
    extraHosts: flags.list('add-host').map(checkHost),
    resources: readResources(flags, env),
    outputs,
    secret: (id) => secrets(id),
    sshSocket: (id) => agents.get(id),
    cacheFrom: parseCacheSources(flags.list('cache-from'), cwd),
    cacheTo: parseCacheDestinations(flags.list('cache-to'), cwd),
    gitEnvironment: env,
  };
}

function assertionFrom(flags: ParsedFlags): Pick<BuildRequest, 'assertCached'> {
  if (!flags.has('assert-cached')) return {};
  for (const other of ['no-cache', 'no-cache-filter'])
    if (flags.has(other))
      throw new TsbuildError('USAGE', `--assert-cached and --${other} contradict each other`);
  const stages = flags.list('assert-cached').flatMap((each) => each.split(','));
  return { assertCached: stages.filter((stage) => stage !== '') };
}

function platformsFrom(flags: ParsedFlags, env: Session['env']): readonly Platform[] {
  const given = flags.list('platform').flatMap((each) => each.split(','));
  const fallback = env['DOCKER_DEFAULT_PLATFORM'];
  const names = given.length > 0 ? given : fallback === undefined || fallback === '' ? [] : [fallback];
  const platforms = new Map(
    names.map((name) => parsePlatform(name.trim())).map((platform) => [formatPlatform(platform), platform]),
  );
  return [...platforms.values()];
}

function checkEntitlement(word: string): Entitlement {
  if (word === 'network.host' || word === 'security.insecure') return word;
  throw new TsbuildError('USAGE', `invalid --allow ${JSON.stringify(word)}`, {
    hint: 'use network.host or security.insecure',
  });
}

/** `--output type=image,name=…`: names given there are names like those of --tag. */
function pushNames(outputs: readonly string[]): readonly string[] {
  return outputs.flatMap((each) => /(?:^|,)name=([^,]+)/.exec(each)?.[1] ?? []);
}

interface Sources {
  readonly dockerfile: DockerfileSpec;
  readonly context: ContextSpec | undefined;
}

async function readSources(flags: ParsedFlags, session: Session): Promise<Sources> {
  const { cwd } = session;
  const [word = '.'] = flags.words;
  const file = flags.text('file');
  const remote = word === '-' ? undefined : remoteContext(word);
  if (remote !== undefined || word === '-') {
    if (word === '-' && file === '-')
      throw new TsbuildError('USAGE', 'standard input cannot be both the Dockerfile and the build context');
    const context = remote ?? { kind: 'stream' as const, stream: session.stdin as AsyncIterable<Uint8Array> };
    if (file === '-') return { dockerfile: await dockerfileFromStdin(session), context };
    return { dockerfile: { inContext: file }, context };
  }
  const directory = resolve(cwd, word);
  checkContextDirectory(directory, word);
  if (file === '-')
    return {
      dockerfile: await dockerfileFromStdin(session),
      context: contextOf(directory, readContextIgnore(directory)),
    };
  const dockerfile = readDockerfileSource(directory, file, cwd);
  return { dockerfile, context: contextOf(directory, dockerfile.ignoreText, dockerfile.ignoreFile) };
}

function contextOf(directory: string, ignoreText?: string, ignoreFile?: string): ContextSpec {
  return {
    kind: 'directory',
    directory,
    where: 'the build context',
    ...(ignoreText === undefined ? {} : { ignoreText }),
    ...(ignoreFile === undefined ? {} : { ignoreFile }),
  };
}

async function dockerfileFromStdin({ stdin }: Session): Promise<DockerfileText> {
  return { file: '-', text: (await readInput(stdin, MAX_STDIN)).toString('utf8') };
}

function pairsFrom(words: readonly string[], env: Session['env'], flag: string): Record<string, string> {
  const pairs: Record<string, string> = {};
  for (const word of words) {
    const equals = word.indexOf('=');
    const name = equals < 0 ? word : word.slice(0, equals);
    if (name === '')
      throw new TsbuildError('USAGE', `invalid ${flag} ${JSON.stringify(word)}`, {
        hint: 'write NAME=VALUE',
      });
    const value = equals < 0 ? env[name] : word.slice(equals + 1);
    if (value !== undefined) pairs[name] = value;
  }
  return pairs;
}

function labelsFrom(words: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    words.map((word) => {
      const equals = word.indexOf('=');
      if (word === '' || equals === 0)
        throw new TsbuildError('USAGE', `invalid --label ${JSON.stringify(word)}`, {
          hint: 'write NAME=VALUE',
        });
      return equals < 0 ? [word, ''] : [word.slice(0, equals), word.slice(equals + 1)];
    }),
  );
}
