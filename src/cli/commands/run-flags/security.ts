/** `--security-opt`, `--cap-add`, `--cap-drop`, `--privileged`. Source: docker/cli, container/opts.go, parseSecurityOpts. */
import type { SecurityOptions } from '../../../runtime/container-options.ts';
import { adjustCapabilities } from '../../../runtime/capabilities.ts';
import { badFlag, badFlags } from './bad-flag.ts';
import type { ReadFile } from './environment.ts';
import { parseBoolean } from './fields.ts';

export interface SecurityFlags {
  readonly options: readonly string[];
  readonly capAdd: readonly string[];
  readonly capDrop: readonly string[];
  readonly privileged: boolean;
}

/** Throws USAGE; a profile is read here, so that what was asked for is what runs. */
export function parseSecurity(flags: SecurityFlags, read: ReadFile): SecurityOptions {
  const { options, capAdd, capDrop, privileged } = flags;
  try {
    adjustCapabilities(capAdd, capDrop);
  } catch (error) {
    throw badFlags(error instanceof Error ? error.message : String(error), 'see capabilities(7), or use ALL');
  }
  let noNewPrivileges = false;
  let seccomp: SecurityOptions['seccomp'] = { kind: 'default' };
  let systemPathsUnconfined = false;
  let apparmor: string | undefined;
  const labels: string[] = [];
  for (const option of options) {
    const [key, value] = splitOption(option);
    switch (key) {
      case 'no-new-privileges':
        noNewPrivileges = value === undefined || (parseBoolean(value) ?? invalid(option));
        break;
      case 'seccomp':
        seccomp = parseSeccomp(value ?? invalid(option), read);
        break;
      case 'systempaths':
        if (value !== 'unconfined') invalid(option);
        systemPathsUnconfined = true;
        break;
      case 'label':
        labels.push(value ?? invalid(option));
        break;
      case 'apparmor':
        apparmor = value ?? invalid(option);
        break;
      default:
        invalid(option);
    }
  }
  return {
    ...{ capAdd, capDrop, privileged, noNewPrivileges, seccomp, systemPathsUnconfined, labels },
    ...(apparmor === undefined ? {} : { apparmor }),
    given: options,
  };
}

/** `key=value`; docker's older `key:value` too. */
function splitOption(option: string): readonly [string, string | undefined] {
  const at = option.search(/[=:]/);
  return at < 0 ? [option, undefined] : [option.slice(0, at), option.slice(at + 1)];
}

function invalid(option: string): never {
  throw badFlag(
    '--security-opt',
    option,
    `Invalid --security-opt: ${JSON.stringify(option)}`,
    'use no-new-privileges, seccomp=FILE|unconfined, systempaths=unconfined, label=… or apparmor=…',
  );
}

function parseSeccomp(value: string, read: ReadFile): SecurityOptions['seccomp'] {
  if (value === 'unconfined') return { kind: 'unconfined' };
  if (value === 'builtin' || value === 'default') return { kind: 'default' };
  let text: string;
  try {
    text = read(value);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw badFlags(`opening seccomp profile (${value}) failed: ${reason}`, 'name a profile in JSON');
  }
  try {
    JSON.parse(text);
  } catch (error) {
    throw badFlags(
      `compacting json for seccomp profile (${value}) failed: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  return { kind: 'profile', path: value, text };
}
