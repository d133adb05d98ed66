/** `commit -c`: Dockerfile instructions that change an image's config alone. */
import { TsbuildError } from '../../base/errors.ts';
import type { RunConfig } from '../../oci/documents.ts';
import { splitPair } from './run-flags/fields.ts';

type Change = (config: RunConfig) => RunConfig;

/** Throws USAGE. */
export function parseChanges(texts: readonly string[]): Change {
  const changes = texts.map(parseChange);
  return (config) => changes.reduce((changed, change) => change(changed), config);
}

function parseChange(text: string): Change {
  const [, word = '', rest = ''] = /^\s*(\S+)\s+([\s\S]*\S)\s*$/.exec(text) ?? [];
  switch (word.toUpperCase()) {
    case 'CMD': {
      const Cmd = commandOf(rest);
      return (config) => ({ ...config, Cmd });
    }
    case 'ENTRYPOINT': {
      const Entrypoint = commandOf(rest);
      return (config) => ({ ...config, Entrypoint });
    }
    case 'ENV': {
      const entries = pairsOf(text, rest);
      return (config) => ({ ...config, Env: withVariables(config.Env ?? [], entries) });
    }
    case 'LABEL': {
      const labels = Object.fromEntries(pairsOf(text, rest));
      return (config) => ({ ...config, Labels: { ...config.Labels, ...labels } });
    }
    case 'EXPOSE': {
      const ports = rest.split(/\s+/).map((port) => [port.includes('/') ? port : `${port}/tcp`, {}] as const);
      return (config) => ({
        ...config,
        ExposedPorts: { ...config.ExposedPorts, ...Object.fromEntries(ports) },
      });
    }
    case 'VOLUME': {
      const paths = (listOf(rest) ?? rest.split(/\s+/)).map((path) => [path, {}] as const);
      return (config) => ({ ...config, Volumes: { ...config.Volumes, ...Object.fromEntries(paths) } });
    }
    case 'USER':
      return (config) => ({ ...config, User: rest });
    case 'WORKDIR':
      return (config) => ({ ...config, WorkingDir: rest });
    case 'STOPSIGNAL':
      return (config) => ({ ...config, StopSignal: rest });
  }
  throw new TsbuildError('USAGE', `invalid --change ${JSON.stringify(text)}`, {
    hint: 'use CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME or WORKDIR',
  });
}

function listOf(text: string): readonly string[] | undefined {
  if (!text.startsWith('[')) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    const isList = Array.isArray(value) && value.every((each) => typeof each === 'string');
    return isList ? value : undefined;
  } catch {
    return undefined;
  }
}

function commandOf(text: string): readonly string[] {
  return listOf(text) ?? ['/bin/sh', '-c', text];
}

/** `A=1 B="two words"`, or `A one value`. */
function pairsOf(text: string, rest: string): readonly (readonly [string, string])[] {
  const words = rest.match(/(?:[^\s"']|"[^"]*"|'[^']*')+/g) ?? [];
  if (!(words[0] ?? '').includes('=')) {
    const [name = '', ...value] = rest.split(/\s+/);
    return [[name, value.join(' ')]];
  }
  return words.map((word) => {
    const [name, value] = splitPair(word);
    if (name === '' || value === undefined)
      throw new TsbuildError('USAGE', `invalid --change ${JSON.stringify(text)}`, {
        hint: 'write NAME=VALUE',
      });
    return [name, value.replace(/^"(.*)"$|^'(.*)'$/s, '$1$2')];
  });
}

function withVariables(
  env: readonly string[],
  entries: readonly (readonly [string, string])[],
): readonly string[] {
  const merged = new Map(env.map((entry) => [splitPair(entry)[0], entry]));
  for (const [name, value] of entries) merged.set(name, `${name}=${value}`);
  return [...merged.values()];
}
