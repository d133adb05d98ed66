/**
 * `npm run soak:store -- [KILLS [SEED [DIRECTORY]]]` (300): four processes build, push, pull, prune and remove in one
 * state root, with Debian's docker-registry, and are killed with SIGKILL at random moments. After every 25 kills the
 * root is checked: no damage, no name lost or leading elsewhere, nothing left on the machine or half made, and the next
 * build is right. Commands that are not killed have to end well.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeBusyboxTar } from './busybox.ts';
import { randomFrom } from './edits/random.ts';
import { leftovers } from './store/leftovers.ts';
import { openPlace, type Place } from './store/place.ts';
import { createWorker, type Worker } from './store/worker.ts';

const WORKERS = 4;
const KILLS_A_PHASE = 25;
const [kills = '300', seed = String(Date.now() % 1_000_000), where = tmpdir()] = process.argv.slice(2);
const directory = mkdtempSync(join(where, 'tsbuild-store-'));
const wrong: string[] = [];
const random = randomFrom(Number(seed));

async function phase(
  workers: readonly Worker[],
  wanted: number,
): Promise<{ killed: number; spared: number }> {
  const counts = { killed: 0, spared: 0 };
  await Promise.all(
    workers.map(async (worker) => {
      while (counts.killed < wanted && wrong.length === 0)
        try {
          if (await worker.step()) counts.killed += 1;
          else counts.spared += 1;
        } catch (error) {
          wrong.push(error instanceof Error ? error.message : String(error));
        }
    }),
  );
  return counts;
}

/** Of some images, at the end of all, it looks whether they are what they have to be. */
async function verify(place: Place, workers: readonly Worker[], isLast: boolean): Promise<number> {
  // Children of killed commands end by themselves.
  for (
    let tried = 0;
    tried < 100 && leftovers(place.root, new Set()).some((each) => each.startsWith('process'));
    tried += 1
  )
    await sleep(50);
  const check = await place.run(['system', 'check']);
  if (check.code !== 0) wrong.push(`system check: ${check.output}`);
  wrong.push(...leftovers(place.root, place.pids).map((each) => `left: ${each}`));
  const names = new Set(
    (await place.ok('images', '--format', '{{.Repository}}:{{.Tag}}')).trim().split('\n'),
  );
  let verified = 0;
  for (const { ledger } of workers) {
    const chosen = [...ledger.keys()][random.below(ledger.size)];
    for (const [name, markers] of ledger) {
      if (!names.has(name)) {
        if (!markers.has(undefined)) wrong.push(`the name ${name} is lost`);
        ledger.set(name, new Set([undefined]));
        continue;
      }
      const there = new Set([...markers].filter((marker) => marker !== undefined));
      ledger.set(name, isLast || name === chosen ? await lookInto(place, name, there) : there);
      verified += isLast || name === chosen ? 1 : 0;
    }
  }
  return verified;
}

/** What the image has, which has to be one of what it may have. */
async function lookInto(
  place: Place,
  name: string,
  markers: ReadonlySet<string>,
): Promise<ReadonlySet<string>> {
  const { code, output } = await place.run(['run', '--rm', '--network', 'none', name, 'cat', '/marker']);
  if (code !== 0 || !markers.has(output.trim()))
    wrong.push(`${name} has ${JSON.stringify(output.trim())}, not ${[...markers].join(' or ')}`);
  return new Set([output.trim()]);
}

/** The next build, left alone. */
async function buildAgain(worker: Worker | undefined): Promise<void> {
  try {
    await worker?.build();
  } catch (error) {
    wrong.push(`the next build: ${error instanceof Error ? error.message : String(error)}`);
  }
}

try {
  await using place = await openPlace(directory);
  await place.ok('import', '--progress', 'quiet', makeBusyboxTar(directory), 'bb:1');
  await place.ok('run', '--rm', '--network', 'none', 'bb:1', 'true');
  for (const index of [0, 1, 2]) {
    await place.ok('tag', 'bb:1', `${place.registry}/base/img:${index}`);
    await place.ok('push', '-q', `${place.registry}/base/img:${index}`);
  }
  const workers = Array.from({ length: WORKERS }, (_, id) =>
    createWorker(place, id, randomFrom(Number(seed) * WORKERS + id)),
  );
  const started = Date.now();
  const totals = { killed: 0, spared: 0, verified: 0 };
  while (totals.killed < Number(kills) && wrong.length === 0) {
    const { killed, spared } = await phase(workers, Math.min(KILLS_A_PHASE, Number(kills) - totals.killed));
    totals.killed += killed;
    totals.spared += spared;
    totals.verified += await verify(place, workers, totals.killed >= Number(kills));
    await buildAgain(workers[Math.floor(totals.killed / KILLS_A_PHASE) % WORKERS]);
    console.log(`${totals.killed} kills, ${((Date.now() - started) / 1000).toFixed(0)} s`);
  }
  for (const each of wrong) console.log(`WRONG (seed ${seed}): ${each}`);
  console.log(
    JSON.stringify({
      seed: Number(seed),
      ...totals,
      wrong: wrong.length,
      seconds: Math.round((Date.now() - started) / 1000),
    }),
  );
  if (wrong.length > 0) process.exitCode = 1;
} finally {
  if (process.exitCode === undefined) rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  else console.log(`kept: ${directory}`);
}
