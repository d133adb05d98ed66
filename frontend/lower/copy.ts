/** COPY and ADD: sources, destination and owner, expanded and resolved to inputs. WORKDIR, which makes a directory. */
import type { Vertex } from '../../src/graph/graph.ts';
import { createVertex } from '../../src/graph/graph.ts';
import type { CopyOp, CopyOwner, CopySource } from '../../src/graph/ops.ts';
import type { InstructionOf } from '../instructions/instruction.ts';
import { parseHeredocWord } from '../parse/lines.ts';
import { refAt, syntaxError } from '../parse/source.ts';
import type { Expander } from './expander.ts';
import { cleanPath, extend, nextName, remember, shownText, workdirOf, type StageState } from './stage.ts';

export interface CopyInputs {
  /** The build context. */
  readonly context: () => Vertex;
  /** What `--from` means. */
  readonly from: (name: string, instruction: InstructionOf<'COPY' | 'ADD' | 'RUN'>) => Promise<Vertex>;
  readonly scratch: () => Vertex;
}

export async function lowerCopy(
  stage: StageState,
  instruction: InstructionOf<'COPY' | 'ADD'>,
  expand: Expander,
  inputs: CopyInputs,
  escape: string,
): Promise<void> {
  const { kind, raw, flags } = instruction;
  const destination = destinationOf(stage, expand.word(instruction.destination));
  const chown = flags.text('chown');
  const chmod = flags.text('chmod');
  const expandedChown = chown === undefined ? undefined : expand.word(chown);
  const expandedChmod = chmod === undefined ? undefined : expand.word(chmod);
  const more: Vertex[] = [];
  const addInput = (vertex: Vertex): number => {
    const at = more.findIndex((each) => each.id === vertex.id);
    if (at >= 0) return at + 1;
    more.push(vertex);
    return more.length;
  };
  const sources = await sourcesOf(instruction, expand, inputs, addInput, escape);
  const link = flags.boolean('link') === true;
  const unpackFlag = flags.boolean('unpack');
  const op: CopyOp = {
    kind: 'copy',
    instruction: kind,
    sources,
    destination,
    ...(expandedChown === undefined || expandedChown === '' ? {} : { owner: parseOwner(expandedChown) }),
    ...(expandedChmod === undefined || expandedChmod === ''
      ? {}
      : { chmod: checkChmod(expandedChmod, instruction) }),
    parents: flags.boolean('parents') === true,
    excludes: flags.list('exclude'),
    link,
    unpack: kind === 'COPY' || unpackFlag === false ? 'never' : unpackFlag === true ? 'always' : 'auto',
  };
  const vertex = link
    ? linked(stage, op, more, instruction, inputs)
    : extend(stage, op, more, raw, shownText(raw));
  remember(stage, `${historyText(instruction, expand, expandedChown, expandedChmod)} # buildkit`, vertex);
}

/** The layer is made on nothing and put on top of the stage: it does not depend on what is below. */
function linked(
  stage: StageState,
  op: CopyOp,
  more: readonly Vertex[],
  { raw }: InstructionOf<'COPY' | 'ADD'>,
  inputs: CopyInputs,
): Vertex {
  const layer = createVertex({
    op,
    inputs: [inputs.scratch(), ...more],
    name: nextName(stage, shownText(raw)),
    source: refAt(raw),
    ...(stage.noCache ? { noCache: true } : {}),
  });
  stage.vertex = createVertex({
    op: { kind: 'merge' },
    inputs: [stage.vertex, layer],
    name: `merging (${shownText(raw)})`,
    source: refAt(raw),
  });
  return stage.vertex;
}

function destinationOf(stage: StageState, written: string): string {
  const isDirectory = written === '' || /(^|\/)\.{0,2}$/.test(written);
  const path = cleanPath(written.startsWith('/') ? written : `${workdirOf(stage)}/${written}`);
  return isDirectory && path !== '/' ? `${path}/` : path;
}

async function sourcesOf(
  instruction: InstructionOf<'COPY' | 'ADD'>,
  expand: Expander,
  inputs: CopyInputs,
  addInput: (vertex: Vertex) => number,
  escape: string,
): Promise<readonly CopySource[]> {
  const { flags, heredocs } = instruction;
  const from = flags.text('from');
  const sources: CopySource[] = [];
  const patterns: string[] = [];
  let bodies = 0;
  for (const written of instruction.sources) {
    const isHeredoc = heredocs.length > 0 && parseHeredocWord(written, escape) !== undefined;
    const heredoc = isHeredoc ? heredocs[bodies++] : undefined;
    if (heredoc !== undefined) {
      const content = heredoc.expand ? expand.body(heredoc.content) : heredoc.content;
      sources.push({ kind: 'inline', name: heredoc.name, content });
      continue;
    }
    const source = expand.word(written);
    const remote = remoteVertex(instruction, source);
    if (remote !== undefined) sources.push({ kind: 'whole', input: addInput(remote) });
    else patterns.push(source);
  }
  const isRemoteOnly = sources.some((source) => source.kind === 'whole') && patterns.length === 0;
  if (flags.text('checksum') !== undefined && (!isRemoteOnly || sources.length !== 1))
    throw syntaxError(
      'INSTRUCTION_INVALID',
      '--checksum goes with exactly one remote source',
      refAt(instruction.raw),
    );
  if (patterns.length > 0) {
    const input = addInput(from === undefined ? inputs.context() : await inputs.from(from, instruction));
    sources.unshift({ kind: 'paths', input, patterns });
  }
  return sources;
}

