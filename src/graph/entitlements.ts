/** What reaches beyond the sandbox is for the user to allow; whoever made the graph cannot. */
import { TsbuildError } from '../base/errors.ts';
import type { RunOp } from './ops.ts';

export type Entitlement = 'network.host' | 'security.insecure';

/** Throws INSTRUCTION_INVALID where a step asks for what was not allowed. */
export function requireEntitlements(op: RunOp, allowed: ReadonlySet<Entitlement>): void {
  const asked: readonly Entitlement[] = [
    ...(op.security === 'insecure' ? (['security.insecure'] as const) : []),
    ...(op.network === 'host' ? (['network.host'] as const) : []),
  ];
  for (const entitlement of asked)
    if (!allowed.has(entitlement))
      throw new TsbuildError('INSTRUCTION_INVALID', `a step asks for ${entitlement}, which was not allowed`, {
        hint: `allow it with --allow ${entitlement}`,
      });
}
