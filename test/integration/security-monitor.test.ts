/** Attacks on a monitor through its ctl.sock, by whom the directory does not keep out, and by frames that make no sense. */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { encodeFrame, encodeU32 } from '../../native/frames.ts';
import { openStand, type Monitored, type MonitorStand } from './monitor-fixture.ts';

const KILL = 2;
const DONE = 41;

let stand: MonitorStand;
before(() => {
  stand = openStand();
});
after(() => stand.close());

async function running(): Promise<Monitored> {
  const one = stand.sh('sleep 60');
  await one.started;
  return one;
}

/** Sends bytes, and what came back until the other side closed, or said something, or `patienceMs` are over. */
function say(path: string, bytes: Uint8Array, patienceMs = 20_000): Promise<Buffer | 'closed' | 'silent'> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const timer = setTimeout(() => finish('silent'), patienceMs);
    const finish = (outcome: Buffer | 'closed' | 'silent'): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(outcome);
    };
    socket.on('data', finish);
    socket.on('close', () => finish('closed'));
    socket.on('error', () => finish('closed'));
    socket.write(bytes);
  });
}

/** Signal 0 changes nothing, and is answered. */
async function answers(path: string): Promise<boolean> {
  const answer = await say(path, encodeFrame(KILL, encodeU32(0)));
  return Buffer.isBuffer(answer) && answer.readUInt32LE(4) === DONE;
}

test('ctl.sock is for root alone, by its mode and by who connects', async () => {
  const one = await running();
  const path = join(one.directory, 'ctl.sock');
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(await answers(path), true);
  // Both doors left open by mistake: who knocks is looked at all the same.
  for (const open of [stand.box.directory, one.directory]) chmodSync(open, 0o755);
  chmodSync(path, 0o666);
  const script = `
const socket = require('node:net').connect(${JSON.stringify(path)});
const frame = Buffer.from(${JSON.stringify(Buffer.from(encodeFrame(KILL, encodeU32(9))).toString('hex'))}, 'hex');
socket.on('connect', () => { process.stdout.write('connected '); socket.write(frame); });
socket.on('data', () => { process.stdout.write('answered'); socket.destroy(); });
socket.on('error', () => {});
socket.on('close', () => process.exit(0));
`;
  const attack = (id: number): string =>
    spawnSync(process.execPath, ['-e', script], {
      ...{ uid: id, gid: id, encoding: 'utf8', timeout: 20_000, cwd: '/' },
    }).stdout;
  assert.equal(attack(1000), 'connected ');
  assert.equal(existsSync(path), true, 'the container lives');
  assert.equal(await answers(path), true);
  assert.equal(attack(0), 'connected answered', 'the same by root ends it');
  assert.equal((await one.finished).exitCode, 137);
});

test('frames that make no sense end their own connection, and no other', async () => {
  const one = await running();
  const path = join(one.directory, 'ctl.sock');
  const head = (length: number, type: number): Buffer => encodeU32(length, type, 0);
  for (const length of [65537, 0x7fffffff, 0xffffffff])
    assert.equal(
      await say(path, Buffer.concat([head(length, KILL), Buffer.alloc(1 << 16, 'x')])),
      'closed',
      `a frame of ${length} bytes`,
    );
  for (let type = 0; type < 64; type += 1)
    for (const size of [0, 1, 3, 4, 8, 9, 64]) {
      // What these ask for is theirs to ask: signals, the end, input, the policy.
      if ((size === 4 || size === 8 || size === 0) && type < 48) continue;
      const outcome = await say(path, Buffer.concat([head(size, type), Buffer.alloc(size, 0xff)]));
      assert.equal(Buffer.isBuffer(outcome) ? 'answered' : outcome, 'closed', `type ${type}, ${size} bytes`);
    }
  assert.equal(await answers(path), true);
  assert.equal(await one.connection.kill(9), 0);
  await one.finished;
});
