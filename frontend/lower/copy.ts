/** COPY and ADD: sources, destination and owner, expanded and resolved to inputs. WORKDIR, which makes a directory. */
import { posix } from 'node:path';
import { locate, narrow, type SourceRef } from '../../src/base/errors.ts';
import type { Vertex } from '../../src/graph/graph.ts';
import { createVertex } from '../../src/graph/graph.ts';
import type { CopyOp, CopyOwner, CopySource } from '../../src/graph/ops.ts';
import type { InstructionOf } from '../instructions/instruction.ts';
import { heredocText, parseHeredocWord } from '../parse/lines.ts';
import { refAt, syntaxError, trimEndOf } from '../parse/source.ts';
import type { GitSource } from '../request.ts';
import type { Expander } from './expander.ts';
import { parseGitSource } from './git-source.ts';
import { gitVertex } from './sources.ts';
import {
  cleanPath,
  extend,
  nextName,
  noteSetting,
  placeOf,
  remember,
  shownText,
  workdirOf,
  type StageState,
} from './stage.ts';

export interface CopyInputs {
  /** The build context. */
  readonly context: () => Promise<Vertex>;
  /** What `--from` means; `at` is where it stands. */
  readonly from: (name: string, at: SourceRef) => Promise<Vertex>;
  readonly scratch: () => Vertex;
  /** Whether the ignore file of the build context leaves out a path. */
  readonly isIgnored: ((path: string) => boolean) | undefined;
}

export async function lowerCopy(
  stage: StageState,
  instruction: InstructionOf<'COPY' | 'ADD'>,
  expand: Expander,
  inputs: CopyInputs,
): Promise<void> {
  const { kind, raw, flags } = instruction;
  const expandFlag = (name: string): string => expand.word(flags.text(name) ?? '');
  const chown = expandFlag('chown');
  const chmod = expandFlag('chmod');
  const more: Vertex[] = [];
  const addInput = (vertex: Vertex): number => {
    const at = more.findIndex((each) => each.id === vertex.id);
    if (at >= 0) return at + 1;
    more.push(vertex);
    return more.length;
  };
  const expanded = expandSources(instruction, expand);
  const sources = await resolveSources(stage, instruction, expanded, inputs, addInput);
  const destinationText = expand.word(instruction.destination);
  const destination = destinationOf(stage, destinationText);
  // With --chmod the tree below decides nothing, and yet BuildKit copies onto it: so do we.
  const link = flags.boolean('link') === true && chmod === '';
  const unpackFlag = flags.boolean('unpack');
  const op: CopyOp = {
    kind: 'copy',
    instruction: kind,
    sources,
    destination,
    ...(chown === '' ? {} : { owner: parseOwner(chown) }),
    ...(chmod === '' ? {} : { chmod: checkChmod(chmod, instruction) }),
    parents: flags.boolean('parents') === true,
    excludes: flags.list('exclude'),
    link,
    unpack: kind === 'COPY' || unpackFlag === false ? 'never' : unpackFlag === true ? 'always' : 'auto',
  };
  const vertex = link
    ? linked(stage, op, more, instruction, inputs)
    : extend(stage, op, more, raw, shownText(raw));
  const words = [
    ...(op.parents ? ['--parents'] : []),
    ...(chown === '' ? [] : [`--chown=${chown}`]),
    ...(chmod === '' ? [] : [`--chmod=${chmod}`]),
    ...expanded.written,
    ...expanded.inline.map(({ name }) => `<<${name}`),
    destinationText,
  ];
  remember(stage, `${kind} ${words.join(' ')} # buildkit`, vertex);
}

/** The layer is made on nothing and put on top of the stage: it does not depend on what is below. */
function linked(
  stage: StageState,
  op: CopyOp,
  more: readonly Vertex[],
  { raw }: InstructionOf<'COPY' | 'ADD'>,
  inputs: CopyInputs,
): Vertex {
  const text = shownText(raw);
  const layer = createVertex({
    op,
    inputs: [inputs.scratch(), ...more],
    name: nextName(stage, text),
    source: refAt(raw),
    place: placeOf(stage, stage.step, text, raw),
    ...(stage.noCache ? { noCache: true } : {}),
  });
  stage.vertex = createVertex({
    op: { kind: 'merge' },
    inputs: [stage.vertex, layer],
    name: `merging (${text})`,
    source: refAt(raw),
  });
  return stage.vertex;
}

function destinationOf(stage: StageState, written: string): string {
  const isDirectory = written === '' || /(^|\/)\.{0,2}$/.test(written);
  const path = cleanPath(written.startsWith('/') ? written : `${workdirOf(stage)}/${written}`);
  return isDirectory && path !== '/' ? `${path}/` : path;
}

interface ExpandedSources {
  /** Paths and URLs as history shows them. */
  readonly written: readonly string[];
  /** Where each stands. */
  readonly places: readonly SourceRef[];
  readonly inline: readonly Extract<CopySource, { kind: 'inline' }>[];
  readonly checksum: string | undefined;
}

