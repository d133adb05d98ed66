/**
 * Definitions of networks: ROOT/networks/<id>/network.json, and ROOT/networks/names/<name>, made exclusively, which
 * holds the id. The network `bridge` is made when it is first needed.
 */
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { claimFile, readJsonIfExists, readTextIfExists, writeFileAtomic } from '../../base/atomic-file.ts';
import { errnoOf, ioError, TsbuildError } from '../../base/errors.ts';
import type { Host } from '../../base/host.ts';
import type { Network } from './contract.ts';
import { parseNetwork } from './documents.ts';

export interface NetworkStore {
  list(): readonly Network[];
  /** By name, id, or unambiguous beginning of an id. Throws NETWORK_INVALID where several begin so. */
  find(nameOrId: string): Network | undefined;
  /** Throws NETWORK_EXISTS. */
  add(network: Network): void;
  remove(network: Network): void;
}

const ID = /^[0-9a-f]{64}$/;
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;

/** Throws NETWORK_INVALID. */
export function checkNetworkName(name: string): void {
  if (!NAME.test(name) || name === 'host' || name === 'none' || name === 'default' || ID.test(name))
    throw new TsbuildError('NETWORK_INVALID', `invalid network name ${JSON.stringify(name)}`, {
      hint: 'use letters, digits, ".", "_" and "-", and none of the words host, none and default',
    });
}

export function createNetworkStore(directory: string, host: Host): NetworkStore {
  const names = join(directory, 'names');

  function read(id: string): Network | undefined {
    return parseNetwork(readJsonIfExists(join(directory, id, 'network.json')));
  }

  function list(): readonly Network[] {
    return namesIn(directory)
      .filter((name) => ID.test(name))
      .flatMap((id) => read(id) ?? []);
  }

  function byName(name: string): Network | undefined {
    if (!NAME.test(name)) return undefined;
    const id = readTextIfExists(join(names, name))?.trim();
    return id === undefined || !ID.test(id) ? undefined : read(id);
  }

  return {
    list,
    find(nameOrId) {
      const named = byName(nameOrId);
      if (named !== undefined) return named;
      if (!/^[0-9a-f]{1,64}$/.test(nameOrId)) return undefined;
      const found = list().filter(({ id }) => id.startsWith(nameOrId));
      if (found.length > 1)
        throw new TsbuildError('NETWORK_INVALID', `several networks begin with ${JSON.stringify(nameOrId)}`);
      return found[0];
    },
    add(network) {
      mkdirSync(names, { recursive: true, mode: 0o700 });
      // A definition without a name is nobody's: it is written first.
      writeFileAtomic(host, join(directory, network.id, 'network.json'), `${JSON.stringify(network)}\n`);
      const name = join(names, network.name);
      // What a killed process left: a name whose definition is gone.
      const id = readTextIfExists(name)?.trim();
      if (id !== undefined && read(id) === undefined) rmSync(name, { force: true });
      try {
        if (claimFile(host, name, `${network.id}\n`, 0o600)) return;
      } catch (error) {
        rmSync(join(directory, network.id), { recursive: true, force: true });
        throw ioError('name a network', error);
      }
      rmSync(join(directory, network.id), { recursive: true, force: true });
      throw new TsbuildError('NETWORK_EXISTS', `network ${JSON.stringify(network.name)} exists already`);
    },
    remove({ id, name }) {
      rmSync(join(names, name), { force: true });
      rmSync(join(directory, id), { recursive: true, force: true });
    },
  };
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw ioError('list networks', error);
  }
}
