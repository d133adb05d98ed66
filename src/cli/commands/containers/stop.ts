/** `tsbuild stop`, `kill`, `restart`, `wait`, `pause`, `unpause`, `rename`, `rm`, `container prune|cleanup`. */
import { TsbuildError } from '../../../base/errors.ts';
import { removeContainer, pruneContainers } from '../../../engine/containers/remove.ts';
import { cleanUpContainer } from '../../../engine/containers/release.ts';
import {
  killContainer,
  pauseContainer,
  renameContainer,
  stopContainer,
  unpauseContainer,
  waitForContainer,
  type StopOptions,
} from '../../../engine/containers/stop.ts';
import { untilReleased } from '../../../engine/containers/hold.ts';
import { isActive } from '../../../runtime/container.ts';
import type { ParsedFlags } from '../../flags.ts';
import type { Session } from '../../session.ts';
import { decimalSize } from '../../views/words.ts';
import { parseContainerFilters } from '../container-filters.ts';
import { isMeant } from '../is-meant.ts';
import { parseThingFilters } from '../prune-filters.ts';
import { parseSignal } from '../run-flags/life.ts';
import { parseInteger } from '../run-flags/numbers.ts';
import { forEachContainer } from './each.ts';
import { startDetached } from './start.ts';

function stopOptions(flags: ParsedFlags): StopOptions {
  const text = flags.text('time') ?? flags.text('timeout');
  const timeoutS = text === undefined ? undefined : parseInteger(text, { signed: true });
  if (text !== undefined && timeoutS === undefined)
    throw new TsbuildError('USAGE', `invalid --time ${JSON.stringify(text)}`, { hint: 'write seconds' });
  const signal = flags.text('signal');
  return {
    ...(timeoutS === undefined ? {} : { timeoutS: Math.max(-1, timeoutS) }),
    ...(signal === undefined ? {} : { signal: parseSignal('-s, --signal', signal) }),
  };
}

export function runStop(flags: ParsedFlags, session: Session): Promise<number> {
  const options = stopOptions(flags);
  return forEachContainer(session, flags.words, async (reference) => {
    await stopContainer(session.engine(), reference, options);
    return reference;
  });
}

export function runRestart(flags: ParsedFlags, session: Session): Promise<number> {
  const options = stopOptions(flags);
  const engine = session.engine();
  return forEachContainer(session, flags.words, async (reference) => {
    const { id } = await stopContainer(engine, reference, options);
    await untilReleased(engine, id);
    await startDetached(session, engine.containers.require(id));
    return reference;
  });
}

export function runKill(flags: ParsedFlags, session: Session): Promise<number> {
  const signal = parseSignal('-s, --signal', flags.text('signal') ?? 'KILL');
  return forEachContainer(session, flags.words, async (reference) => {
    await killContainer(session.engine(), reference, signal);
    return reference;
  });
}

export function runWait(flags: ParsedFlags, session: Session): Promise<number> {
  return forEachContainer(
    session,
    flags.words,
    async (reference) => `${(await waitForContainer(session.engine(), reference)).exitCode}`,
  );
}

export function runPause(flags: ParsedFlags, session: Session): Promise<number> {
  return forEachContainer(session, flags.words, async (reference) => {
    await pauseContainer(session.engine(), reference);
    return reference;
  });
}

export function runUnpause(flags: ParsedFlags, session: Session): Promise<number> {
  return forEachContainer(session, flags.words, async (reference) => {
    await unpauseContainer(session.engine(), reference);
    return reference;
  });
}

export async function runRename(flags: ParsedFlags, session: Session): Promise<number> {
  const [reference = '', name = ''] = flags.words;
  await renameContainer(session.engine(), reference, name);
  return 0;
}

export function runRemove(flags: ParsedFlags, session: Session): Promise<number> {
  const engine = session.engine();
  const force = flags.boolean('force');
  return forEachContainer(session, flags.words, async (reference) => {
    // As docker: forcing is about the outcome, and that is there already.
    if (force && engine.containers.find(reference) === undefined) {
      session.stderr.write(`warning: no such container: ${JSON.stringify(reference)}\n`);
      return '';
    }
    await removeContainer(engine, reference, { force, volumes: flags.boolean('volumes') });
    return reference;
  });
}

export async function runContainerPrune(flags: ParsedFlags, session: Session): Promise<number> {
  const engine = session.engine();
  const isOfThings = (text: string): boolean => /^(?:until|label!?)=/.test(text);
  const texts = flags.list('filter');
  const matches = parseThingFilters(texts.filter(isOfThings), session.host.now());
  const filters = parseContainerFilters(
    texts.filter((text) => !isOfThings(text)),
    (name) => engine.containers.require(name),
  );
  if (!(await isMeant(flags, session, ['all containers that do not run']))) return 0;
  const { removed, freed } = await pruneContainers(
    engine,
    (container) =>
      matches({ labels: container.config.labels, created: Date.parse(container.config.created) }) &&
      filters.matches({ container, networks: [], ports: [], exposed: [] }),
  );
  if (removed.length > 0) session.stdout.write(`Deleted Containers:\n${removed.join('\n')}\n\n`);
  session.stdout.write(`Total reclaimed space: ${decimalSize(freed)}\n`);
  return 0;
}

/** What a monitor runs when its container has ended and nobody else cleans up. Not for people. */
export async function runContainerCleanup(flags: ParsedFlags, session: Session): Promise<number> {
  const engine = session.engine();
  const container = engine.containers.get(flags.words[0] ?? '');
  if (container !== undefined && !isActive(container.state)) await cleanUpContainer(engine, container);
  return 0;
}
