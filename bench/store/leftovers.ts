/** What commands that were killed may leave, on the machine and in the state root. */
import { existsSync, readdirSync, readFileSync, readlinkSync, type Dirent } from 'node:fs';
import { join } from 'node:path';

/** After `system check` all of it is a leak. `pids`: of the commands. */
export function leftovers(root: string, pids: ReadonlySet<number>): readonly string[] {
  return [
    ...lines('/proc/self/mounts')
      .filter((line) => line.includes(root))
      .map((line) => `mount ${line}`),
    ...processes(root),
    ...cgroups(pids),
    ...namesIn('/run/netns')
      .filter((name) => ownedBy(name, pids))
      .map((name) => `network namespace ${name}`),
    ...unfinished(root),
  ];
}

const lines = (path: string): readonly string[] => readFileSync(path, 'utf8').split('\n');
const namesIn = (path: string): readonly string[] => (existsSync(path) ? readdirSync(path) : []);

/** `…PID.STARTED.N…` of one of our commands. */
function ownedBy(name: string, pids: ReadonlySet<number>): boolean {
  const [, pid] = /(\d+)\.\d+\.[0-9a-z]+/.exec(name) ?? [];
  return pid !== undefined && pids.has(Number(pid));
}

function processes(root: string): readonly string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => {
      try {
        if (/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))) return false;
        return (
          readFileSync(`/proc/${pid}/mountinfo`, 'latin1').includes(root) ||
          readlinkSync(`/proc/${pid}/cwd`).startsWith(root)
        );
      } catch {
        return false;
      }
    })
    .map((pid) => `process ${pid}`);
}

function cgroups(pids: ReadonlySet<number>): readonly string[] {
  return namesIn('/sys/fs/cgroup').flatMap((hierarchy) =>
    ['', 'tsbuild'].flatMap((parent) =>
      namesOfDirectories(join('/sys/fs/cgroup', hierarchy, parent))
        .filter((name) => name.startsWith('step-') && ownedBy(name, pids))
        .map((name) => `cgroup ${hierarchy}/${parent}/${name}`),
    ),
  );
}

function entriesOf(path: string): readonly Dirent[] {
  try {
    return readdirSync(path, { withFileTypes: true });
  } catch {
    return [];
  }
}

const namesOfDirectories = (path: string): readonly string[] =>
  entriesOf(path).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));

/** Whatever has an owner's name, anywhere but in the files of images. */
function unfinished(root: string, below = ''): readonly string[] {
  return entriesOf(join(root, below)).flatMap((entry) => {
    const path = join(below, entry.name);
    if (/(?:^|[.-])\d+\.\d+\.[0-9a-z]+(?:\.|$)/.test(entry.name)) return [`file ${path}`];
    const isOpaque = /^(?:fs|caches|volumes|containers)$/.test(entry.name);
    return entry.isDirectory() && !isOpaque ? unfinished(root, path) : [];
  });
}
