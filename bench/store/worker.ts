/**
 * One of the processes of the soak: builds, pushes, pulls, prunes and removes, most of it killed at a random moment. It
 * knows which of its names must lead to which content; a name whose command was killed may lead to the old or the new.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Random } from '../edits/random.ts';
import type { Ended, Place } from './place.ts';

/** Name → contents of `/marker` that it may have; undefined among them: it may be gone. */
export type Ledger = Map<string, ReadonlySet<string | undefined>>;

export interface Worker {
  readonly ledger: Ledger;
  /** One command; whether it was killed. Throws where one that was left alone failed. */
  step(): Promise<boolean>;
  /** Builds, left alone. Throws where it fails. */
  build(): Promise<void>;
}

const NAMES = 4;
const FILES = 20;
/** So many of a hundred commands are killed. */
const KILLED = 75;

interface Job {
  readonly kind: string;
  readonly args: readonly string[];
  /** What becomes of the names in the ledger where it ends well. */
  readonly names: readonly string[];
  readonly marker?: string | undefined;
}

export function createWorker(place: Place, id: number, random: Random): Worker {
  const ledger: Ledger = new Map();
  const context = join(place.directory, `context-${id}`);
  /** Milliseconds that a command of a kind took when it was left alone. */
  const usual = new Map<string, number>();
  let count = 0;

  const local = (): string => `w${id}:${random.below(NAMES)}`;
  const remote = (): string => `${place.registry}/soak/w${id}:${random.below(NAMES)}`;
  /** Names that surely lead somewhere. */
  const known = (): readonly string[] =>
    [...ledger].flatMap(([name, markers]) => (markers.has(undefined) ? [] : [name]));

  function buildJob(kind: string, name: string, more: readonly string[] = []): Job {
    count += 1;
    const marker = `${id}-${count}`;
    mkdirSync(join(context, 'files/deep'), { recursive: true });
    for (let at = 0; at < FILES; at += 1)
      writeFileSync(
        join(context, 'files', at % 2 === 0 ? `f${at}` : `deep/f${at}`),
        `${at} ${random.below(3)}\n`.repeat(50),
      );
    const size = 1 + random.below(3);
    const dockerfile = [
      'FROM bb:1 AS stage',
      'COPY files/deep /deep',
      `RUN --mount=type=cache,target=/cache,id=w${random.below(3)} cp -r /deep /cache/$$ && cat /deep/* > /all`,
      'FROM bb:1',
      'COPY files /files',
      `RUN --mount=type=cache,target=/cache,id=w${random.below(3)} dd if=/dev/urandom of=/big bs=1M count=${size} 2>/dev/null; ls /cache | wc -l`,
      'COPY --from=stage /all /all',
      `RUN echo ${marker} > /marker`,
      '',
    ].join('\n');
    writeFileSync(join(context, 'Dockerfile'), dockerfile);
    return {
      kind,
      names: [name],
      marker,
      args: ['build', '--progress', 'plain', '-t', name, ...more, context],
    };
  }

  function markerOf(name: string): string | undefined {
    const [only, ...others] = ledger.get(name) ?? [];
    return others.length === 0 ? only : undefined;
  }

  function nextJob(): Job {
    const names = known();
    const held = names.filter((name) => markerOf(name) !== undefined);
    const drawn = random.below(20);
    if (drawn < 6 || names.length === 0) return buildJob('build', local());
    if (drawn < 8) return buildJob('build with a limit', local(), ['--storage-max', '100m']);
    if (drawn < 10) return buildJob('build and push', remote(), ['--push']);
    if (drawn < 12) return { kind: 'prune', args: ['prune', '-f'], names: [] };
    if (drawn < 14) return { kind: 'prune all', args: ['prune', '-a', '-f'], names: [] };
    if (drawn < 15) return { kind: 'image prune', args: ['image', 'prune', '-f'], names: [] };
    if (drawn < 17) {
      const pushed = held.filter((name) => name.startsWith(place.registry));
      if (pushed.length > 0) return { kind: 'push', args: ['push', '-q', random.pick(pushed)], names: [] };
    }
    if (drawn < 18 && names.length > NAMES) {
      const name = random.pick(names);
      return { kind: 'rmi', args: ['rmi', name], names: [name], marker: undefined };
    }
    const name = `base/img:${random.below(3)}`;
    return { kind: 'pull', args: ['pull', '-q', `${place.registry}/${name}`], names: [] };
  }

  function note({ names, marker }: Job, isSure: boolean): void {
    for (const name of names) {
      const before = ledger.get(name) ?? new Set([undefined]);
      ledger.set(name, new Set(isSure ? [marker] : [...before, marker]));
    }
  }

  async function perform(job: Job, isSpared: boolean): Promise<boolean> {
    // Before it runs: it may be killed after it has done its work.
    if (!isSpared) note(job, false);
    const started = performance.now();
    const span = usual.get(job.kind) ?? 0;
    const ended: Ended = await place.run(job.args, isSpared ? undefined : 40 + random.next() * span);
    if (ended.code === 1 && job.args.includes('--storage-max') && ended.output.includes('[STORAGE_FULL]')) {
      // What names hold may be more than the limit: that is refused, and changes nothing.
      note(job, false);
      return false;
    }
    if (ended.code !== null && ended.code !== 0)
      throw new Error(`tsbuild ${job.args.join(' ')} ended with ${ended.code}:\n${ended.output}`);
    if (ended.code === null) return true;
    usual.set(job.kind, performance.now() - started);
    note(job, true);
    return false;
  }

  return {
    ledger,
    step() {
      const job = nextJob();
      return perform(job, random.below(100) >= KILLED || !usual.has(job.kind));
    },
    async build() {
      await perform(buildJob('build', local()), true);
    },
  };
}
