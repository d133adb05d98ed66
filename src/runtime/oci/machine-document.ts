/** `linux.personality` and `linux.memoryPolicy` as numbers of system calls. Spec: OCI runtime-spec v1.3. */
import { TsbuildError } from '../../base/errors.ts';
import type { ProcessSpec } from '../runtime.ts';
import { parseSet } from './cpu-set.ts';
import type { Fields } from './fields.ts';

const DOMAINS: Readonly<Record<string, number>> = { LINUX: 0, LINUX32: 8 };

export function personalityOf(linux: Fields): number | undefined {
  if (!linux.has('personality')) return undefined;
  const personality = linux.fields('personality');
  const name = personality.text('domain') ?? '';
  const domain = DOMAINS[name];
  if (domain === undefined)
    throw new TsbuildError('SPEC_INVALID', `invalid personality domain ${JSON.stringify(name)}`);
  if (personality.texts('flags').length > 0)
    throw new TsbuildError('SPEC_INVALID', 'additional personality flags are not supported');
  return domain;
}

const MODES = [
  ...['MPOL_DEFAULT', 'MPOL_PREFERRED', 'MPOL_BIND', 'MPOL_INTERLEAVE', 'MPOL_LOCAL'],
  ...['MPOL_PREFERRED_MANY', 'MPOL_WEIGHTED_INTERLEAVE'],
];
const FLAGS: Readonly<Record<string, number>> = {
  MPOL_F_NUMA_BALANCING: 1 << 13,
  MPOL_F_RELATIVE_NODES: 1 << 14,
  MPOL_F_STATIC_NODES: 1 << 15,
};

export const MEMORY_POLICY_MODES: readonly string[] = MODES;
export const MEMORY_POLICY_FLAGS: readonly string[] = Object.keys(FLAGS);

export function memoryPolicyOf(linux: Fields): ProcessSpec['memoryPolicy'] {
  if (!linux.has('memoryPolicy')) return undefined;
  const policy = linux.fields('memoryPolicy');
  const name = policy.required('mode', policy.text('mode'));
  const mode = MODES.indexOf(name);
  if (mode < 0) throw new TsbuildError('SPEC_INVALID', `invalid memoryPolicy.mode ${JSON.stringify(name)}`);
  const flags = policy.texts('flags').reduce((all, flag) => {
    const bit = FLAGS[flag];
    if (bit === undefined)
      throw new TsbuildError('SPEC_INVALID', `invalid memoryPolicy flag ${JSON.stringify(flag)}`);
    return all | bit;
  }, 0);
  const nodes = policy.text('nodes') ?? '';
  return { mode: mode | flags, nodes: nodes === '' ? new Uint8Array() : parseSet(nodes, 'memory nodes') };
}
