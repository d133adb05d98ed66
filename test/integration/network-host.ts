/**
 * One host of several, as a process of its own: makes a network as it is told, attaches one container, says its
 * address, listens there, then does what it is asked: `ask ADDRESS PORT`, one line each.
 */
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import type { NetworkRequest } from '../../src/runtime/network/contract.ts';
import { ask, listen, openRoot, requestOf } from './network-fixture.ts';

const [text = '{}', digit = 'a'] = process.argv.slice(2);

test('a host', async (t) => {
  using place = openRoot();
  const { networks } = place;
  await networks.create(JSON.parse(text) as NetworkRequest);
  const attached = await networks.attach(requestOf(digit, ['net']));
  await listen(t, attached.netns, digit, 80);
  const say = (value: unknown): void => void process.stderr.write(`${JSON.stringify(value)}\n`);
  say(attached.endpoints[0]?.ip);
  for await (const line of createInterface({ input: process.stdin })) {
    const [, address = '', port = '0'] = line.split(' ');
    say(ask(attached.netns, 'tcp', address, Number(port)) ?? null);
  }
  await networks.detach(attached.containerId);
  await networks.remove('net');
});
