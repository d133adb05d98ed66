/** RUN --mount: comma-separated key=value lists, checked per type of mount. */
import { createVertex, type Vertex } from '../../src/graph/graph.ts';
import type { CopyOp, RunMount } from '../../src/graph/ops.ts';
import { suggest } from '../../src/base/suggest.ts';
import { narrow, type SourceRef, type TsbuildError } from '../../src/base/errors.ts';
import { mountFields } from '../instructions/check-instruction.ts';
import type { InstructionOf } from '../instructions/instruction.ts';
import { refAt, syntaxError } from '../parse/source.ts';
import type { CopyInputs } from './copy.ts';
import type { Expander } from './expander.ts';
import { cleanPath, placeOf, workdirOf, type OutlineMount, type StageState } from './stage.ts';

const ALIASES: Readonly<Record<string, string>> = {
  src: 'source',
  dst: 'target',
  destination: 'target',
  ro: 'readonly',
  rw: 'readwrite',
};
const KEYS: Readonly<Record<RunMount['kind'], readonly string[]>> = {
  bind: ['source', 'target', 'from', 'readonly', 'readwrite'],
  cache: ['id', 'source', 'target', 'from', 'readonly', 'readwrite', 'sharing', 'mode', 'uid', 'gid'],
  tmpfs: ['target', 'size', 'readwrite'],
  secret: ['id', 'source', 'target', 'required', 'mode', 'uid', 'gid', 'env'],
  ssh: ['id', 'target', 'required', 'mode', 'uid', 'gid'],
};

/** Keys that a type has no use for, and that are taken all the same, as BuildKit does. */
const IDLE: Readonly<Record<RunMount['kind'], readonly string[]>> = {
  bind: ['id'],
  cache: [],
  tmpfs: ['id', 'source', 'from', 'readonly'],
  secret: ['readonly', 'readwrite'],
  ssh: ['source', 'from', 'readonly', 'readwrite'],
};
/** Keys that mean something without a value. */
const VALUELESS = new Set(['readonly', 'readwrite', 'required']);

interface Context {
  readonly stage: StageState;
  readonly instruction: InstructionOf<'RUN'>;
  readonly inputs: CopyInputs;
  readonly addInput: (vertex: Vertex) => number;
  /** `field`: the one that is wrong, as written. */
  readonly fail: (message: string, hint?: string, field?: string) => TsbuildError;
  readonly cacheNamespace: string | undefined;
  readonly at: SourceRef;
  /** Sockets of agents are numbered within the instruction. */
  readonly sshIndex: () => number;
}

export async function lowerMounts(
  stage: StageState,
  instruction: InstructionOf<'RUN'>,
  expand: Expander,
  inputs: CopyInputs,
  more: Vertex[],
  cacheNamespace: string | undefined,
): Promise<readonly RunMount[]> {
  let sockets = 0;
  const addInput = (vertex: Vertex): number => {
    const at = more.findIndex((each) => each.id === vertex.id);
    return at >= 0 ? at + 1 : more.push(vertex);
  };
  const mounts: RunMount[] = [];
  for (const flag of instruction.flags.all) {
    if (flag.name !== 'mount') continue;
    const at = refAt(instruction.raw, flag.from, flag.to);
    const fail = (message: string, hint?: string, field?: string): TsbuildError =>
      syntaxError('INSTRUCTION_INVALID', message, field === undefined ? at : narrow(at, field), hint);
    const context: Context = {
      stage,
      instruction,
      inputs,
      addInput,
      fail,
      cacheNamespace,
      at,
      sshIndex: () => sockets++,
    };
    mounts.push(await lowerMount(context, readFields(flag.value ?? '', expand, fail)));
  }
  return mounts;
}

interface Fields {
  readonly kind: RunMount['kind'];
  readonly values: ReadonlyMap<string, string>;
  /** As written, by key. */
  readonly written: ReadonlyMap<string, string>;
}

