/** Blobs that are uploaded while they are made. */
import assert from 'node:assert/strict';
import { closeSync, openSync, renameSync, writeSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Readable } from 'node:stream';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { request as fetchWithBody } from 'undici';
import { createGrowingBlob, type GrowingBlob } from '../../src/content/growing-blob.ts';
import { digestOf } from '../../src/base/digest.ts';
import { isTsbuildError, TsbuildError } from '../../src/base/errors.ts';
import type { Descriptor } from '../../src/oci/documents.ts';
import { bytesOf, openBench, reference, signal, type Bench } from '../registry/fixture.ts';
import { startTestRegistry, type TestRegistry, type TestRegistryOptions } from '../registry/test-registry.ts';

let bench: Bench;
const started: TestRegistry[] = [];
beforeEach(() => {
  bench = openBench();
});
afterEach(async () => {
  await bench[Symbol.asyncDispose]();
  for (const each of started.splice(0)) {
    await each[Symbol.asyncDispose]();
    assert.deepEqual(each.violations, []);
  }
});

async function start(options: TestRegistryOptions = {}): Promise<TestRegistry> {
  const registry = await startTestRegistry(options);
  started.push(registry);
  return registry;
}

const BYTES = bytesOf(1_500_000, 7);
const BLOB: Descriptor = {
  mediaType: 'application/octet-stream',
  digest: digestOf(BYTES),
  size: BYTES.byteLength,
};

interface Writing {
  readonly growing: GrowingBlob;
  readonly made: Promise<Descriptor>;
}

/** Writes a file in pieces, with pauses; it moves at its end. */
function write(pieces: number, failure?: Error): Writing {
  let path = join(bench.directory, 'partial');
  const fd = openSync(path, 'w');
  const growing = createGrowingBlob(() => path);
  const piece = Math.ceil(BYTES.byteLength / pieces);
  async function run(): Promise<Descriptor> {
    for (let at = 0; at < BYTES.byteLength; at += piece) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      growing.grown(at + writeSync(fd, BYTES.subarray(at, at + piece)));
    }
    closeSync(fd);
    if (failure !== undefined) {
      growing.fail(failure);
      throw failure;
    }
    renameSync(path, join(bench.directory, 'whole'));
    path = join(bench.directory, 'whole');
    growing.end();
    return BLOB;
  }
  return { growing, made: run() };
}

async function put({ growing, made }: Writing, registry: TestRegistry): Promise<boolean> {
  const sink = bench.client().sink(reference(registry.host));
  return sink.putGrowing({ open: growing.read, made }, bench.io);
}

void test('a blob that grows is read to its end, by those who come late too', async () => {
  const { growing, made } = write(7);
  const read = async (): Promise<Buffer> => {
    const parts: Uint8Array[] = [];
    for await (const part of growing.read(signal)) parts.push(Uint8Array.from(part));
    return Buffer.concat(parts);
  };
  const early = read();
  await made;
  assert.deepEqual(await early, BYTES);
  assert.deepEqual(await read(), BYTES);
});

void test('readers of a blob that fails to grow are told, and an abort wakes those who wait', async () => {
  const failed = write(3, new TsbuildError('DISK_FULL', 'full'));
  failed.made.catch(() => undefined);
  await assert.rejects(
    (async () => {
      for await (const part of failed.growing.read(signal)) assert.ok(part.byteLength > 0);
    })(),
    (error) => isTsbuildError(error, 'DISK_FULL'),
  );
  const abort = new AbortController();
  const idle = createGrowingBlob(() => '/nowhere');
  const waiting = idle.read(abort.signal).next();
  setImmediate(() => abort.abort());
  await assert.rejects(waiting, (error) => isTsbuildError(error, 'ABORTED'));
});

void test('a blob that is moved while it is opened is opened where it is', async () => {
  const { made } = write(1);
  await made;
  let place = join(bench.directory, 'partial');
  const moving = createGrowingBlob(() => {
    const now = place;
    place = join(bench.directory, 'whole');
    return now;
  });
  moving.grown(BYTES.byteLength);
  moving.end();
  const parts: Uint8Array[] = [];
  for await (const part of moving.read(signal)) parts.push(Uint8Array.from(part));
  assert.deepEqual(Buffer.concat(parts), BYTES);
});

