/** `tsbuild build`, the default command. */
import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { writeFileAtomic } from '../../base/atomic-file.ts';
import { ioError, TsbuildError } from '../../base/errors.ts';
import { build, type BuildRequest, type BuildResult } from '../../engine/build.ts';
import {
  checkContextDirectory,
  readContextIgnore,
  readDockerfileSource,
  type DockerfileSource,
} from '../../engine/dockerfile-source.ts';
import type { ContextSource } from '../../engine/contexts.ts';
import type { Output } from '../../engine/outputs.ts';
import { parsePlatform } from '../../oci/platform.ts';
import { familiarName } from '../../oci/reference.ts';
import type { NamedContext } from '../../../frontend/request.ts';
import type { ParsedFlags } from '../flags.ts';
import { createRenderer } from '../render/create.ts';
import type { Session } from '../session.ts';
import { parseOutputs } from './output-flag.ts';

const MAX_STDIN = 16 << 20;

export async function runBuild(flags: ParsedFlags, session: Session): Promise<number> {
  const request = await readRequest(flags, session);
  const renderer = createRenderer(flags, session);
  let result: BuildResult;
  try {
    result = await build(session.engine(), request, { sink: renderer, signal: session.signal });
  } finally {
    renderer.end();
  }
  report(result, request, flags, session);
  return 0;
}

function report(result: BuildResult, { outputs }: BuildRequest, flags: ParsedFlags, session: Session): void {
  const { host, cwd, stdout, stderr } = session;
  const iidfile = flags.text('iidfile');
  if (iidfile !== undefined) writeFileAtomic(host, resolve(cwd, iidfile), result.image.id);
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
  if (flags.boolean('quiet') || flags.text('progress') === 'quiet') {
    if (!usesStdout) stdout.write(`${result.image.id}\n`);
  } else if (flags.text('progress') !== 'json')
    stderr.write(
      `built ${result.image.id}${names.length === 0 ? '' : ` as ${names.join(', ')}`} (${result.executed} executed, ${result.cached} cached)\n`,
    );
}

async function readRequest(flags: ParsedFlags, session: Session): Promise<BuildRequest> {
  const { cwd, env } = session;
  const [contextWord = '.'] = flags.words;
  const named = readNamedContexts(flags, cwd);
  const { dockerfile, context } = await readSources(flags, session, contextWord);
  const platform = flags.text('platform') ?? env['DOCKER_DEFAULT_PLATFORM'];
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
  const outputs: Output[] = parseOutputs(flags.list('output'), cwd, session.stdout);
  return {
    dockerfile: { file: dockerfile.file, text: dockerfile.text },
    contexts: new Map<string, ContextSource>([
      ...(context === undefined ? [] : [['context', context] as const]),
      ...named.directories,
    ]),
    namedContexts: named.contexts,
    ...(target === undefined ? {} : { target }),
    ...(platform === undefined || platform === '' ? {} : { platform: parsePlatform(platform) }),
    buildArgs,
    labels: labelsFrom(flags.list('label')),
    tags: [...flags.list('tag'), ...pushNames(flags.list('output'))],
    noCache: flags.boolean('no-cache'),
    pull: flags.boolean('pull'),
    push:
      flags.boolean('push') || flags.list('output').some((each) => /(^|,)push=true|type=registry/.test(each)),
    network,
    extraHosts: flags.list('add-host').map(checkHost),
    outputs,
    secret: (id) => readSecret(flags, session, id),
    sshSocket: (id) => sshSocketOf(flags, env, id),
  };
}

/** `--output type=image,name=…`: names given there are names like those of --tag. */
function pushNames(outputs: readonly string[]): readonly string[] {
  return outputs.flatMap((each) => /(?:^|,)name=([^,]+)/.exec(each)?.[1] ?? []);
}

interface Sources {
  readonly dockerfile: DockerfileSource;
  readonly context: ContextSource | undefined;
}

async function readSources(flags: ParsedFlags, session: Session, contextWord: string): Promise<Sources> {
  const { cwd } = session;
  const file = flags.text('file');
  if (/^(https?|git|ssh):\/\/|^git@/.test(contextWord))
    throw new TsbuildError(
      'INSTRUCTION_UNSUPPORTED',
      `a build context from ${JSON.stringify(contextWord)} is not supported yet`,
      { hint: 'fetch it first and build from the directory' },
    );
  if (contextWord === '-') {
    const text = await readStdin(session);
    return { dockerfile: { file: '-', text }, context: undefined };
  }
  const directory = resolve(cwd, contextWord);
  checkContextDirectory(directory, contextWord);
  if (file === '-') {
    const text = await readStdin(session);
    const ignoreText = readContextIgnore(directory);
    return { dockerfile: { file: '-', text }, context: contextOf(directory, ignoreText) };
  }
  const dockerfile = readDockerfileSource(directory, file, cwd);
  return { dockerfile, context: contextOf(directory, dockerfile.ignoreText) };
}

