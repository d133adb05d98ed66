/**
 * Platforms: parsing, normal form, and the choice among the manifests of an index.
 *
 * An amd64 machine takes amd64 (never amd64/v3 unasked), an arm/v7 one v7, v6, v5 in this order. Attestations and
 * entries of unknown platforms are never chosen.
 *
 * Source: OCI image-spec v1.1.1, image-index.md; containerd's platforms package for the normal forms.
 */
import { TsbuildError } from '../base/errors.ts';
import { MEDIA_TYPES, type Descriptor, type Index, type Platform } from './documents.ts';

const COMPONENT = /^[A-Za-z0-9_.-]+$/;
const ARCHITECTURES: Readonly<Record<string, { readonly architecture: string; readonly variant?: string }>> =
  {
    x86_64: { architecture: 'amd64' },
    'x86-64': { architecture: 'amd64' },
    aarch64: { architecture: 'arm64' },
    armhf: { architecture: 'arm', variant: 'v7' },
    armel: { architecture: 'arm', variant: 'v6' },
    i386: { architecture: '386' },
    i686: { architecture: '386' },
  };
/** `windows(10.0.17763+win32k)`: version and features of the system. */
const SYSTEM = /^([A-Za-z0-9_.-]+)\(([A-Za-z0-9_.-]*)((?:\+[A-Za-z0-9_.-]+)*)\)$/;
const OPERATING_SYSTEMS = new Set(['linux', 'windows', 'darwin', 'freebsd']);

/** Throws PLATFORM_INVALID. A lone architecture means linux. */
export function parsePlatform(text: string): Platform {
  const [system = '', ...others] = text.split('/');
  const [, os = system, version = '', features = ''] = SYSTEM.exec(system) ?? [];
  return {
    ...parsePlain(text, [os, ...others]),
    ...(version === '' ? {} : { 'os.version': version }),
    ...(features === '' ? {} : { 'os.features': features.slice(1).split('+') }),
  };
}

function parsePlain(text: string, parts: readonly string[]): Platform {
  if (parts.length > 3 || !parts.every((part) => COMPONENT.test(part)))
    throw new TsbuildError('PLATFORM_INVALID', `invalid platform ${JSON.stringify(text)}`, {
      hint: 'write os/architecture[/variant], e.g. linux/arm64',
    });
  const [first = '', second, third] = parts.map((part) => part.toLowerCase());
  if (second === undefined)
    return OPERATING_SYSTEMS.has(first) ? normalise(first, 'amd64') : normalise('linux', first);
  return normalise(first, second, third);
}

function normalise(os: string, architecture: string, variant?: string): Platform {
  const known = ARCHITECTURES[architecture] ?? { architecture };
  let version = variant ?? known.variant;
  if (known.architecture === 'arm')
    version = version === undefined ? 'v7' : version.startsWith('v') ? version : `v${version}`;
  const isDefault =
    (known.architecture === 'arm64' && version === 'v8') ||
    (known.architecture === 'amd64' && version === 'v1');
  return {
    os: os === 'macos' ? 'darwin' : os,
    architecture: known.architecture,
    ...(version === undefined || version === '' || isDefault ? {} : { variant: version }),
  };
}

export function formatPlatform({ os, architecture, variant }: Platform): string {
  return `${os}/${architecture}${variant === undefined ? '' : `/${variant}`}`;
}

