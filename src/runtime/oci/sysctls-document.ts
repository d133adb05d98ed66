/** Which sysctls a container may have: those of its own namespaces, never the host's. */
import { TsbuildError } from '../../base/errors.ts';
import { choiceOf, type Namespaces } from './namespaces-document.ts';

const IPC = new Set([
  ...['kernel.msgmax', 'kernel.msgmnb', 'kernel.msgmni', 'kernel.sem', 'kernel.shmall', 'kernel.shmmax'],
  ...['kernel.shmmni', 'kernel.shm_rmid_forced'],
]);

/** Names as sysctl(8) writes them; `domainname` is the config's own member. Throws SPEC_INVALID. */
export function checkSysctls(
  sysctls: Readonly<Record<string, string>>,
  namespaces: Namespaces,
  domainname = '',
): Readonly<Record<string, string>> {
  const isPrivate = (kind: 'ipc' | 'network' | 'uts' | 'user'): boolean =>
    choiceOf(namespaces, kind) !== 'host';
  for (const given of Object.keys(sysctls)) {
    const slash = given.search(/[./]/);
    const name = given[slash] === '/' ? given.replace(/[./]/g, (each) => (each === '/' ? '.' : '/')) : given;
    const refuse = (reason: string): TsbuildError =>
      new TsbuildError('SPEC_INVALID', `sysctl ${JSON.stringify(given)} ${reason}`);
    if (/^[./]|(^|[./])\.\.?([./]|$)|[./]{2}/.test(given)) throw refuse('contains an invalid path');
    if (IPC.has(name) || name.startsWith('fs.mqueue.')) {
      if (!isPrivate('ipc')) throw refuse('is not allowed in the hosts ipc namespace');
    } else if (name.startsWith('net.')) {
      if (!isPrivate('network')) throw refuse('not allowed in host network namespace');
    } else if (name === 'kernel.domainname') {
      if (!isPrivate('uts')) throw refuse('is not allowed in the hosts UTS namespace');
      if (domainname !== '' && domainname !== sysctls[given])
        throw refuse('conflicts with the OCI "domainname" field');
    } else if (name === 'kernel.hostname')
      throw refuse('is not allowed as it conflicts with the OCI "hostname" field');
    else if (name.startsWith('user.') && isPrivate('user')) continue;
    else throw refuse('is not in a separate kernel namespace');
  }
  return sysctls;
}
