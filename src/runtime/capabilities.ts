/** Capabilities by name: numbers of capability.h, and the set that docker gives a container. */
import { TsbuildError } from '../base/errors.ts';
import { suggest } from '../base/suggest.ts';

const NAMES: readonly string[] = [
  ...['CHOWN', 'DAC_OVERRIDE', 'DAC_READ_SEARCH', 'FOWNER', 'FSETID', 'KILL', 'SETGID', 'SETUID', 'SETPCAP'],
  ...[
    'LINUX_IMMUTABLE',
    'NET_BIND_SERVICE',
    'NET_BROADCAST',
    'NET_ADMIN',
    'NET_RAW',
    'IPC_LOCK',
    'IPC_OWNER',
  ],
  ...[
    'SYS_MODULE',
    'SYS_RAWIO',
    'SYS_CHROOT',
    'SYS_PTRACE',
    'SYS_PACCT',
    'SYS_ADMIN',
    'SYS_BOOT',
    'SYS_NICE',
  ],
  ...[
    'SYS_RESOURCE',
    'SYS_TIME',
    'SYS_TTY_CONFIG',
    'MKNOD',
    'LEASE',
    'AUDIT_WRITE',
    'AUDIT_CONTROL',
    'SETFCAP',
  ],
  ...['MAC_OVERRIDE', 'MAC_ADMIN', 'SYSLOG', 'WAKE_ALARM', 'BLOCK_SUSPEND', 'AUDIT_READ', 'PERFMON', 'BPF'],
  'CHECKPOINT_RESTORE',
].map((name) => `CAP_${name}`);

export const ALL_CAPABILITIES: readonly string[] = NAMES;

/** 0xa80425fb. */
export const DEFAULT_CAPABILITIES: readonly string[] = [
  ...['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'KILL', 'SETGID', 'SETUID', 'SETPCAP', 'NET_BIND_SERVICE'],
  ...['NET_RAW', 'SYS_CHROOT', 'MKNOD', 'AUDIT_WRITE', 'SETFCAP'],
].map((name) => `CAP_${name}`);

export function capabilityMask(names: readonly string[]): bigint {
  let mask = 0n;
  for (const name of names) {
    const number = NAMES.indexOf(name);
    if (number < 0) throw new TsbuildError('SPEC_INVALID', `unknown capability ${JSON.stringify(name)}`);
    mask |= 1n << BigInt(number);
  }
  return mask;
}

/** The default set after `--cap-add` and `--cap-drop`; names with or without CAP_, any case, or ALL. */
export function adjustCapabilities(add: readonly string[], drop: readonly string[]): readonly string[] {
  const dropped = new Set(drop.flatMap(expand));
  const start = drop.some((name) => name.toUpperCase() === 'ALL')
    ? []
    : DEFAULT_CAPABILITIES.filter((name) => !dropped.has(name));
  const added = add
    .flatMap(expand)
    .filter((name) => !dropped.has(name) || !drop.some((each) => fullName(each) === name));
  return NAMES.filter((name) => start.includes(name) || added.includes(name));
}

function expand(name: string): readonly string[] {
  if (name.toUpperCase() === 'ALL') return NAMES;
  const full = fullName(name);
  if (NAMES.includes(full)) return [full];
  const near = suggest(full, NAMES);
  throw new TsbuildError(
    'USAGE',
    `unknown capability ${JSON.stringify(name)}`,
    near === undefined ? {} : { hint: `did you mean ${near}?` },
  );
}

function fullName(name: string): string {
  const upper = name.toUpperCase();
  return upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
}
