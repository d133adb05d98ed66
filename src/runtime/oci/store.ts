/**
 * State directories of the OCI runtime: ROOT/ID with `container.json` (what was made), `config.json` (a copy of the
 * bundle's, as it was then) and, while it waits for its start, `start.sock`. `status` is `container.json` by the name that
 * crun has for it, whose `pid`, `bundle`, `rootfs`, `created` and `external_descriptors` are there, too.
 *
 * Whether a container runs is asked of the kernel each time; nothing here goes stale when a process dies.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileAtomic } from '../../base/atomic-file.ts';
import { errnoOf, TsbuildError } from '../../base/errors.ts';
import type { Host } from '../../base/host.ts';
import { makeDirectories } from '../../base/make-directories.ts';
import { isFrozen } from '../cgroups/freeze.ts';
import { processStartTime } from '../process-namespaces.ts';
import type { Fields } from './fields.ts';
import { readFields } from './fields.ts';
import { nativeState } from './native-state.ts';
import type { ContainerRecord, Status } from './record.ts';

export interface StateStore {
  readonly root: string;
  directoryOf(id: string): string;
  startSocketOf(id: string): string;
  /** Takes the id. Throws STATE_IN_USE where it is taken. */
  reserve(id: string): void;
  write(record: ContainerRecord): void;
  writeConfig(id: string, text: string): void;
  /** Throws STATE_NOT_FOUND. */
  read(id: string): ContainerRecord;
  readConfig(id: string): Fields;
  statusOf(record: ContainerRecord): Status;
  list(): readonly ContainerRecord[];
  remove(id: string): void;
}

/** why: no hidden directories, nor "." and "..". */
const ID = /^[A-Za-z0-9_+-][A-Za-z0-9_+.-]{0,1023}$/;

/** Throws SPEC_INVALID for a name that could not be a directory's. */
export function checkId(id: string): string {
  if (ID.test(id)) return id;
  throw new TsbuildError(
    'SPEC_INVALID',
    id === '' ? 'container id cannot be empty' : `invalid container ID format: ${id}${oddCharacter(id)}`,
  );
}

function oddCharacter(id: string): string {
  const [odd] = /[^A-Za-z0-9_+.-]/u.exec(id) ?? /^\./.exec(id) ?? [];
  return odd === undefined ? '' : `: invalid character \`${odd}\` in the ID`;
}

export function openStateStore(root: string, host: Host): StateStore {
  const directoryOf = (id: string): string => join(root, checkId(id));
  const fileOf = (id: string): string => join(directoryOf(id), 'container.json');
  const store: StateStore = {
    root,
    directoryOf,
    startSocketOf: (id) => join(directoryOf(id), 'start.sock'),
    reserve(id) {
      makeDirectories(root, 0o711);
      try {
        mkdirSync(directoryOf(id), { mode: 0o711 });
      } catch (error) {
        if (errnoOf(error) !== 'EEXIST') throw error;
        throw new TsbuildError('CONTAINER_NAME_IN_USE', `container with given ID already exists: ${id}`);
      }
      symlinkSync('container.json', join(directoryOf(id), 'status'));
    },
    write(record) {
      writeFileAtomic(host, fileOf(record.id), JSON.stringify(record), { mode: 0o600 });
      writeFileAtomic(host, join(directoryOf(record.id), 'state'), nativeState(record), { mode: 0o600 });
    },
    writeConfig(id, text) {
      writeFileAtomic(host, join(directoryOf(id), 'config.json'), text, { mode: 0o600 });
    },
    read(id) {
      const path = fileOf(id);
      if (!existsSync(path)) throw new TsbuildError('CONTAINER_NOT_FOUND', `container does not exist: ${id}`);
      return JSON.parse(readFileSync(path, 'utf8')) as ContainerRecord;
    },
    readConfig: (id) => readFields(join(directoryOf(id), 'config.json')),
    statusOf(record) {
      if (record.pid === 0) return 'creating';
      if (!isAlive(record)) return 'stopped';
      if (existsSync(store.startSocketOf(record.id))) return 'created';
      return record.cgroup !== undefined && isFrozen(record.cgroup) ? 'paused' : 'running';
    },
    list() {
      if (!existsSync(root)) return [];
      return readdirSync(root)
        .toSorted()
        .filter((id) => ID.test(id) && existsSync(fileOf(id)))
        .map((id) => store.read(id));
    },
    remove: (id) => rmSync(directoryOf(id), { recursive: true, force: true }),
  };
  return store;
}

export function isAlive({ pid, pidStart }: Pick<ContainerRecord, 'pid' | 'pidStart'>): boolean {
  return pid > 0 && processStartTime(pid) === BigInt(pidStart);
}
