/** `--filter` of `network ls` and `network prune`, as docker's. */
import { TsbuildError } from '../../base/errors.ts';
import type { ListedNetwork } from '../views/networks.ts';
import { splitPair } from './run-flags/fields.ts';

export type NetworkFilter = (network: ListedNetwork, isUsed: boolean) => boolean;

const PREDEFINED = ['bridge', 'host', 'none'];

/** Throws USAGE. */
export function networkFilter(text: string): NetworkFilter {
  const [key, value = ''] = splitPair(text);
  switch (key) {
    case 'name':
      return ({ name }) => name.includes(value);
    case 'id':
      return ({ id }) => id.startsWith(value);
    case 'driver':
      return ({ driver }) => driver === value;
    case 'scope':
      return () => value === 'local';
    case 'label':
      return labelFilter(value);
    case 'label!': {
      const matches = labelFilter(value);
      return (network, isUsed) => !matches(network, isUsed);
    }
    case 'type':
      if (value === 'custom') return ({ name }) => !PREDEFINED.includes(name);
      if (value === 'builtin') return ({ name }) => PREDEFINED.includes(name);
      break;
    case 'dangling':
      if (/^(?:true|false|0|1)$/.test(value))
        return ({ name }, isUsed) => !PREDEFINED.includes(name) && isUsed === /^(?:false|0)$/.test(value);
  }
  throw new TsbuildError('USAGE', `invalid filter ${JSON.stringify(text)}`, {
    hint: 'use dangling=true|false, driver=, id=, label=, name=, scope= or type=custom|builtin',
  });
}

function labelFilter(value: string): NetworkFilter {
  const [name, expected] = splitPair(value);
  return ({ labels }) => Object.hasOwn(labels, name) && (expected === undefined || labels[name] === expected);
}
