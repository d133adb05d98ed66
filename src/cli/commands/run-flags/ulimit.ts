/** `--ulimit NAME=SOFT[:HARD]`, `--sysctl NAME=VALUE`, `--shm-size`. Source: docker/go-units, ulimit.go; docker/cli, opts.go. */
import type { Rlimit } from '../../../runtime/runtime.ts';
import { badFlag } from './bad-flag.ts';
import { splitPair } from './fields.ts';
import { parseBytes } from './numbers.ts';

const NAMES: readonly string[] = [
  ...['as', 'core', 'cpu', 'data', 'fsize', 'locks', 'memlock', 'msgqueue', 'nice', 'nofile', 'nproc', 'rss'],
  ...['rtprio', 'rttime', 'sigpending', 'stack'],
];

/** -1 is unlimited. Throws USAGE. */
export function parseUlimit(text: string): Rlimit {
  const fail = (reason: string, hint?: string): never => {
    throw badFlag('--ulimit', text, reason, hint);
  };
  const [name, values] = splitPair(text);
  if (values === undefined || values === '')
    return fail(`invalid ulimit argument: ${text}`, 'write e.g. nofile=1024:4096');
  if (!NAMES.includes(name)) return fail(`invalid ulimit type: ${name}`, `use one of ${NAMES.join(', ')}`);
  const parts = values.split(':');
  if (parts.length > 2)
    return fail(`too many limit value arguments - ${values}, can only have up to two, \`soft[:hard]\``);
  const [soft, hard] = parts.map(parseLimit);
  if (soft === undefined || (parts.length === 2 && hard === undefined))
    return fail(`invalid ulimit argument: ${text}`, 'write numbers, -1 or unlimited');
  const upper = hard ?? soft;
  if (upper >= 0 && (soft < 0 || soft > upper))
    return fail(
      `ulimit soft limit must be less than or equal to hard limit: ${parts[0] ?? ''} > ${parts[1] ?? ''}`,
    );
  return { type: `RLIMIT_${name.toUpperCase()}`, soft, hard: upper };
}

function parseLimit(text: string): number | undefined {
  if (text === '-1' || text === 'unlimited') return -1;
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

const IPC = [
  'kernel.msgmax',
  'kernel.msgmnb',
  'kernel.msgmni',
  'kernel.sem',
  'kernel.shmall',
  'kernel.shmmax',
  'kernel.shmmni',
  'kernel.shm_rmid_forced',
];

/** Of the network, ipc and uts namespaces alone: nothing else belongs to a container. Throws USAGE. */
export function parseSysctls(values: readonly string[]): Readonly<Record<string, string>> {
  const sysctls: Record<string, string> = {};
  for (const text of values) {
    const [written, value] = splitPair(text);
    const name = written.replaceAll('/', '.');
    const isKnown =
      /^(?:net|fs\.mqueue)\.[A-Za-z0-9._*-]+$/.test(name) ||
      IPC.includes(name) ||
      name === 'kernel.domainname';
    if (value === undefined || !isKnown || name.includes('..'))
      throw badFlag(
        '--sysctl',
        text,
        `sysctl '${text}' is not allowed`,
        'name one of net.*, fs.mqueue.*, kernel.msg*, kernel.sem, kernel.shm*',
      );
    sysctls[name] = value;
  }
  return sysctls;
}

/** Bytes. Throws USAGE. */
export function parseShmSize(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const size = parseBytes(text);
  if (size === undefined || size <= 0)
    throw badFlag('--shm-size', text, `invalid size: '${text}'`, 'write e.g. 128m');
  return size;
}