/** Paths come before heredocs, wherever they stand. */
function expandSources(instruction: InstructionOf<'COPY' | 'ADD'>, expand: Expander): ExpandedSources {
  const written: string[] = [];
  const places: SourceRef[] = [];
  const inline: Extract<CopySource, { kind: 'inline' }>[] = [];
  for (const source of instruction.sources) {
    const head = instruction.heredocs.length === 0 ? undefined : parseHeredocWord(source);
    const heredoc =
      head === undefined ? undefined : instruction.heredocs.findLast(({ name }) => name === head.name);
    if (heredoc === undefined) {
      written.push(expand.word(source));
      places.push(narrow(refAt(instruction.raw), source));
      continue;
    }
    const text = heredocText(heredoc);
    inline.push({
      kind: 'inline',
      name: heredoc.name,
      content: heredoc.expand ? expand.body(text) : text,
    });
  }
  const checksum = instruction.flags.text('checksum');
  return {
    written,
    places,
    inline,
    checksum: checksum === undefined ? undefined : expand.word(checksum),
  };
}

async function resolveSources(
  stage: StageState,
  instruction: InstructionOf<'COPY' | 'ADD'>,
  { written, places, inline, checksum }: ExpandedSources,
  inputs: CopyInputs,
  addInput: (vertex: Vertex) => number,
): Promise<readonly CopySource[]> {
  const { flags } = instruction;
  const from = flags.text('from');
  const remotes = written.map((source, index) => remoteVertex(instruction, source, checksum, places[index]));
  if (checksum !== undefined) checkChecksum(instruction, remotes, inline.length);
  const paths = written.filter((_, index) => remotes[index] === undefined);
  const input =
    paths.length === 0
      ? 0
      : addInput(await (from === undefined ? inputs.context() : inputs.from(from, flags.at('from'))));
  if (from === undefined) reportIgnored(stage, instruction, paths, inputs);
  const sources: CopySource[] = [];
  for (const [index, source] of written.entries()) {
    const remote = remotes[index];
    const last = sources.at(-1);
    if (remote?.op.kind === 'git') sources.push({ kind: 'paths', input: addInput(remote), patterns: ['/'] });
    else if (remote !== undefined) sources.push({ kind: 'whole', input: addInput(remote) });
    // Neighbours share a walk.
    else if (last?.kind === 'paths' && last.input === input)
      sources[sources.length - 1] = { ...last, patterns: [...last.patterns, source] };
    else sources.push({ kind: 'paths', input, patterns: [source] });
  }
  return [...sources, ...inline];
}

function reportIgnored(
  { linter }: StageState,
  { kind, raw }: InstructionOf<'COPY' | 'ADD'>,
  paths: readonly string[],
  { isIgnored }: CopyInputs,
): void {
  for (const path of paths)
    if (isIgnored?.(posix.normalize(path).replace(/(.)\/$/, '$1')) === true)
      linter.report(
        'CopyIgnoredFile',
        `${kind} names ${JSON.stringify(path)}, which the ignore file leaves out`,
        refAt(raw),
      );
}

function checkChecksum(
  { flags }: InstructionOf<'COPY' | 'ADD'>,
  remotes: readonly (Vertex | undefined)[],
  inline: number,
): void {
  if (remotes.length + inline !== 1)
    throw syntaxError(
      'INSTRUCTION_INVALID',
      '--checksum cannot be given for several sources',
      flags.at('checksum'),
      'use one ADD for each source',
    );
  if (remotes[0] === undefined)
    throw syntaxError(
      'INSTRUCTION_INVALID',
      '--checksum needs an http(s) or git source',
      flags.at('checksum'),
      'leave it out: files of the build context are known by their content',
    );
}

