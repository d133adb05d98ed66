/** `mounts`: mounts that a container gets, or loses, while it runs. The document is a list like `mounts` of a config. */
import { readFileSync } from 'node:fs';
import { TsbuildError } from '../../base/errors.ts';
import { lateMountOps, layOutMounts } from '../layout.ts';
import { execTarget } from '../process-namespaces.ts';
import type { Attachment } from '../runtime.ts';
import type { RuntimeContext } from './create.ts';
import { parseFields } from './fields.ts';
import { parseIdMaps } from './id-maps.ts';
import { startDetached } from './launch.ts';
import { mountsOf } from './mounts-document.ts';

export interface MountsRequest {
  readonly id: string;
  readonly action: 'add' | 'remove';
  /** Absolute. */
  readonly file: string;
}

/** Throws CONTAINER_NOT_FOUND, CONTAINER_NOT_RUNNING, SPEC_INVALID, CONTAINER_START_FAILED with the mount. */
export async function changeMounts(
  { store, launcher, warn, debug }: RuntimeContext,
  { id, action, file }: MountsRequest,
): Promise<void> {
  const record = store.read(id);
  const status = store.statusOf(record);
  if (status !== 'running' && status !== 'created')
    throw new TsbuildError('CONTAINER_NOT_RUNNING', `container is not running: ${status}`);
  const { bundle, rootfs, cgroup } = record;
  const userMaps = parseIdMaps(store.readConfig(id).fields('linux'));
  const document = parseFields(`{"mounts":${readFileSync(file, 'utf8')}}`, file);
  const place = {
    ...{ bundle, rootfs, cgroup, userMaps },
    ...{ hasCgroupNamespace: true, hasMountNamespace: false, borrowsSys: false },
  };
  const mounts = action === 'add' ? mountsOf(document, place).map(attachment) : [];
  const ops =
    action === 'add'
      ? lateMountOps(mounts)
      : document
          .list('mounts')
          .map((each) => each.required('destination', each.text('destination')))
          .map((path) => ({ op: 'detach', subject: `mount at ${JSON.stringify(path)}`, path }) as const);
  await startDetached({
    ...{ launcher, warn, debug, descriptors: [], spec: { args: [] } },
    ops: layOutMounts(execTarget(record.pid, BigInt(record.pidStart)), ops),
  });
}

function attachment(mount: ReturnType<typeof mountsOf>[number]): Attachment {
  if (mount.kind === 'attach' && mount.idMaps === undefined) return mount;
  throw new TsbuildError(
    'SPEC_INVALID',
    `a container that runs cannot get the mount at ${JSON.stringify(mount.target)}`,
    { hint: 'idmap, copy-symlink and cgroup mounts have to be there from the beginning' },
  );
}