const GIT = /^(?:git:\/\/|ssh:\/\/|git@[^/:]+:|https?:\/\/[^?#]+\.git(?:[?#]|$))/;

function remoteVertex(instruction: InstructionOf<'COPY' | 'ADD'>, source: string): Vertex | undefined {
  const isGit = GIT.test(source);
  if (!isGit && !/^https?:\/\//.test(source)) return undefined;
  const at = refAt(instruction.raw);
  if (instruction.kind === 'COPY' && instruction.flags.text('from') !== undefined) return undefined;
  if (instruction.kind === 'COPY')
    throw syntaxError(
      'INSTRUCTION_INVALID',
      `the source of a COPY can't be a ${isGit ? 'git repository' : 'URL'}`,
      at,
      'use ADD instead',
    );
  if (isGit)
    throw syntaxError(
      'INSTRUCTION_UNSUPPORTED',
      'ADD of a git repository is not supported yet',
      at,
      'clone it with RUN git clone',
    );
  const checksum = instruction.flags.text('checksum');
  let filename: string;
  try {
    filename = decodeURIComponent(new URL(source).pathname.split('/').at(-1) ?? '');
  } catch {
    throw syntaxError('INSTRUCTION_INVALID', `not a URL: ${JSON.stringify(source)}`, at);
  }
  if (filename === '' || filename.includes('/') || filename === '..' || filename === '.')
    filename = '__unnamed__';
  return createVertex({
    op: { kind: 'http', url: source, filename, ...(checksum === undefined ? {} : { checksum }) },
    inputs: [],
    name: source,
    source: at,
  });
}

export function parseOwner(text: string): CopyOwner {
  const colon = text.indexOf(':');
  return colon < 0 ? { user: text } : { user: text.slice(0, colon), group: text.slice(colon + 1) };
}

const SYMBOLIC = /^[ugoa]*([-+=]([rwxXst]*|[ugo]))+(,[ugoa]*([-+=]([rwxXst]*|[ugo]))+)*$/;

function checkChmod(text: string, { raw }: InstructionOf<'COPY' | 'ADD'>): string {
  const isOctal = /^[0-7]+$/.test(text) && parseInt(text, 8) <= 0o7777;
  if (isOctal || SYMBOLIC.test(text)) return text;
  throw syntaxError(
    'INSTRUCTION_INVALID',
    `invalid value ${JSON.stringify(text)} of --chmod`,
    refAt(raw),
    'write an octal mode from 0 to 7777, or e.g. u+x,go-w',
  );
}

function historyText(
  instruction: InstructionOf<'COPY' | 'ADD'>,
  expand: Expander,
  chown: string | undefined,
  chmod: string | undefined,
): string {
  const words = [
    ...(instruction.flags.boolean('parents') === true ? ['--parents'] : []),
    ...(chown === undefined ? [] : [`--chown=${chown}`]),
    ...(chmod === undefined ? [] : [`--chmod=${chmod}`]),
    ...instruction.sources.map((source) => expand.word(source)),
    expand.word(instruction.destination),
  ];
  return `${instruction.kind} ${words.join(' ')}`;
}

/** WORKDIR: the config keeps the text as written, the directory is made with a clean path. */
export function lowerWorkdir(
  stage: StageState,
  written: string,
  instruction: InstructionOf<'WORKDIR'>,
): void {
  const path =
    written === '' ? '/' : written.startsWith('/') ? written : cleanPath(`${workdirOf(stage)}/${written}`);
  stage.config.WorkingDir = path;
  const destination = cleanPath(path);
  if (destination === '/') {
    remember(stage, `WORKDIR ${path}`);
    return;
  }
  const op: CopyOp = {
    kind: 'copy',
    instruction: 'WORKDIR',
    sources: [],
    destination,
    parents: false,
    excludes: [],
    link: false,
    unpack: 'never',
    workdirUser: stage.config.User ?? '',
  };
  remember(stage, `WORKDIR ${path}`, extend(stage, op, [], instruction.raw, shownText(instruction.raw)));
}
