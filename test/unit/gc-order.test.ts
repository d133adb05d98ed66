/** Which units garbage collection takes, and in which order. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseUnits } from '../../src/engine/gc/order.ts';
import type { Unit } from '../../src/engine/gc/units.ts';

const NOW = Date.parse('2026-01-10T00:00:00Z');
const HOUR = 3_600_000;

interface Made {
  readonly size?: number;
  readonly costMs?: number;
  /** Hours since it was used. */
  readonly age?: number;
  readonly isInUse?: boolean;
  readonly dependents?: readonly Unit[];
}

function unit(
  id: string,
  { size = 100, costMs = 0, age = 0, isInUse = false, dependents = [] }: Made = {},
): Unit {
  return {
    ...{ id, type: 'regular', description: id, names: [], costMs, isInUse, isShared: false, whole: size },
    ...{ used: NOW - age * HOUR, created: NOW, dependents: new Set(dependents) },
    size: () => size,
    take: () => [`/${id}`],
  };
}

const everything = (): boolean => true;
const never = (): boolean => false;

function order(units: readonly Unit[], wanted = Number.POSITIVE_INFINITY): readonly string[] {
  return chooseUnits(units, everything, (freed) => freed >= wanted, NOW).map((each) => each.unit.id);
}

test('what is cheap to have again for its bytes goes first', () => {
  const units = [
    unit('dear', { costMs: 60_000 }),
    unit('cheap', { costMs: 10 }),
    unit('large', { costMs: 60_000, size: 1_000_000 }),
  ];
  assert.deepEqual(order(units), ['large', 'cheap', 'dear']);
});

test('what nobody has used for long goes before what costs the same', () => {
  const units = [unit('new', { costMs: 100 }), unit('old', { costMs: 100, age: 72 })];
  assert.deepEqual(order(units), ['old', 'new']);
});

test('nothing goes before what builds upon it, however little it is worth', () => {
  const top = unit('top', { costMs: 90_000 });
  const middle = unit('middle', { costMs: 1, dependents: [top] });
  const base = unit('base', { costMs: 0, age: 1000, dependents: [middle] });
  assert.deepEqual(order([base, middle, top, unit('other', { costMs: 500 })]), [
    'other',
    'top',
    'middle',
    'base',
  ]);
});

test('what is in use stays, and what it builds upon', () => {
  const top = unit('top', { isInUse: true });
  const units = [unit('base', { dependents: [top] }), top, unit('free')];
  assert.deepEqual(order(units), ['free']);
});

test('what is not selected keeps what it builds upon', () => {
  const top = unit('top');
  const units = [unit('base', { dependents: [top] }), top];
  const chosen = chooseUnits(units, ({ id }) => id === 'base', never, NOW);
  assert.deepEqual(chosen, []);
});

test('it ends as soon as enough is free', () => {
  const units = ['a', 'b', 'c', 'd'].map((id, at) => unit(id, { costMs: at }));
  assert.deepEqual(order(units, 150), ['a', 'b']);
  assert.deepEqual(order(units, 0), []);
});

test('ten thousand steps are ordered in a moment', () => {
  const units: Unit[] = [];
  for (let at = 0; at < 10_000; at += 1) {
    const before = at % 10 === 0 ? undefined : units.at(-1);
    units.push(
      unit(`${at}`, { costMs: (at * 7919) % 1000, dependents: before === undefined ? [] : [before] }),
    );
  }
  const started = performance.now();
  assert.equal(order(units).length, 10_000);
  assert.ok(performance.now() - started < 10_000);
});
