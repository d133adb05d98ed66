/** `--mount type=bind|volume|tmpfs,…`. Source: docker/cli, opts/mount.go; podman's few more keys. */
import type { MountRequest, Propagation } from '../../../runtime/container-options.ts';
import { isVolumeName, VOLUME_NAME_RULE } from '../../../engine/volume-name.ts';
import { badFlag } from './bad-flag.ts';
import { cleanPath, parseBoolean, splitFields, splitPair } from './fields.ts';
import { parseBytes } from './numbers.ts';
import { PROPAGATIONS } from './volume.ts';

interface Draft {
  type: string;
  source?: string;
  target?: string;
  readonly: boolean;
  /** Keys that belong to one type, as they were written. */
  readonly specific: string[];
  propagation?: Propagation;
  recursive: boolean;
  writableBelow?: boolean;
  createSource: boolean;
  nocopy: boolean;
  subpath?: string;
  readonly labels: Record<string, string>;
  readonly options: Record<string, string>;
  size?: number;
  mode?: number;
}

/** `resolve` makes a path of the host absolute. Throws USAGE. */
export function parseMount(text: string, resolve: (path: string) => string): MountRequest {
  const fail = (reason: string, hint?: string): never => {
    throw badFlag('--mount', text, reason, hint);
  };
  const draft: Draft = {
    ...{ type: 'volume', readonly: false, recursive: true, createSource: false, nocopy: false },
    ...{ specific: [], labels: {}, options: {} },
  };
  const fields = splitFields(text) ?? fail('parse error: bare " in non-quoted field');
  for (const field of fields) takeField(draft, field, fail);
  const foreign = draft.specific.find((key) => !key.startsWith(`${draft.type}-`));
  if (foreign !== undefined)
    fail(`cannot mix '${foreign.split('-', 1)[0] ?? ''}-*' options with mount type '${draft.type}'`);
  const written = draft.target ?? fail('target is required');
  const target = cleanPath(written) ?? fail(`invalid mount path: '${written}' mount path must be absolute`);
  if (target === '/') fail("invalid specification: destination can't be '/'");
  return finish(draft, target, resolve, fail);
}

type Fail = (reason: string, hint?: string) => never;

function finish(draft: Draft, target: string, resolve: (path: string) => string, fail: Fail): MountRequest {
  const { source, readonly } = draft;
  switch (draft.type) {
    case 'bind': {
      if (source === undefined || source === '')
        return fail('invalid mount config for type "bind": field Source must not be empty');
      const { propagation, recursive, createSource } = draft;
      const shared = {
        ...(propagation === undefined ? {} : { propagation }),
        ...(draft.writableBelow === true ? { writableBelow: true } : {}),
      };
      return { kind: 'bind', source: resolve(source), target, readonly, recursive, createSource, ...shared };
    }
    case 'volume': {
      if (source !== undefined && source !== '' && !isVolumeName(source))
        return fail(
          `${JSON.stringify(source)} includes invalid characters for a local volume name`,
          VOLUME_NAME_RULE,
        );
      const { nocopy, subpath, labels, options } = draft;
      const named = source === undefined || source === '' ? {} : { name: source };
      const below = subpath === undefined ? {} : { subpath };
      return { kind: 'volume', ...named, target, readonly, nocopy, labels, options, ...below };
    }
    case 'tmpfs': {
      if (source !== undefined)
        return fail('invalid mount config for type "tmpfs": field Source must not be specified');
      const { size, mode = 0o1777 } = draft;
      return { kind: 'tmpfs', target, readonly, mode, options: [], ...(size === undefined ? {} : { size }) };
    }
    default:
      return fail(`mount type unknown: ${JSON.stringify(draft.type)}`, 'use bind, volume or tmpfs');
  }
}

function takeField(draft: Draft, field: string, fail: Fail): void {
  const [written, given] = splitPair(field);
  const key = written.toLowerCase();
  if (takeFlag(draft, key, given, fail)) return;
  if (given === undefined) fail(`invalid field '${field}' must be a key=value pair`);
  if (!takeValue(draft, key, given, fail)) fail(`unexpected key '${written}' in '${field}'`);
}

/** Keys that may stand alone. */
function takeFlag(draft: Draft, key: string, given: string | undefined, fail: Fail): boolean {
  const value = (): boolean =>
    given === undefined ? true : (parseBoolean(given) ?? fail(`invalid value for ${key}: ${given}`));
  switch (key) {
    case 'readonly':
    case 'ro':
      draft.readonly = value();
      return true;
    case 'rw':
      draft.readonly = !value();
      return true;
    case 'volume-nocopy':
      draft.specific.push(key);
      draft.nocopy = value();
      return true;
    case 'bind-nonrecursive':
      draft.specific.push(key);
      draft.recursive = !value();
      return true;
    case 'bind-create-src':
      draft.specific.push(key);
      draft.createSource = value();
      return true;
    default:
      return false;
  }
}

function takeValue(draft: Draft, key: string, value: string, fail: Fail): boolean {
  switch (key) {
    case 'type':
      draft.type = value.toLowerCase();
      return true;
    case 'source':
    case 'src':
      draft.source = value;
      return true;
    case 'target':
    case 'dst':
    case 'destination':
      draft.target = value;
      return true;
    case 'consistency':
      return true;
    default:
      if (!/^(?:bind|volume|tmpfs)-/.test(key)) return false;
      draft.specific.push(key);
      return takeSpecific(draft, key, value, fail);
  }
}

function takeSpecific(draft: Draft, key: string, value: string, fail: Fail): boolean {
  switch (key) {
    case 'bind-propagation':
      draft.propagation =
        PROPAGATIONS.find((each) => each === value) ??
        fail(`invalid propagation mode: ${value}`, `use one of ${PROPAGATIONS.join(', ')}`);
      return true;
    case 'bind-recursive':
      if (!['enabled', 'disabled', 'writable', 'readonly'].includes(value))
        fail(
          `invalid value for bind-recursive: ${value} (must be "enabled", "disabled", "writable", or "readonly")`,
        );
      draft.recursive = value !== 'disabled';
      draft.writableBelow = value === 'writable';
      return true;
    case 'volume-subpath':
      draft.subpath = cleanPath(`/${value}`)?.slice(1) ?? '';
      return true;
    case 'volume-label':
    case 'volume-opt': {
      const [name, text = ''] = splitPair(value);
      (key === 'volume-opt' ? draft.options : draft.labels)[name] = text;
      return true;
    }
    case 'volume-driver':
      if (value !== 'local')
        fail(
          `volume driver ${JSON.stringify(value)} is not supported`,
          'leave it out: there is "local" alone',
        );
      return true;
    case 'tmpfs-size':
      draft.size = parseBytes(value) ?? fail(`invalid value for ${key}: ${value}`);
      return true;
    case 'tmpfs-mode':
      draft.mode = /^[0-7]{1,5}$/.test(value)
        ? Number.parseInt(value, 8)
        : fail(`invalid value for ${key}: ${value}`);
      return true;
    default:
      return false;
  }
}
