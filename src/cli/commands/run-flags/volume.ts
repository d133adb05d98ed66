/**
 * `-v [SOURCE:]TARGET[:OPTIONS]` and `--volumes-from`.
 *
 * Source: docker/cli, cli/compose/loader/volume.go; moby, volume/mounts/linux_parser.go.
 */
import type { MountRequest, Propagation, VolumesFrom } from '../../../runtime/container-options.ts';
import { isVolumeName, VOLUME_NAME_RULE } from '../../../engine/volume-name.ts';
import { badFlag } from './bad-flag.ts';
import { cleanPath } from './fields.ts';

export const PROPAGATIONS: readonly Propagation[] = [
  ...(['private', 'rprivate', 'slave', 'rslave', 'shared', 'rshared'] as const),
];

const FLAG = '-v, --volume';

/** `resolve` makes a path of the host absolute (`~` is left to the shell). Throws USAGE. */
export function parseVolume(text: string, resolve: (path: string) => string): MountRequest {
  const parts = text.split(':');
  if (parts.length > 3 || text === '' || parts.includes(''))
    throw badFlag(FLAG, text, `invalid volume specification: '${text}'`, 'write [SOURCE:]TARGET[:OPTIONS]');
  const [first = '', second, options = ''] = parts;
  const isAnonymous = second === undefined;
  const target = cleanPath(isAnonymous ? first : second);
  if (target === undefined)
    throw badFlag(FLAG, text, `invalid mount path: '${second ?? first}' mount path must be absolute`);
  if (target === '/') throw badFlag(FLAG, text, "invalid specification: destination can't be '/'");
  const parsed = parseOptions(text, options);
  if (isAnonymous || !/^[./~]/.test(first))
    return volume(text, isAnonymous ? undefined : first, target, parsed);
  if (parsed.nocopy) throw badFlag(FLAG, text, `invalid mode: ${options}`, 'nocopy is for volumes');
  return {
    kind: 'bind',
    source: resolve(first),
    target,
    readonly: parsed.readonly,
    recursive: parsed.recursive,
    createSource: true,
    ...(parsed.propagation === undefined ? {} : { propagation: parsed.propagation }),
  };
}

function volume(
  text: string,
  name: string | undefined,
  target: string,
  options: VolumeOptions,
): MountRequest {
  if (name !== undefined && !isVolumeName(name))
    throw badFlag(
      FLAG,
      text,
      `${JSON.stringify(name)} includes invalid characters for a local volume name`,
      VOLUME_NAME_RULE,
    );
  if (options.propagation !== undefined)
    throw badFlag(FLAG, text, `invalid mode: ${options.propagation}`, 'propagation is for binds');
  return {
    kind: 'volume',
    ...(name === undefined ? {} : { name }),
    target,
    readonly: options.readonly,
    nocopy: options.nocopy,
    labels: {},
    options: {},
  };
}

interface VolumeOptions {
  readonly readonly: boolean;
  readonly nocopy: boolean;
  readonly recursive: boolean;
  readonly propagation?: Propagation;
}

function parseOptions(text: string, options: string): VolumeOptions {
  const words = options === '' ? [] : options.split(',');
  const propagations = words.filter((word): word is Propagation =>
    (PROPAGATIONS as readonly string[]).includes(word),
  );
  // z, Z: relabelling for SELinux; consistent, cached, delegated: of Docker Desktop. Accepted as docker does.
  const known = [
    'ro',
    'rw',
    'z',
    'Z',
    'nocopy',
    'copy',
    'consistent',
    'cached',
    'delegated',
    'bind',
    'rbind',
    'U',
  ];
  const unknown = words.find((word) => !known.includes(word) && !propagations.includes(word as Propagation));
  const both = words.includes('ro') && words.includes('rw');
  if (unknown !== undefined || both || propagations.length > 1 || new Set(words).size < words.length)
    throw badFlag(
      FLAG,
      text,
      `invalid mode: ${options}`,
      'use ro, rw, z, Z, nocopy, or one kind of propagation',
    );
  const [propagation] = propagations;
  return {
    readonly: words.includes('ro'),
    nocopy: words.includes('nocopy'),
    recursive: !words.includes('bind'),
    ...(propagation === undefined ? {} : { propagation }),
  };
}

/** `CONTAINER[:ro|rw]`. Throws USAGE. */
export function parseVolumesFrom(text: string): VolumesFrom {
  const [container = '', mode, ...more] = text.split(':');
  if (container === '' || more.length > 0)
    throw badFlag('--volumes-from', text, `invalid volumes-from specification: ${text}`);
  if (mode === undefined || mode === 'z' || mode === 'Z') return { container };
  if (mode !== 'ro' && mode !== 'rw')
    throw badFlag('--volumes-from', text, `invalid mode: ${mode}`, 'use ro or rw');
  return { container, readonly: mode === 'ro' };
}
