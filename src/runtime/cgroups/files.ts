/** Reading and writing cgroup files: small, and gone at any time. */
import { closeSync, constants, openSync, readFileSync, readdirSync, writeSync } from 'node:fs';
import { errnoOf, TsbuildError } from '../../base/errors.ts';

/** What a file holds, without white space at its ends; undefined where there is none, or none to be had. */
export function readCgroupFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1').trim();
  } catch {
    return undefined;
  }
}

/** A number; undefined for `max`, and for v1's way to say the same (2^63 less a page). */
export function readAmount(path: string): number | undefined {
  const amount = readCount(path);
  return amount === undefined || amount >= Number.MAX_SAFE_INTEGER ? undefined : amount;
}

export function readCount(path: string): number | undefined {
  const text = readCgroupFile(path);
  return text !== undefined && /^-?\d+$/.test(text) ? Number(text) : undefined;
}

/** Lines of `key value`. */
export function readTable(path: string): ReadonlyMap<string, number> {
  return new Map(
    (readCgroupFile(path) ?? '').split('\n').flatMap((line): [string, number][] => {
      const match = /^(\S+)\s+(\d+)$/.exec(line);
      return match?.[1] === undefined ? [] : [[match[1], Number(match[2])]];
    }),
  );
}

/** errno of a refusal; undefined where the value was taken. */
export function tryWrite(path: string, text: string): string | undefined {
  try {
    // why: no O_CREAT, as writeFile has it: where a file is missing, the refusal to create one would hide that.
    const fd = openSync(path, constants.O_WRONLY | constants.O_NOFOLLOW);
    try {
      writeSync(fd, text);
    } finally {
      closeSync(fd);
    }
    return undefined;
  } catch (error) {
    return errnoOf(error) ?? 'EIO';
  }
}

export function cgroupError(action: string, path: string, errno: string): TsbuildError {
  const hint = cgroupHint(errno);
  return new TsbuildError('CGROUP_FAILED', `cannot ${action} (${JSON.stringify(path)}): ${errno}`, {
    ...(hint === undefined ? {} : { hint }),
  });
}

/** What usually lies behind a refusal. */
export function cgroupHint(errno: string): string | undefined {
  switch (errno) {
    case 'EBUSY':
      return 'choose another cgroup: one that has processes of its own can hand nothing down (cgroup v2), and one in use is not shared';
    case 'EOPNOTSUPP':
    case 'ENOTSUP':
      return 'choose another parent: the cgroup is threaded or of type "domain invalid", which cannot hold a container';
    case 'ENOENT':
      return 'leave that limit out: the kernel or the parent cgroup does not offer its file';
    case 'EINVAL':
    case 'ERANGE':
      return 'check the value: the kernel takes it for impossible (more than the parent has, unknown device, less than the minimum)';
    case 'EROFS':
    case 'EACCES':
    case 'EPERM':
      return 'run where /sys/fs/cgroup can be written to';
  }
  return undefined;
}

/** The cgroups in a cgroup, children after their parents; itself first. */
export function cgroupTree(directory: string): readonly string[] {
  let names: string[];
  try {
    names = readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
  } catch {
    return [];
  }
  return [directory, ...names.flatMap((name) => cgroupTree(`${directory}/${name}`))];
}