function readFields(text: string, expand: Expander, fail: Context['fail']): Fields {
  const values = new Map<string, string>();
  const fields = new Map<string, string>();
  let kind: RunMount['kind'] = 'bind';
  for (const field of mountFields(text)) {
    const equals = field.indexOf('=');
    const written = (equals < 0 ? field : field.slice(0, equals)).toLowerCase();
    const key = (Object.hasOwn(ALIASES, written) ? ALIASES[written] : undefined) ?? written;
    const value = equals < 0 ? undefined : field.slice(equals + 1);
    if (key === 'env' && value === undefined)
      throw fail("'env' of --mount needs the name of a variable", 'write env=NAME', field);
    if (value === undefined && !VALUELESS.has(key))
      throw fail(
        `invalid field ${JSON.stringify(field)} in --mount`,
        field.startsWith('/') ? `write target=${field}` : 'write key=value',
        field,
      );
    fields.set(key, field);
    const expanded = value === undefined || key === 'from' ? value : expand.word(value);
    if (key === 'type') {
      const type = expanded?.toLowerCase();
      if (!isKind(type)) {
        const near = suggest(type ?? '', Object.keys(KEYS));
        throw fail(
          `unsupported mount type ${JSON.stringify(expanded)}`,
          near === undefined ? `use one of ${Object.keys(KEYS).join(', ')}` : `did you mean ${near}?`,
          field,
        );
      }
      kind = type;
    } else {
      // Of what contradicts itself, the last counts.
      if (key === 'readonly') values.delete('readwrite');
      if (key === 'readwrite') values.delete('readonly');
      values.set(key, expanded ?? 'true');
    }
  }
  for (const key of values.keys())
    if (!KEYS[kind].includes(key) && !IDLE[kind].includes(key)) {
      const field = fields.get(key);
      if (key === 'sharing')
        throw fail(
          `'sharing' is for cache mounts, not for ${kind} mounts`,
          'leave it out, or add type=cache',
          field,
        );
      const near = suggest(key, [...KEYS[kind], ...Object.keys(ALIASES), 'type']);
      throw fail(
        `unexpected key ${JSON.stringify(key)} for mount type ${JSON.stringify(kind)}`,
        near === undefined ? `it takes ${KEYS[kind].join(', ')}` : `did you mean ${near}?`,
        field,
      );
    }
  return { kind, values, written: fields };
}

function isKind(text: string | undefined): text is RunMount['kind'] {
  return text !== undefined && Object.hasOwn(KEYS, text);
}

async function lowerMount(context: Context, { kind, values, written }: Fields): Promise<RunMount> {
  const { stage, fail: failAt } = context;
  const fail = (message: string, hint: string, key?: string): TsbuildError =>
    failAt(message, hint, key === undefined ? undefined : written.get(key));
  const boolean = (key: string): boolean | undefined => {
    const value = values.get(key);
    if (value === undefined) return undefined;
    if (/^(true|1|t)$/i.test(value)) return true;
    if (/^(false|0|f)$/i.test(value)) return false;
    throw fail(`invalid value ${JSON.stringify(value)} for ${key}`, 'use true or false', key);
  };
  const integer = (key: string, base: number, fallback: number): number => {
    const value = values.get(key);
    if (value === undefined) return fallback;
    const number = parseInt(value, base);
    if (!(base === 8 ? /^[0-7]+$/ : /^\d+$/).test(value))
      throw fail(
        `invalid value ${JSON.stringify(value)} for ${key}`,
        base === 8 ? 'write an octal number, e.g. 0755' : 'write a number: names are not looked up here',
        key,
      );
    return number;
  };
  const absolute = (path: string): string =>
    cleanPath(path.startsWith('/') ? path : `${workdirOf(stage)}/${path}`);
  const targetOf = (): string => {
    const target = absolute(values.get('target') ?? '');
    if (target === '/')
      throw fail('invalid mount target "/"', 'name a directory with target=, or set WORKDIR', 'target');
    return target;
  };
  const readonlyOf = (fallback: boolean): boolean => {
    const readwrite = boolean('readwrite');
    return boolean('readonly') ?? (readwrite === undefined ? fallback : !readwrite);
  };
  const owner = { uid: integer('uid', 10, 0), gid: integer('gid', 10, 0) };

  switch (kind) {
    case 'bind': {
      const source = cleanPath(values.get('source') ?? '/');
      const from = await inputOf(context, values.get('from'));
      const input = context.addInput(from.op.kind === 'context' ? filesVertex(context, from, source) : from);
      return {
        kind,
        input,
        source,
        target: targetOf(),
        readonly: readonlyOf(true),
      };
    }
    case 'cache': {
      const sharing = values.get('sharing') ?? 'shared';
      if (sharing !== 'shared' && sharing !== 'private' && sharing !== 'locked')
        throw fail(
          `unsupported sharing value ${JSON.stringify(sharing)}`,
          'use shared, private or locked',
          'sharing',
        );
      const from = values.get('from');
      const target = targetOf();
      const source = cleanPath(values.get('source') ?? '/');
      const seed =
        from === undefined
          ? {}
          : {
              input: context.addInput(seedVertex(context, await inputOf(context, from), source)),
              source,
            };
      const namespace = context.cacheNamespace === undefined ? '' : `${context.cacheNamespace}/`;
      return {
        kind,
        id: `${namespace}${values.get('id') ?? target}`,
        target,
        sharing,
        readonly: readonlyOf(false),
        mode: integer('mode', 8, 0o755),
        ...owner,
        ...seed,
      };
    }
    case 'tmpfs': {
      const size = values.get('size');
      const bytes = size === undefined ? undefined : parseSize(size);
      if (size !== undefined && bytes === undefined)
        throw fail(`invalid value ${JSON.stringify(size)} for size`, 'write e.g. 64m or 1g', 'size');
      return { kind, target: targetOf(), ...(bytes === undefined ? {} : { size: bytes }) };
    }
    case 'secret': {
      const id = values.get('id') ?? values.get('source') ?? values.get('target')?.split('/').at(-1) ?? '';
      if (values.has('id') && values.has('source'))
        throw fail("both source and id can't be set", 'leave source out: it is another name of id', 'source');
      if (id === '') throw fail('invalid secret mount: one of id, source, target is required', 'add id=ID');
      const env = values.get('env');
      if (env !== undefined && !values.has('id') && !values.has('source'))
        throw fail('a secret mount with env needs an id', 'write type=secret,id=ID,env=NAME', 'env');
      note(context, context.stage.outline.secrets, id, boolean('required') ?? false);
      const target =
        values.get('target') ??
        (env === undefined ? `/run/secrets/${id.split('/').at(-1) ?? id}` : undefined);
      const place = target === undefined ? {} : { target: absolute(target) };
      return {
        kind,
        id,
        ...place,
        ...(env === undefined ? {} : { env }),
        required: boolean('required') ?? false,
        mode: integer('mode', 8, 0o400),
        ...owner,
      };
    }
    case 'ssh': {
      const target = values.get('target') ?? `/run/buildkit/ssh_agent.${context.sshIndex()}`;
      const id = values.get('id') ?? 'default';
      note(context, context.stage.outline.ssh, id, boolean('required') ?? false);
      return {
        kind,
        id,
        target: absolute(target),
        required: boolean('required') ?? false,
        mode: integer('mode', 8, 0o600),
        ...owner,
      };
    }
  }
}

