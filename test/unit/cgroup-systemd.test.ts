/** D-Bus on the wire, and a container's limits as systemd's properties. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from '../suites/properties.ts';
import { isTsbuildError } from '../../src/base/errors.ts';
import { decodeMessage, encodeCall, messageSize } from '../../src/runtime/cgroups/systemd/dbus-message.ts';
import {
  marshal,
  splitSignature,
  unmarshal,
  type DBusValue,
} from '../../src/runtime/cgroups/systemd/dbus-types.ts';
import { bitmap, limitProperties, parseUnitPath } from '../../src/runtime/cgroups/systemd/unit.ts';

test('signatures fall into complete types', () => {
  assert.deepEqual(splitSignature('sba(sv)a{s(ii)}aay'), ['s', 'b', 'a(sv)', 'a{s(ii)}', 'aay']);
  for (const wrong of ['a', '(s', 'z', 'a()', `${'a'.repeat(99)}s`])
    assert.throws(
      () => splitSignature(wrong),
      (error: unknown) => isTsbuildError(error, 'SPEC_INVALID'),
    );
});

test('values are laid out as the specification says', () => {
  assert.equal(marshal('s', ['foo']).toString('hex'), '03000000666f6f00');
  assert.equal(marshal('yu', [1, 2]).toString('hex'), '0100000002000000');
  assert.equal(marshal('at', [[5n]]).toString('hex'), '08000000000000000500000000000000');
  assert.equal(marshal('at', [[]]).toString('hex'), '0800000000000000'.replace('08', '00'));
  assert.equal(marshal('v', [{ signature: 'b', value: true }]).toString('hex'), '0162000001000000');
});

test('what was marshalled comes back', () => {
  const text = fc.string().filter((each) => !each.includes('\0') && Buffer.from(each).toString() === each);
  const variant = fc.oneof(
    text.map((value) => ({ signature: 's', value })),
    fc.boolean().map((value) => ({ signature: 'b', value })),
    fc.bigInt({ min: 0n, max: 0xffffffffffffffffn }).map((value) => ({ signature: 't', value })),
    fc.array(fc.nat(255)).map((value) => ({ signature: 'ay', value })),
  );
  const value = fc.tuple(fc.nat(255), text, fc.array(fc.tuple(text, variant)), fc.nat());
  fc.assert(
    fc.property(value, (values) => {
      const signature = 'ysa(sv)u';
      assert.deepEqual(unmarshal(signature, marshal(signature, values as DBusValue[])), values);
    }),
  );
});

test('a call is one message, and hostile bytes are refused', () => {
  const call = encodeCall(
    { destination: 'a.b', path: '/c', interface: 'd.e', member: 'F', signature: 'su', arguments: ['x', 7] },
    3,
  );
  assert.equal(messageSize(call), call.byteLength);
  assert.equal(decodeMessage(call).kind, 'other');
  assert.equal(messageSize(call.subarray(0, 10)), undefined);
  const huge = Buffer.from(call);
  huge.writeUInt32LE(0xfffffff0, 4);
  assert.throws(() => messageSize(huge), /too large/);
  fc.assert(
    fc.property(fc.nat(call.byteLength - 1), fc.nat(255), (at, byte) => {
      const broken = Buffer.from(call);
      broken[at] = byte;
      try {
        if (messageSize(broken) === broken.byteLength) decodeMessage(broken);
      } catch (error) {
        assert.ok(isTsbuildError(error, 'SPEC_INVALID'), String(error));
      }
    }),
  );
});

test('the path of a unit', () => {
  assert.deepEqual(parseUnitPath('user.slice:tsbuild:web'), {
    slice: 'user.slice',
    unit: 'tsbuild-web.scope',
  });
  assert.deepEqual(parseUnitPath('::web'), { slice: 'system.slice', unit: 'web.scope' });
  assert.deepEqual(parseUnitPath('a.slice:libpod:b.scope').unit, 'libpod-b.scope');
  for (const path of [
    '/a/b',
    'a:b',
    'a::',
    'nothing:x:y',
    'a.slice:x:../y',
    'a.slice:x:y z',
    `::${'x'.repeat(300)}`,
  ])
    assert.throws(
      () => parseUnitPath(path),
      (error: unknown) => isTsbuildError(error, 'SPEC_INVALID'),
      path,
    );
});

test('limits as properties', () => {
  const named = (resources: Parameters<typeof limitProperties>[0], version: 1 | 2) =>
    limitProperties(resources, version).map(([name, { value }]) => `${name}=${String(value as bigint)}`);
  const resources = {
    memory: { limit: 100, swap: 150, reservation: 50 },
    cpu: { shares: 1024, quota: 12_345, period: 100_000, cpus: '0,9' },
    pids: { limit: 0 },
    blockIO: { weight: 500 },
  };
  assert.deepEqual(named(resources, 2), [
    'MemoryMax=100',
    'MemoryLow=50',
    'MemorySwapMax=50',
    'CPUWeight=100',
    'CPUQuotaPerSecUSec=130000',
    'CPUQuotaPeriodUSec=100000',
    'AllowedCPUs=1,2',
    'TasksMax=18446744073709551615',
  ]);
  assert.deepEqual(named(resources, 1), [
    'MemoryLimit=100',
    'CPUShares=1024',
    'CPUQuotaPerSecUSec=130000',
    'CPUQuotaPeriodUSec=100000',
    'TasksMax=18446744073709551615',
    'BlockIOWeight=500',
  ]);
});

test('lists of processors as bits', () => {
  assert.deepEqual(bitmap('0-2,8'), [7, 1]);
  assert.throws(() => bitmap('2-1'), /invalid list/);
  assert.throws(() => bitmap('x'), /invalid list/);
});
