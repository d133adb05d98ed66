/** `ps --filter` and `start --all --filter`. Source: moby, daemon/list.go; `restart-policy` is podman's. */
import { TsbuildError } from '../../base/errors.ts';
import type { StoredContainer } from '../../runtime/container.ts';
import type { ListedContainer } from '../views/containers.ts';
import { splitPair } from './run-flags/fields.ts';

type Filter = (listed: ListedContainer) => boolean;

/** `find`: another container, for `before` and `since`; throws CONTAINER_NOT_FOUND. */
export interface ContainerFilters {
  readonly matches: Filter;
  /** A filter asks for containers that do not run, so all are looked at. */
  readonly wantsAll: boolean;
}

/** Filters of one key are alternatives (labels: all must match), different keys must all match. Throws USAGE. */
export function parseContainerFilters(
  texts: readonly string[],
  find: (reference: string) => StoredContainer,
): ContainerFilters {
  const byKey = new Map<string, Filter[]>();
  for (const text of texts) {
    const [key, value] = splitPair(text);
    if (value === undefined) throw invalid(text);
    byKey.set(key, [...(byKey.get(key) ?? []), containerFilter(text, key, value, find)]);
  }
  return {
    matches: (listed) =>
      [...byKey].every(([key, filters]) =>
        key === 'label' ? filters.every((each) => each(listed)) : filters.some((each) => each(listed)),
      ),
    wantsAll: ['status', 'exited', 'before', 'since'].some((key) => byKey.has(key)),
  };
}

function containerFilter(
  text: string,
  key: string,
  value: string,
  find: (reference: string) => StoredContainer,
): Filter {
  switch (key) {
    case 'id':
      return ({ container }) => container.id.startsWith(value);
    case 'name':
      return ({ container }) => matchesName(container.config.name, value);
    case 'label': {
      const [name, expected] = splitPair(value);
      return ({ container: { config } }) =>
        Object.hasOwn(config.labels, name) && (expected === undefined || config.labels[name] === expected);
    }
    case 'exited':
      if (!/^\d{1,3}$/.test(value)) break;
      return ({ container: { state } }) => state.status === 'exited' && state.exitCode === Number(value);
    case 'status':
      if (!['created', 'restarting', 'running', 'removing', 'paused', 'exited', 'dead'].includes(value))
        break;
      return ({ container }) => container.state.status === value;
    case 'ancestor':
      return ({ container: { config } }) => matchesImage(config.image, value);
    case 'before':
    case 'since': {
      const { created } = find(value).config;
      return ({ container: { config } }) =>
        key === 'before' ? config.created < created : config.created > created;
    }
    case 'volume':
      return ({ container: { config } }) =>
        config.isolation.mounts.some(
          (mount) =>
            mount.target === value ||
            (mount.kind === 'volume' && mount.name === value) ||
            (mount.kind === 'bind' && mount.source === value),
        );
    case 'network':
      return ({ networks }) => networks.includes(value);
    case 'health':
      if (!['starting', 'healthy', 'unhealthy', 'none'].includes(value)) break;
      return ({ container }) => (container.state.health?.status ?? 'none') === value;
    case 'restart-policy':
      if (!['no', 'on-failure', 'always', 'unless-stopped'].includes(value)) break;
      return ({ container }) => container.config.restart.name === value;
    case 'publish':
      return ({ ports }) => ports.some((port) => portMatches(value, port.hostPort, port.protocol));
    case 'expose':
      return ({ ports, exposed }) =>
        exposed.some((port) => port === value || port === `${value}/tcp`) ||
        ports.some((port) => portMatches(value, port.containerPort, port.protocol));
  }
  throw invalid(text);
}

/** docker takes a regular expression; here `^` and `$` alone have their meaning, so that none can hang. */
function matchesName(name: string, pattern: string): boolean {
  const text = pattern.replace(/^\^?\/?/, '').replace(/\$$/, '');
  const [atStart, atEnd] = [pattern.startsWith('^'), pattern.endsWith('$')];
  if (atStart && atEnd) return name === text;
  if (atStart) return name.startsWith(text);
  return atEnd ? name.endsWith(text) : name.includes(text);
}

function matchesImage({ id, name }: { readonly id: string; readonly name: string }, value: string): boolean {
  const tagged = /:[^/]*$/.test(value) ? value : `${value}:latest`;
  const isID =
    /^(?:sha256:)?[\da-f]{4,64}$/.test(value) &&
    id.replace(/^sha256:/, '').startsWith(value.replace(/^sha256:/, ''));
  return isID || name === value || name === tagged;
}

function portMatches(value: string, port: number, protocol: string): boolean {
  const [range = '', asked = 'tcp'] = value.split('/', 2);
  const [first = '', last = first] = range.split('-', 2);
  return asked === protocol && Number(first) <= port && port <= Number(last);
}

function invalid(text: string): TsbuildError {
  return new TsbuildError('USAGE', `invalid filter ${JSON.stringify(text)}`, {
    hint: 'use id=, name=, label=, exited=, status=, ancestor=, before=, since=, volume=, network=, health=, restart-policy=, publish= or expose=',
  });
}
