/** What is attached: ROOT/networks/attached/<container>.json, and beside it what its name service reads. */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { readJsonIfExists, writeFileAtomic } from '../../base/atomic-file.ts';
import { errnoOf, TsbuildError } from '../../base/errors.ts';
import type { Host } from '../../base/host.ts';
import { isOwnerAlive } from '../../base/owner.ts';
import { parseAttachment, type AttachmentRecord } from './documents.ts';

export interface AttachmentStore {
  read(containerId: string): AttachmentRecord | undefined;
  write(record: AttachmentRecord): void;
  writeNames(containerId: string, config: string): string;
  remove(containerId: string): void;
  list(): readonly AttachmentRecord[];
  has(containerId: string): boolean;
}

const ID = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;

export function createAttachmentStore(networks: string, host: Host): AttachmentStore {
  const directory = join(networks, 'attached');

  function path(containerId: string, suffix: 'json' | 'names'): string {
    if (!ID.test(containerId))
      throw new TsbuildError('SPEC_INVALID', `${JSON.stringify(containerId)} is no id of a container`);
    return join(directory, `${containerId}.${suffix}`);
  }

  return {
    // why: a lease that a full disk left empty names nobody.
    has: (containerId) => ID.test(containerId) && existsSync(path(containerId, 'json')),
    read: (containerId) => parseAttachment(readJsonIfExists(path(containerId, 'json'))),
    write(record) {
      writeFileAtomic(host, path(record.containerId, 'json'), `${JSON.stringify(record)}\n`, { mode: 0o600 });
    },
    writeNames(containerId, config) {
      writeFileAtomic(host, path(containerId, 'names'), config, { mode: 0o600 });
      return path(containerId, 'names');
    },
    remove(containerId) {
      rmSync(path(containerId, 'names'), { force: true });
      rmSync(path(containerId, 'json'), { force: true });
    },
    list() {
      return namesIn(directory).flatMap((name) =>
        name.endsWith('.json') ? (parseAttachment(readJsonIfExists(join(directory, name))) ?? []) : [],
      );
    },
  };
}

/** Whether an attachment in any state root of the host still has somebody who keeps it. */
export function isAttachedIn(root: string, containerId: string, owner: string): boolean {
  return existsSync(join(root, 'networks', 'attached', `${containerId}.json`)) || isOwnerAlive(owner);
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}