void test('a blob is there when its last byte was made: one session, one PATCH, one PUT', async () => {
  const registry = await start();
  assert.equal(await put(write(6), registry), true);
  assert.ok(registry.state.repository('team/app').blobs.get(BLOB.digest)?.equals(BYTES));
  const paths = registry.log.map(({ method }) => method);
  assert.deepEqual(
    paths.filter((method) => method !== 'HEAD' && method !== 'GET'),
    ['POST', 'PATCH', 'PUT'],
  );
});

void test('what the registry had all along is not sent to its end, and the session is given back', async () => {
  const registry = await start({
    fault: ({ method }) => (method === 'PATCH' ? { kind: 'hang' } : undefined),
  });
  registry.state.repository('team/app').blobs.set(BLOB.digest, BYTES);
  assert.equal(await put(write(3), registry), true);
  const methods = registry.log.map(({ method }) => method);
  assert.ok(!methods.includes('PUT'));
  assert.equal(methods.at(-1), 'DELETE');
});

void test('where it cannot be streamed the answer is no, once all of it is made', async () => {
  const refusals: readonly TestRegistryOptions['fault'][] = [
    ({ method }) => (method === 'POST' ? { kind: 'status', status: 400 } : undefined),
    ({ method }) => (method === 'PATCH' ? { kind: 'status', status: 411 } : undefined),
    ({ method }) => (method === 'PATCH' ? { kind: 'cut-request', after: 70_000 } : undefined),
    ({ method }) => (method === 'PUT' ? { kind: 'status', status: 404 } : undefined),
  ];
  for (const fault of refusals) {
    const registry = await start(fault === undefined ? {} : { fault });
    const writing = write(4);
    assert.equal(await put(writing, registry), false);
    assert.equal((await writing.made).digest, BLOB.digest);
    assert.equal(registry.state.repository('team/app').blobs.size, 0);
  }
});

void test('a failure to make it ends the upload, and is what is thrown', async () => {
  const registry = await start();
  await assert.rejects(put(write(4, new TsbuildError('DISK_FULL', 'full')), registry), (error) =>
    isTsbuildError(error, 'DISK_FULL'),
  );
  assert.equal(registry.state.repository('team/app').blobs.size, 0);
  assert.equal(registry.log.at(-1)?.method, 'DELETE');
});

const MANY = bytesOf(16_000_000, 9);

for (const piece of [1, 17_000, 20_000, 100_000, 262_144, 300_000])
  test(`a server that reads slowly gets the bytes of a blob that grows by ${piece}`, async () => {
    // More than sockets hold by themselves.
    const bytes = piece === 1 ? MANY.subarray(0, 300) : MANY;
    const path = join(bench.directory, 'slow');
    const fd = openSync(path, 'w');
    const growing = createGrowingBlob(() => path);
    const received: Buffer[] = [];
    let end: () => void = () => undefined;
    const written = new Promise<void>((resolve) => (end = resolve));
    const server = createServer((request, response) => {
      // Nothing is read at first, so that what is sent stays with the sender once the kernel takes no more.
      void written.then(() => request.on('data', (chunk: Buffer) => void received.push(chunk)));
      request.on('end', () => response.end());
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const sent = fetchWithBody(`http://127.0.0.1:${port}/`, {
      // As the transport hands it on.
      body: growing.read(signal) as unknown as Readable,
      method: 'PUT',
    });
    for (let at = 0; at < bytes.byteLength; at += piece) {
      growing.grown(at + writeSync(fd, bytes.subarray(at, at + piece)));
      // Each is sent by itself.
      await wait(1);
    }
    growing.end();
    closeSync(fd);
    end();
    await (await sent).body.dump();
    server.close();
    assert.ok(Buffer.concat(received).equals(bytes));
  });