/**
 * What a step may see of the user's files: at the same path, without what the ignore file leaves out, and owned by
 * root, as a COPY would bring them.
 */
function filesVertex(context: Context, from: Vertex, source: string): Vertex {
  return copyVertex(context, from, source, source !== '/', `[internal] files to mount from ${source}`);
}

/** What a new cache begins with: the source alone, as a root file system. */
function seedVertex(context: Context, from: Vertex, source: string): Vertex {
  return copyVertex(context, from, source, false, `[internal] files of a new cache from ${source}`);
}

function copyVertex(
  { stage, inputs, instruction }: Context,
  from: Vertex,
  source: string,
  parents: boolean,
  name: string,
): Vertex {
  const op: CopyOp = {
    kind: 'copy',
    instruction: 'COPY',
    // A path, not a pattern.
    sources: [{ kind: 'paths', input: 1, patterns: [source.replace(/[*?[\\]/g, '\\$&')] }],
    destination: '/',
    parents,
    excludes: [],
    link: false,
    unpack: 'never',
  };
  return createVertex({
    op,
    inputs: [inputs.scratch(), from],
    name,
    source: refAt(instruction.raw),
    place: placeOf(stage, stage.step + 1, name),
  });
}

function inputOf({ inputs, at }: Context, from: string | undefined): Promise<Vertex> {
  return from === undefined ? inputs.context() : inputs.from(from, narrow(at, `from=${from}`));
}

function note(
  { instruction }: Context,
  into: Map<string, OutlineMount>,
  id: string,
  required: boolean,
): void {
  const before = into.get(id);
  into.set(id, {
    required: required || before?.required === true,
    source: before?.source ?? refAt(instruction.raw),
  });
}

/** Bytes of `64m`, `1g`, `512`. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?$/i.exec(text);
  if (match === null) return undefined;
  const power = ['', 'k', 'm', 'g', 't'].indexOf((match[2] ?? '').toLowerCase());
  return Math.round(Number(match[1]) * 1024 ** power);
}