/** What comes over the network; undefined: a path. Only ADD fetches. */
function remoteVertex(
  instruction: InstructionOf<'COPY' | 'ADD'>,
  source: string,
  checksum: string | undefined,
  at = refAt(instruction.raw),
): Vertex | undefined {
  let repository: GitSource | undefined;
  try {
    repository = parseGitSource(source);
  } catch (error) {
    throw locate(error, at);
  }
  if (repository === undefined && !/^https?:\/\//.test(source)) return undefined;
  if (instruction.kind === 'COPY' && instruction.flags.text('from') !== undefined) return undefined;
  if (instruction.kind === 'COPY')
    throw syntaxError(
      'INSTRUCTION_INVALID',
      `the source of a COPY can't be a ${repository === undefined ? 'URL' : 'git repository'}: ${JSON.stringify(shownUrl(source))}`,
      at,
      'use ADD instead',
    );
  if (repository !== undefined) {
    const keepGitDir = instruction.flags.boolean('keep-git-dir') ?? repository.keepGitDir;
    if (checksum !== undefined && !/^[0-9a-f]{7,64}$/.test(checksum))
      throw syntaxError(
        'INSTRUCTION_INVALID',
        `the checksum of a git source is a commit, not ${JSON.stringify(checksum)}`,
        instruction.flags.at('checksum'),
        'write 7 to 64 hexadecimal digits; a branch or tag goes after # in the URL',
      );
    const wanted = checksum === undefined ? {} : { checksum };
    return gitVertex({ ...repository, keepGitDir, ...wanted }, refAt(instruction.raw));
  }
  return httpVertex(source, checksum, at, instruction);
}

const HASHES: Readonly<Record<string, number>> = { sha256: 64, sha384: 96, sha512: 128 };

function httpVertex(
  source: string,
  checksum: string | undefined,
  at: SourceRef,
  { raw, flags }: InstructionOf<'COPY' | 'ADD'>,
): Vertex {
  const [algorithm = '', hex = ''] = checksum?.split(':', 2) ?? [];
  if (checksum !== undefined && (HASHES[algorithm] !== hex.length || !/^[0-9a-f]+$/.test(hex)))
    throw syntaxError(
      'INSTRUCTION_INVALID',
      `invalid checksum ${JSON.stringify(checksum)}`,
      flags.at('checksum'),
      HASHES[algorithm] === undefined
        ? 'write sha256:HEX, sha384:HEX or sha512:HEX'
        : `write ${HASHES[algorithm]} hexadecimal digits after ${algorithm}:, not ${hex.length}`,
    );
  let path: string;
  try {
    path = new URL(source).pathname;
  } catch {
    throw syntaxError(
      'INSTRUCTION_INVALID',
      `not a URL: ${JSON.stringify(shownUrl(source))}`,
      at,
      'write https://HOST/PATH',
    );
  }
  return createVertex({
    op: {
      kind: 'http',
      url: source,
      filename: filenameOf(path),
      ...(checksum === undefined ? {} : { checksum }),
    },
    inputs: [],
    name: shownUrl(source),
    source: refAt(raw),
  });
}

/** Without its password. */
function shownUrl(url: string): string {
  return url.replace(/:\/\/[^/@]*@/, '://***@');
}

function filenameOf(path: string): string {
  let name = '';
  try {
    name = decodeURIComponent(trimEndOf(path, '/').split('/').at(-1) ?? '');
  } catch {
    // Not valid as UTF-8: there is no name in it.
  }
  return name === '' || name === '.' || name === '..' || name.includes('/') || name.includes('\0')
    ? '__unnamed__'
    : name;
}

export function parseOwner(text: string): CopyOwner {
  const colon = text.indexOf(':');
  return colon < 0 ? { user: text } : { user: text.slice(0, colon), group: text.slice(colon + 1) };
}

const SYMBOLIC = /^[ugoa]*([-+=]([rwxXst]*|[ugo]))+(,[ugoa]*([-+=]([rwxXst]*|[ugo]))+)*$/;

function checkChmod(text: string, { flags }: InstructionOf<'COPY' | 'ADD'>): string {
  const isOctal = /^[0-7]+$/.test(text) && parseInt(text, 8) <= 0o7777;
  if (isOctal || SYMBOLIC.test(text)) return text;
  throw syntaxError(
    'INSTRUCTION_INVALID',
    `invalid value ${JSON.stringify(text)} of --chmod`,
    flags.at('chmod'),
    'write an octal mode from 0 to 7777, or e.g. u+x,go-w',
  );
}

/** WORKDIR: the config keeps an absolute path as written, and so does the step that makes the directory. */
export function lowerWorkdir(
  stage: StageState,
  written: string,
  instruction: InstructionOf<'WORKDIR'>,
): void {
  if (!stage.workdirSet && !written.startsWith('/'))
    stage.linter.report(
      'WorkdirRelativePath',
      `WORKDIR ${JSON.stringify(written)} depends on the working directory of the base image: begin with an absolute path`,
      refAt(instruction.raw),
    );
  stage.workdirSet = true;
  const path =
    written === '' ? '/' : written.startsWith('/') ? written : cleanPath(`${workdirOf(stage)}/${written}`);
  const below = stage.settings.get('WORKDIR') ?? workdirOf(stage);
  noteSetting(stage, 'WORKDIR', written.startsWith('/') ? instruction.text : `${below}/${instruction.text}`);
  stage.config.WorkingDir = path;
  if (path === '/') {
    remember(stage, `WORKDIR ${path}`);
    return;
  }
  const op: CopyOp = {
    kind: 'copy',
    instruction: 'WORKDIR',
    sources: [],
    // Without "..", what it is called makes no difference.
    destination: path.split('/').includes('..') ? path : cleanPath(path),
    parents: false,
    excludes: [],
    link: false,
    unpack: 'never',
    workdirUser: stage.config.User ?? '',
  };
  remember(stage, `WORKDIR ${path}`, extend(stage, op, [], instruction.raw, shownText(instruction.raw)));
}
