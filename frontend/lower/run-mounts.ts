/** RUN --mount: comma-separated key=value lists, checked per type of mount. */
import type { Vertex } from '../../src/graph/graph.ts';
import type { RunMount } from '../../src/graph/ops.ts';
import { suggest } from '../../src/base/suggest.ts';
import type { TsbuildError } from '../../src/base/errors.ts';
import type { InstructionOf } from '../instructions/instruction.ts';
import { refAt, syntaxError } from '../parse/source.ts';
import type { CopyInputs } from './copy.ts';
import type { Expander } from './expander.ts';
import { cleanPath, workdirOf, type StageState } from './stage.ts';

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
const BOOLEANS = new Set(['readonly', 'readwrite', 'required']);

interface Context {
  readonly stage: StageState;
  readonly instruction: InstructionOf<'RUN'>;
  readonly inputs: CopyInputs;
  readonly addInput: (vertex: Vertex) => number;
  readonly fail: (message: string, hint?: string) => TsbuildError;
}

export async function lowerMounts(
  stage: StageState,
  instruction: InstructionOf<'RUN'>,
  expand: Expander,
  inputs: CopyInputs,
  more: Vertex[],
): Promise<readonly RunMount[]> {
  const addInput = (vertex: Vertex): number => {
    const at = more.findIndex((each) => each.id === vertex.id);
    return at >= 0 ? at + 1 : more.push(vertex);
  };
  const mounts: RunMount[] = [];
  for (const flag of instruction.flags.all) {
    if (flag.name !== 'mount') continue;
    const at = refAt(instruction.raw, flag.from, flag.to);
    const fail = (message: string, hint?: string): TsbuildError =>
      syntaxError('INSTRUCTION_INVALID', message, at, hint);
    const context: Context = { stage, instruction, inputs, addInput, fail };
    mounts.push(await lowerMount(context, readFields(flag.value ?? '', expand, fail)));
  }
  return mounts;
}

interface Fields {
  readonly kind: RunMount['kind'];
  readonly values: ReadonlyMap<string, string>;
}

function readFields(text: string, expand: Expander, fail: Context['fail']): Fields {
  const values = new Map<string, string>();
  let kind: RunMount['kind'] = 'bind';
  for (const field of csvFields(text)) {
    const equals = field.indexOf('=');
    const written = (equals < 0 ? field : field.slice(0, equals)).trim().toLowerCase();
    const key = ALIASES[written] ?? written;
    const value = equals < 0 ? undefined : field.slice(equals + 1);
    if (value === undefined && !BOOLEANS.has(key) && key !== 'env')
      throw fail(`invalid field ${JSON.stringify(field)} in --mount`, 'write key=value');
    if (key === 'from' && value?.includes('$') === true)
      throw fail("'from' does not support variables", 'define an alias stage with FROM and name that');
    const expanded = value === undefined || key === 'from' ? value : expand.word(value);
    if (key === 'type') {
      if (!isKind(expanded))
        throw fail(
          `unsupported mount type ${JSON.stringify(expanded)}`,
          `use one of ${Object.keys(KEYS).join(', ')}`,
        );
      kind = expanded;
    } else values.set(key, expanded ?? 'true');
  }
  for (const key of values.keys())
    if (!KEYS[kind].includes(key)) {
      const near = suggest(key, KEYS[kind]);
      throw fail(
        `unexpected key ${JSON.stringify(key)} for mount type ${JSON.stringify(kind)}`,
        near === undefined ? undefined : `did you mean ${near}?`,
      );
    }
  return { kind, values };
}

function isKind(text: string | undefined): text is RunMount['kind'] {
  return text !== undefined && text in KEYS;
}

/** Fields of one CSV record: quotes protect commas. */
function csvFields(text: string): readonly string[] {
  const fields: string[] = [];
  let field = '';
  let quoted = false;
  for (const char of text) {
    if (char === '"') quoted = !quoted;
    else if (char === ',' && !quoted) {
      fields.push(field);
      field = '';
    } else field += char;
  }
  return [...fields, field].filter((each) => each !== '');
}

async function lowerMount(context: Context, { kind, values }: Fields): Promise<RunMount> {
  const { stage, fail } = context;
  const boolean = (key: string): boolean | undefined => {
    const value = values.get(key);
    if (value === undefined) return undefined;
    if (/^(true|1|t)$/i.test(value)) return true;
    if (/^(false|0|f)$/i.test(value)) return false;
    throw fail(`invalid value ${JSON.stringify(value)} for ${key}`, 'use true or false');
  };
  const integer = (key: string, base: number, fallback: number): number => {
    const value = values.get(key);
    if (value === undefined) return fallback;
    const number = parseInt(value, base);
    if (!(base === 8 ? /^[0-7]+$/ : /^\d+$/).test(value))
      throw fail(`invalid value ${JSON.stringify(value)} for ${key}`);
    return number;
  };
  const absolute = (path: string): string =>
    cleanPath(path.startsWith('/') ? path : `${workdirOf(stage)}/${path}`);
  const targetOf = (): string => {
    const target = absolute(values.get('target') ?? '');
    if (target === '/') throw fail('invalid mount target "/"');
    return target;
  };
  const readonlyOf = (fallback: boolean): boolean => {
    const readwrite = boolean('readwrite');
    return boolean('readonly') ?? (readwrite === undefined ? fallback : !readwrite);
  };
  const owner = { uid: integer('uid', 10, 0), gid: integer('gid', 10, 0) };

  switch (kind) {
    case 'bind': {
      const input = context.addInput(await inputOf(context, values.get('from')));
      return {
        kind,
        input,
        source: cleanPath(values.get('source') ?? '/'),
        target: targetOf(),
        readonly: readonlyOf(true),
      };
    }
    case 'cache': {
      const sharing = values.get('sharing') ?? 'shared';
      if (sharing !== 'shared' && sharing !== 'private' && sharing !== 'locked')
        throw fail(`unsupported sharing value ${JSON.stringify(sharing)}`, 'use shared, private or locked');
      const from = values.get('from');
      const target = targetOf();
      const seed =
        from === undefined
          ? {}
          : {
              input: context.addInput(await inputOf(context, from)),
              source: cleanPath(values.get('source') ?? '/'),
            };
      return {
        kind,
        id: values.get('id') ?? target,
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
        throw fail(`invalid value for size: ${JSON.stringify(size)}`);
      return { kind, target: targetOf(), ...(bytes === undefined ? {} : { size: bytes }) };
    }
    case 'secret': {
      const id = values.get('id') ?? values.get('source') ?? values.get('target')?.split('/').at(-1) ?? '';
      if (values.has('id') && values.has('source')) throw fail("both source and id can't be set");
      if (id === '') throw fail('invalid secret mount: one of id, source, target is required');
      const env = values.get('env');
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
      const target =
        values.get('target') ?? `/run/buildkit/ssh_agent.${context.instruction.flags.all.length - 1}`;
      return {
        kind,
        id: values.get('id') ?? 'default',
        target: absolute(target),
        required: boolean('required') ?? false,
        mode: integer('mode', 8, 0o600),
        ...owner,
      };
    }
  }
}

function inputOf({ inputs, instruction }: Context, from: string | undefined): Promise<Vertex> {
  return from === undefined ? Promise.resolve(inputs.context()) : inputs.from(from, instruction);
}

/** Bytes of `64m`, `1g`, `512`. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?$/i.exec(text);
  if (match === null) return undefined;
  const power = ['', 'k', 'm', 'g', 't'].indexOf((match[2] ?? '').toLowerCase());
  return Math.round(Number(match[1]) * 1024 ** power);
}