function contextOf(directory: string, ignoreText: string | undefined): ContextSource {
  return { directory, where: 'the build context', ...(ignoreText === undefined ? {} : { ignoreText }) };
}

async function readStdin({ stdin }: Session): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stdin as AsyncIterable<Buffer>) {
    size += chunk.byteLength;
    if (size > MAX_STDIN)
      throw new TsbuildError(
        'DOCKERFILE_SYNTAX',
        `the Dockerfile on standard input is larger than ${MAX_STDIN} bytes`,
      );
    chunks.push(chunk);
  }
  const bytes = Buffer.concat(chunks);
  if (bytes.subarray(257, 262).toString('latin1') === 'ustar' || (bytes[0] === 0x1f && bytes[1] === 0x8b))
    throw new TsbuildError(
      'INSTRUCTION_UNSUPPORTED',
      'a build context as tar on standard input is not supported yet',
      { hint: 'unpack it and build from the directory' },
    );
  return bytes.toString('utf8');
}

function readNamedContexts(
  flags: ParsedFlags,
  cwd: string,
): {
  readonly contexts: Record<string, NamedContext>;
  readonly directories: readonly (readonly [string, ContextSource])[];
} {
  const contexts: Record<string, NamedContext> = {};
  const directories: [string, ContextSource][] = [];
  for (const each of flags.list('build-context')) {
    const equals = each.indexOf('=');
    const [name, spec] = [each.slice(0, equals), each.slice(equals + 1)];
    if (equals <= 0 || spec === '')
      throw new TsbuildError('USAGE', `invalid --build-context ${JSON.stringify(each)}`, {
        hint: 'write NAME=DIRECTORY or NAME=docker-image://REFERENCE',
      });
    if (spec.startsWith('docker-image://')) {
      contexts[name] = { kind: 'image', reference: spec.slice('docker-image://'.length) };
      continue;
    }
    if (/^[a-z-]+:\/\//.test(spec))
      throw new TsbuildError(
        'INSTRUCTION_UNSUPPORTED',
        `a build context from ${JSON.stringify(spec)} is not supported yet`,
      );
    const directory = resolve(cwd, spec);
    checkContextDirectory(directory, spec);
    const ignoreText = readContextIgnore(directory);
    contexts[name] = { kind: 'directory' };
    directories.push([
      name,
      {
        directory,
        where: `the build context ${JSON.stringify(name)}`,
        ...(ignoreText === undefined ? {} : { ignoreText }),
      },
    ]);
  }
  return { contexts, directories };
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
      return equals < 0 ? [word, ''] : [word.slice(0, equals), word.slice(equals + 1)];
    }),
  );
}

export function checkHost(entry: string): string {
  if (!/^[^:=\s]+[:=]\[?[0-9A-Fa-f:.]+\]?$/.test(entry))
    throw new TsbuildError('USAGE', `invalid --add-host ${JSON.stringify(entry)}`, { hint: 'write NAME:IP' });
  return entry;
}

async function readSecret(
  flags: ParsedFlags,
  { cwd, env }: Session,
  id: string,
): Promise<Uint8Array | undefined> {
  for (const spec of flags.list('secret')) {
    const fields = new Map(
      spec.split(',').map((field) => [field.split('=', 1)[0] ?? '', field.slice(field.indexOf('=') + 1)]),
    );
    if (fields.get('id') !== id) continue;
    const name = fields.get('env');
    if (name !== undefined) {
      const value = env[name];
      return value === undefined ? undefined : Buffer.from(value);
    }
    const path = resolve(cwd, fields.get('src') ?? fields.get('source') ?? id);
    try {
      return await Promise.resolve(readFileSync(path));
    } catch (error) {
      throw ioError(`read the secret ${JSON.stringify(id)} from ${JSON.stringify(path)}`, error);
    }
  }
  return undefined;
}

function sshSocketOf(flags: ParsedFlags, env: Session['env'], id: string): string | undefined {
  for (const spec of flags.list('ssh')) {
    const equals = spec.indexOf('=');
    const name = equals < 0 ? spec : spec.slice(0, equals);
    const path = equals < 0 ? env['SSH_AUTH_SOCK'] : spec.slice(equals + 1);
    if (name === id && path !== undefined && existsSync(path)) return path;
  }
  return undefined;
}
