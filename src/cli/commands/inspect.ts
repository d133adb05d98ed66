/** `tsbuild inspect`: containers, images, networks and volumes, whichever has the name. */
import { isTsbuildError, TsbuildError } from '../../base/errors.ts';
import { containerSize, networkFacts } from '../../engine/containers/facts.ts';
import type { Engine } from '../../engine/engine.ts';
import { readMemoryReport } from '../../runtime/container-files.ts';
import type { ParsedFlags } from '../flags.ts';
import type { Value } from '../format/values.ts';
import type { Session } from '../session.ts';
import { inspectedContainer } from '../views/container-inspect.ts';
import { inspectedImage } from '../views/images.ts';
import { inspectedNetwork, inspectedNetworkWord } from '../views/networks.ts';
import { inspectedVolume } from '../views/volumes.ts';
import { inspectEach } from './for-each.ts';

type Inspect = (engine: Engine, name: string, withSize: boolean) => Promise<Value | undefined>;

const KINDS: Readonly<Record<string, Inspect>> = {
  container: inspectContainer,
  image: async ({ images }, name) => {
    const image = await images.find(name);
    return image === undefined ? undefined : inspectedImage(image, images.sizeOf(image));
  },
  network: inspectNetwork,
  volume: ({ volumes }, name) => {
    const volume = volumes.find(name);
    return Promise.resolve(volume === undefined ? undefined : inspectedVolume(volume));
  },
};

async function inspectNetwork(engine: Engine, name: string): Promise<Value | undefined> {
  const word = inspectedNetworkWord(name);
  if (word !== undefined) return word;
  const networks = await engine.networks();
  try {
    const network = await networks.find(name);
    return inspectedNetwork(network, await networks.endpoints(network));
  } catch (error) {
    if (isTsbuildError(error, 'NETWORK_NOT_FOUND')) return undefined;
    throw error;
  }
}

async function inspectContainer(engine: Engine, name: string, withSize: boolean): Promise<Value | undefined> {
  const container = engine.containers.find(name);
  if (container === undefined) return undefined;
  const memory = readMemoryReport(container.directory);
  return inspectedContainer(container, {
    ...networkFacts(engine, container),
    volumeDirectory: (volume) => engine.volumes.find(volume)?.mountpoint ?? '',
    ...(memory === undefined ? {} : { memory }),
    driver: (await engine.snapshotter()).driver,
    ...(withSize ? { size: await containerSize(engine, container) } : {}),
  });
}

/** What is found is shown, also where other names are wrong; then the exit code is 1. */
export async function runInspect(flags: ParsedFlags, session: Session): Promise<number> {
  const type = flags.text('type');
  const kinds =
    type === undefined ? Object.values(KINDS) : [Object.hasOwn(KINDS, type) ? KINDS[type] : undefined];
  if (kinds.includes(undefined))
    throw new TsbuildError('USAGE', `unknown type: ${JSON.stringify(type)}`, {
      hint: `use ${Object.keys(KINDS).join(', ')}`,
    });
  const engine = session.engine();
  return inspectEach(flags.words, session, flags.text('format'), (name) =>
    inspectOne(engine, name, kinds, flags.boolean('size')),
  );
}

async function inspectOne(
  engine: Engine,
  name: string,
  kinds: readonly (Inspect | undefined)[],
  withSize: boolean,
): Promise<Value> {
  for (const inspect of kinds) {
    const value = await inspect?.(engine, name, withSize);
    if (value !== undefined) return value;
  }
  throw new TsbuildError('IMAGE_NOT_FOUND', `no such object: ${JSON.stringify(name)}`, {
    hint: 'list what there is with "tsbuild ps -a", "tsbuild images" and "tsbuild volume ls"',
  });
}
