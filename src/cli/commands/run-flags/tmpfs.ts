/** `--tmpfs TARGET[:OPTIONS]`. Source: moby, pkg/mount flags that a tmpfs takes. */
import type { MountRequest } from '../../../runtime/container-options.ts';
import { badFlag } from './bad-flag.ts';
import { cleanPath, splitPair } from './fields.ts';
import { parseBytes } from './numbers.ts';

/** Attributes of the mount, and what of tmpfs is a number. Everything else is refused: the kernel sees nothing unchecked. */
const WORDS = [
  'exec',
  'noexec',
  'suid',
  'nosuid',
  'dev',
  'nodev',
  'atime',
  'noatime',
  'diratime',
  'nodiratime',
  'relatime',
  'norelatime',
  'strictatime',
];
const IGNORED = ['defaults', 'rw', 'async', 'private', 'rprivate', 'tmpcopyup', 'notmpcopyup'];
const NUMBERS = ['uid', 'gid', 'nr_inodes', 'nr_blocks'];

/** Throws USAGE. */
export function parseTmpfs(text: string): MountRequest & { readonly kind: 'tmpfs' } {
  const colon = text.indexOf(':');
  const fail = (reason: string, hint?: string): never => {
    throw badFlag('--tmpfs', text, reason, hint);
  };
  const path = colon < 0 ? text : text.slice(0, colon);
  const target = cleanPath(path) ?? fail(`invalid mount path: '${path}' mount path must be absolute`);
  if (target === '/') fail("invalid specification: destination can't be '/'");
  const words =
    colon < 0
      ? []
      : text
          .slice(colon + 1)
          .split(',')
          .filter((word) => word !== '');
  let mode: number | undefined;
  let size: number | undefined;
  const options: string[] = [];
  for (const word of words) {
    const [key, value = ''] = splitPair(word);
    if (word === 'ro' || IGNORED.includes(word)) continue;
    if (key === 'mode')
      mode = /^[0-7]{1,5}$/.test(value) ? Number.parseInt(value, 8) : fail(`invalid option: ${word}`);
    else if (key === 'size') size = parseTmpfsSize(value, options) ?? fail(`invalid option: ${word}`);
    else if (WORDS.includes(word) || (NUMBERS.includes(key) && /^\d{1,10}[kmg]?$/i.test(value)))
      options.push(word);
    else
      fail(
        `invalid option: ${word}`,
        'use size=, mode=, uid=, gid=, nr_inodes=, ro, noexec, nosuid, nodev, exec, suid, dev',
      );
  }
  return {
    kind: 'tmpfs',
    target,
    readonly: words.includes('ro'),
    options,
    ...(mode === undefined ? {} : { mode }),
    ...(size === undefined || size < 0 ? {} : { size }),
  };
}

/** A share of the memory (`50%`) goes to the kernel as it is: -1 says so. */
function parseTmpfsSize(value: string, options: string[]): number | undefined {
  if (!/^(?:100|\d{1,2})%$/.test(value)) return parseBytes(value);
  options.push(`size=${value}`);
  return -1;
}
