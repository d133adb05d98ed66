/** Having operations done, and saying in the user's words why the kernel refused one. */
import { constants } from 'node:os';
import { TsbuildError } from '../../base/errors.ts';
import type { NetCall, NetProblem, NetResult } from '../../../native/net-call.ts';
import type { NetOp } from '../../../native/net-plan.ts';

export type Done = Extract<NetResult, { readonly kind: 'done' }>;

/** Throws NETWORK_UNAVAILABLE, NETWORK_INVALID. */
export async function perform(call: NetCall, ops: readonly NetOp[]): Promise<Done> {
  const result = await call(ops);
  if (result.kind === 'done') return result;
  throw errorOf(result);
}

/** Which operation failed and how, where it is the operation that failed. */
export async function attempt(call: NetCall, ops: readonly NetOp[]): Promise<Done | NetProblem> {
  const result = await call(ops);
  if (result.kind === 'failed') return result.problem;
  if (result.kind === 'done') return result;
  throw errorOf(result);
}

export function isDone(result: Done | NetProblem): result is Done {
  return 'kind' in result;
}

export function errnoNameOf(number: number): string {
  return Object.entries(constants.errno).find(([, value]) => value === number)?.[0] ?? `errno ${number}`;
}

export function problemError(problem: NetProblem): TsbuildError {
  const name = errnoNameOf(problem.errno);
  const about = problem.text === '' || problem.text === 'messages' ? '' : ` ${JSON.stringify(problem.text)}`;
  const what = `cannot set up the network: ${actionOf(problem.op)}${about}: ${name}`;
  if (name === 'EPERM' || name === 'EACCES')
    return new TsbuildError('NETWORK_UNAVAILABLE', what, {
      hint: 'run tsbuild with CAP_NET_ADMIN and CAP_SYS_ADMIN, or choose --network=host or --network=none',
    });
  if (name === 'EOPNOTSUPP' || name === 'EPROTONOSUPPORT' || name === 'EAFNOSUPPORT')
    return new TsbuildError('NETWORK_UNAVAILABLE', `${what} (the kernel lacks it)`, {
      hint: 'load the kernel modules bridge, veth, nf_tables, nft_nat, nft_masq and nft_fib_inet (vxlan and macvlan for such networks)',
    });
  if (name === 'ENODEV' && problem.op?.op === 'slave')
    return new TsbuildError('NETWORK_INVALID', `the host has no interface ${JSON.stringify(problem.text)}`, {
      hint: 'create the network anew with -o parent=INTERFACE',
    });
  return new TsbuildError('NETWORK_UNAVAILABLE', what);
}

function errorOf(result: Exclude<NetResult, Done>): TsbuildError {
  if (result.kind === 'failed') return problemError(result.problem);
  return new TsbuildError(
    'NETWORK_UNAVAILABLE',
    `cannot set up the network: lost the launcher: ${result.reason}`,
  );
}

function actionOf(op: NetOp | undefined): string {
  switch (op?.op) {
    case undefined:
      return 'the list of operations';
    case 'createNamespace':
      return 'making the namespace';
    case 'openNamespace':
      return 'opening the namespace';
    case 'removeNamespace':
      return 'removing the namespace';
    case 'bridge':
      return 'making the bridge';
    case 'veth':
      return 'making the veth pair';
    case 'slave':
      return `making the ${op.kind} on`;
    case 'vxlan':
      return 'making the vxlan';
    case 'forward':
      return 'adding a host to the vxlan';
    case 'deleteLink':
      return 'removing the interface';
    case 'up':
      return 'bringing up the interface';
    case 'down':
      return 'taking down the interface';
    case 'address':
      return 'adding an address to';
    case 'route':
      return 'adding a route through';
    case 'sysctl':
      return 'setting';
    case 'send':
      return 'changing the nf_tables rules';
    case 'dump':
      return 'asking the kernel';
  }
}
