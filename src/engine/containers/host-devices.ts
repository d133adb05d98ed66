/** Devices of the host for a container: nodes to make, and rules that let it use them. */
import { lstatSync, readdirSync, statSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, TsbuildError } from '../../base/errors.ts';
import type { DeviceRule } from '../../runtime/cgroups/resources.ts';
import type { DeviceNode } from '../../runtime/runtime.ts';
import type { DeviceRequest, DeviceRuleRequest } from '../../runtime/container-options.ts';

export interface HostDevices {
  readonly nodes: readonly DeviceNode[];
  readonly rules: readonly DeviceRule[];
}

/** Deep enough for /dev/disk/by-id and its like, and no further. */
const MAX_DEPTH = 8;
/** Not devices of the host, but the container's own. */
const OWN = new Set([
  'pts',
  'shm',
  'mqueue',
  'console',
  'fd',
  'null',
  'zero',
  'full',
  'random',
  'urandom',
  'tty',
  'ptmx',
]);

/** A request may name a directory of devices. Throws SPEC_INVALID for what is no device, or not there. */
export function hostDevices(
  requests: readonly DeviceRequest[],
  rules: readonly DeviceRuleRequest[],
  { privileged }: { readonly privileged: boolean },
): HostDevices {
  const asked = requests.flatMap((request) => devicesAt(request));
  const all = privileged ? devicesBelow('/dev', '/dev', 0, (name) => !OWN.has(name)) : [];
  const taken = new Set(asked.map(({ node }) => node.path));
  const found = [...asked, ...all.filter(({ node }) => !taken.has(node.path))];
  return {
    nodes: found.map(({ node }) => node),
    rules: [
      ...asked.map(({ node, access }) => ruleOf(node, access)),
      ...rules.map(({ type, ...rule }): DeviceRule => ({ allow: true, type, ...rule })),
    ],
  };
}

interface Found {
  readonly node: DeviceNode;
  readonly access: string;
}

function devicesAt({ source, target, access }: DeviceRequest): readonly Found[] {
  let stat: Stats;
  try {
    stat = statSync(source);
  } catch (error) {
    const reason = errnoOf(error) === 'ENOENT' ? 'no such file or directory' : (errnoOf(error) ?? 'unknown');
    throw new TsbuildError(
      'SPEC_INVALID',
      `error gathering device information while adding custom device ${JSON.stringify(source)}: ${reason}`,
      { hint: 'name a device of the host' },
    );
  }
  const nodes = stat.isDirectory()
    ? devicesBelow(source, target, 0, () => true).map(({ node }) => node)
    : [nodeOf(stat, target)].filter((node) => node !== undefined);
  if (nodes.length === 0)
    throw new TsbuildError('SPEC_INVALID', `not a device node: ${JSON.stringify(source)}`, {
      hint: 'use --volume for files and directories',
    });
  return nodes.map((node) => ({ node, access }));
}

function devicesBelow(
  source: string,
  target: string,
  depth: number,
  selects: (name: string) => boolean,
): readonly Found[] {
  if (depth > MAX_DEPTH) return [];
  return readdirSync(source)
    .filter(selects)
    .sort()
    .flatMap((name): readonly Found[] => {
      const stat = lstatSync(join(source, name), { throwIfNoEntry: false });
      if (stat === undefined) return [];
      if (stat.isDirectory())
        return devicesBelow(join(source, name), `${target}/${name}`, depth + 1, () => true);
      const node = nodeOf(stat, `${target}/${name}`);
      return node === undefined ? [] : [{ node, access: 'rwm' }];
    });
}

function nodeOf(stat: Stats, path: string): DeviceNode | undefined {
  const type = stat.isCharacterDevice() ? 'char' : stat.isBlockDevice() ? 'block' : undefined;
  if (type === undefined) return undefined;
  const { major, minor } = deviceNumber(stat.rdev);
  return { path, type, major, minor, mode: stat.mode & 0o777, uid: stat.uid, gid: stat.gid };
}

/** As glibc's gnu_dev_major and gnu_dev_minor. */
export function deviceNumber(rdev: number): { readonly major: number; readonly minor: number } {
  const wide = BigInt(rdev);
  return {
    major: Number(((wide >> 8n) & 0xfffn) | ((wide >> 32n) & 0xfffff000n)),
    minor: Number((wide & 0xffn) | ((wide >> 12n) & 0xffffff00n)),
  };
}

function ruleOf({ type, major, minor }: DeviceNode, access: string): DeviceRule {
  return { allow: true, type: type === 'block' ? 'b' : 'c', major, minor, access };
}