/** Platforms that run what is wanted, best first. */
function candidatesOf(wanted: Platform): readonly string[] {
  const { os, architecture } = normalise(wanted.os, wanted.architecture, wanted.variant);
  const variant = normalise(wanted.os, wanted.architecture, wanted.variant).variant;
  // Bounded: the text comes from Dockerfiles, and levels above these do not exist.
  const version =
    variant === undefined ? undefined : Math.min(9, Number(/^v(\d{1,2})$/.exec(variant)?.[1] ?? 1));
  const name = (arch: string, v?: number): string =>
    formatPlatform(normalise(os, arch, v === undefined ? undefined : `v${v}`));
  if (architecture === 'amd64') {
    const levels =
      version === undefined ? [] : Array.from({ length: version }, (_, index) => version - index);
    return [...levels.map((level) => name('amd64', level)), name('amd64')];
  }
  if (architecture === 'arm') {
    const top = version ?? 7;
    return Array.from({ length: Math.max(0, top - 4) }, (_, index) => name('arm', top - index));
  }
  return [
    formatPlatform({ os, architecture, ...(variant === undefined ? {} : { variant }) }),
    ...(architecture === 'arm64'
      ? [...armLevels(variant).map((each) => `${os}/arm64/${each}`), name('arm64')]
      : []),
    ...(architecture === 'arm64' ? [8, 7, 6, 5].map((each) => name('arm', each)) : []),
  ];
}

/** arm64/v9.x runs v9.(x-1) … v9.0, then v8.(x+5) … v8.1; plain arm64 is v8. */
function armLevels(variant: string | undefined): readonly string[] {
  const [, major, minor = '0'] = /^v([89])(?:\.(\d))?$/.exec(variant ?? '') ?? [];
  const down = (level: string, from: number): readonly string[] =>
    Array.from({ length: Math.max(0, from) }, (_, index) => `${level}.${from - index}`);
  const at = Number(minor);
  if (major === '9') return [...down('v9', at - 1), 'v9', ...down('v8', at + 5)];
  return major === '8' ? down('v8', at - 1) : [];
}

export function isAttestation(descriptor: Descriptor): boolean {
  return (
    descriptor.annotations?.['vnd.docker.reference.type'] === 'attestation-manifest' ||
    descriptor.platform?.os === 'unknown' ||
    descriptor.platform?.architecture === 'unknown' ||
    (descriptor.artifactType !== undefined && !isConfigType(descriptor.artifactType))
  );
}

function isConfigType(type: string): boolean {
  return type === MEDIA_TYPES.config || type === MEDIA_TYPES.dockerConfig;
}

/** A version is wanted by its beginning (10.0.17763 of 10.0.17763.4851); features of an image must all be there. */
function isSystemEnough(image: Platform, wanted: Platform): boolean {
  const version = wanted['os.version'];
  const has = image['os.version'] ?? '';
  const isVersion = version === undefined || has === version || has.startsWith(`${version}.`);
  return isVersion && (image['os.features'] ?? []).every((each) => wanted['os.features']?.includes(each));
}

/** The manifest for a platform. Throws PLATFORM_NOT_FOUND, listing what there is. */
export function selectPlatform(index: Index, wanted: Platform): Descriptor {
  const images = index.manifests.filter((each) => !isAttestation(each));
  for (const candidate of candidatesOf(wanted)) {
    const found = images.find(
      ({ platform }) =>
        platform !== undefined &&
        isSystemEnough(platform, wanted) &&
        formatPlatform(normalise(platform.os, platform.architecture, platform.variant)) === candidate,
    );
    if (found !== undefined) return found;
  }
  const [only] = images;
  if (only !== undefined && images.length === 1 && only.platform === undefined) return only;
  const available = images.flatMap(({ platform }) =>
    platform === undefined ? [] : [formatPlatform(platform)],
  );
  throw new TsbuildError(
    'PLATFORM_NOT_FOUND',
    `there is no image for ${formatPlatform(wanted)}; there is ${available.length === 0 ? 'none with a platform' : available.join(', ')}`,
    {
      hint: 'choose one with --platform',
    },
  );
}

/** Whether a container of `image` runs on `wanted` without emulation. */
export function isCompatible(image: Platform, wanted: Platform): boolean {
  return candidatesOf(wanted).includes(
    formatPlatform(normalise(image.os, image.architecture, image.variant)),
  );
}

const NODE_ARCHITECTURES: Readonly<Record<string, string>> = {
  x64: 'amd64',
  arm64: 'arm64',
  arm: 'arm',
  ia32: '386',
};

/** The machine's platform; `arch` as Node's process.arch names it. */
export function hostPlatform(arch: string): Platform {
  return normalise('linux', NODE_ARCHITECTURES[arch] ?? arch);
}
