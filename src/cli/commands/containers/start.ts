/** `tsbuild start` and `attach`. */
import { isTsbuildError, TsbuildError } from '../../../base/errors.ts';
import { current, reach, requireActive, untilReleased } from '../../../engine/containers/hold.ts';
import { startContainer } from '../../../engine/containers/start.ts';
import { repairContainers } from '../../../engine/containers/repair.ts';
import { endRun } from '../../../engine/run.ts';
import { isActive, type StoredContainer } from '../../../runtime/container.ts';
import type { ParsedFlags } from '../../flags.ts';
import type { Session } from '../../session.ts';
import { parseDetachKeys } from './detach-keys.ts';
import { forEachContainer } from './each.ts';
import { followContainer, memoryWarning } from './follow.ts';
import { attachStreams, terminalSize, type AttachedStreams } from './streams.ts';

/** A container that shall be started; undefined: it runs already. */
async function startable(session: Session, reference: string): Promise<StoredContainer | undefined> {
  const { id, state } = await current(session.engine(), reference);
  if (state.status === 'paused')
    throw new TsbuildError('CONTAINER_RUNNING', `container ${JSON.stringify(reference)} is paused`, {
      hint: `let it go on with "tsbuild unpause ${reference}"`,
    });
  if (isActive(state)) return undefined;
  // Whoever cleans up after its last end shall be done.
  return untilReleased(session.engine(), id);
}

/** Where somebody else starts it at the same time, that is what was asked for. */
export async function startDetached(session: Session, container: StoredContainer): Promise<void> {
  try {
    const started = await startContainer(session.engine(), container, {
      attached: { stdin: false, stdout: false, stderr: false },
      signal: session.signal,
      onWarning: (message) => session.stderr.write(`warning: ${message}\n`),
    });
    await started.detach();
  } catch (error) {
    if (!isTsbuildError(error, 'CONTAINER_RUNNING')) throw error;
  }
}

export async function runStart(flags: ParsedFlags, session: Session): Promise<number> {
  const references = flags.boolean('all') ? await allOf(flags, session) : flags.words;
  if (flags.has('filter') && !flags.boolean('all'))
    throw new TsbuildError('USAGE', '--filter chooses among all containers', { hint: 'add --all' });
  if (references.length === 0 && !flags.boolean('all'))
    throw new TsbuildError('USAGE', '"tsbuild start" needs an argument: [OPTIONS] CONTAINER…', {
      hint: 'see "tsbuild start --help"',
    });
  if (flags.boolean('attach') || flags.boolean('interactive')) return startAttached(flags, session);
  return forEachContainer(session, references, async (reference) => {
    const container = await startable(session, reference);
    if (container !== undefined) await startDetached(session, container);
    return reference;
  });
}

/** Names of the containers that do not run, of those that the filters leave. */
async function allOf(flags: ParsedFlags, session: Session): Promise<readonly string[]> {
  if (flags.words.length > 0 || flags.boolean('attach') || flags.boolean('interactive'))
    throw new TsbuildError('USAGE', '--all goes neither with names nor with --attach and --interactive');
  const [{ listed }, { parseContainerFilters }] = await Promise.all([
    import('../container-views.ts'),
    import('../container-filters.ts'),
  ]);
  const engine = session.engine();
  await repairContainers(engine);
  const { matches } = parseContainerFilters(flags.list('filter'), (name) => engine.containers.require(name));
  return engine.containers
    .list()
    .filter(({ state }) => !isActive(state))
    .filter((container) => matches(listed(engine, container)))
    .map(({ config }) => config.name);
}

async function startAttached(flags: ParsedFlags, session: Session): Promise<number> {
  const [reference = '', ...more] = flags.words;
  if (more.length > 0)
    throw new TsbuildError('USAGE', 'you cannot start and attach multiple containers at once');
  const container = await startable(session, reference);
  if (container === undefined) return runAttach(flags, session);
  const engine = session.engine();
  const streams = streamsFor(flags, session, container, flags.boolean('interactive'));
  try {
    const size = container.config.input.terminal ? terminalSize(session) : undefined;
    const started = await startContainer(engine, container, {
      attached: { stdin: flags.boolean('interactive'), stdout: true, stderr: true },
      onOutput: streams.output,
      signal: session.signal,
      ...(size === undefined ? {} : { size }),
    });
    streams.join(started.connection);
    const outcome = await followContainer(started.ended, streams);
    if (outcome.kind === 'ended') {
      const memory = await endRun(engine, container, started, outcome.end);
      if (memory !== undefined) session.stderr.write(memoryWarning(memory, outcome.end));
      return outcome.end.exitCode;
    }
    await started.detach();
    return outcome.code;
  } finally {
    streams.leave();
  }
}

function streamsFor(
  flags: ParsedFlags,
  session: Session,
  { config }: StoredContainer,
  stdin: boolean,
): AttachedStreams {
  return attachStreams(session, {
    terminal: config.input.terminal,
    stdin: stdin && config.stdin !== 'closed',
    signals: flags.boolean('sig-proxy') && !config.input.terminal,
    detachKeys: parseDetachKeys(flags.text('detach-keys') ?? config.detachKeys),
  });
}

export async function runAttach(flags: ParsedFlags, session: Session): Promise<number> {
  const container = await current(session.engine(), flags.words[0] ?? '');
  requireActive(container);
  if (container.state.status === 'paused')
    throw new TsbuildError('CONTAINER_NOT_RUNNING', 'you cannot attach to a paused container', {
      hint: `let it go on with "tsbuild unpause ${container.config.name}"`,
    });
  const streams = streamsFor(flags, session, container, !flags.boolean('no-stdin'));
  try {
    const held = await reach(container, { output: streams.output });
    if (held === undefined) {
      requireActive(await current(session.engine(), container.id));
      return 1;
    }
    const { connection } = held;
    await connection.attach({
      stdin: !flags.boolean('no-stdin') && container.config.stdin !== 'closed',
      stdout: true,
      stderr: true,
      cleans: false,
    });
    streams.join(connection);
    const outcome = await followContainer(held.ended, streams);
    connection.close();
    if (outcome.kind === 'ended') return outcome.end.exitCode;
    if (outcome.code === 0) session.stderr.write('read escape sequence\n');
    return outcome.code;
  } finally {
    streams.leave();
  }
}
