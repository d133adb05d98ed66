/** What tests of caches share: a registry that is watched, machines of their own, builds that do not block. */
import { execFileSync, type ChildProcess } from 'node:child_process';
import { createServer, request, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import type { Commands } from './commands.ts';
import {
  importBusybox,
  openWorkspace,
  startRegistry,
  type Ended,
  type RunningRegistry,
  type Workspace,
} from './fixture.ts';

export interface Watched extends AsyncDisposable {
  /** Where it listens. */
  readonly host: string;
  /** `METHOD path`, without queries. */
  readonly requests: string[];
  /** Those of them that the registry has answered, and well. */
  readonly answered: string[];
  /** In both directions, everything that TCP carries. */
  bytes(): number;
  /** Forgets what was counted. */
  reset(): void;
  /** Answers in the place of what is behind it, as long as it is set. */
  fault: ((method: string, url: string) => number | 'hang' | 'garbage' | undefined) | undefined;
}

/** A registry with a base image, seen through a proxy that counts. */
export interface CacheStand extends AsyncDisposable {
  readonly space: Workspace;
  readonly registry: RunningRegistry;
  readonly watched: Watched;
  /** Reference of the base image, by way of the proxy. */
  readonly base: string;
}

export async function openCacheStand(): Promise<CacheStand> {
  const space = openWorkspace();
  importBusybox(space);
  const registry = await startRegistry(space.directory);
  const watched = await watch(registry.host);
  return {
    ...{ space, registry, watched },
    base: pushBase(space, registry.host).replace(registry.host, watched.host),
    async [Symbol.asyncDispose]() {
      await watched[Symbol.asyncDispose]();
      await registry[Symbol.asyncDispose]();
      space[Symbol.dispose]();
    },
  };
}

/** A proxy before a registry on the loopback. */
export async function watch(behind: string): Promise<Watched> {
  const [host = '', port = ''] = behind.split(':');
  const sockets = new Set<Socket>();
  let gone = 0;
  let before = 0;
  const watched: Watched = {
    host: '',
    requests: [],
    answered: [],
    bytes: () =>
      gone +
      [...sockets].reduce((sum, { bytesRead, bytesWritten }) => sum + bytesRead + bytesWritten, 0) -
      before,
    reset() {
      watched.requests.length = 0;
      watched.answered.length = 0;
      before += watched.bytes();
    },
    fault: undefined,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
  const server = createServer((incoming, outgoing) => {
    const { method = '', url = '' } = incoming;
    watched.requests.push(`${method} ${url.split('?')[0] ?? ''}`);
    const fault = watched.fault?.(method, url);
    if (fault !== undefined) {
      incoming.resume();
      if (fault === 'hang') return;
      if (fault === 'garbage') {
        outgoing.writeHead(200, { 'content-type': 'application/vnd.oci.image.manifest.v1+json' });
        outgoing.end('{"schemaVersion":2,"garbage":');
        return;
      }
      outgoing.writeHead(fault, { 'content-type': 'application/json' });
      outgoing.end('{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}');
      return;
    }
    const forwarded = request({ host, port, path: url, method, headers: incoming.headers }, (answer) => {
      const { statusCode = 500 } = answer;
      if (statusCode < 300) watched.answered.push(`${method} ${url.split('?')[0] ?? ''}`);
      outgoing.writeHead(statusCode, relocated(answer.headers, behind, watched.host));
      answer.pipe(outgoing);
    });
    forwarded.on('error', () => outgoing.destroy());
    incoming.pipe(forwarded);
  });
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => {
      sockets.delete(socket);
      gone += socket.bytesRead + socket.bytesWritten;
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return Object.assign(watched, { host: `127.0.0.1:${(server.address() as AddressInfo).port}` });
}

function relocated(headers: IncomingHttpHeaders, from: string, to: string): IncomingHttpHeaders {
  const { location } = headers;
  return location === undefined ? headers : { ...headers, location: location.replace(from, to) };
}

/** To its end, while this process goes on serving. */
export function ended(child: ChildProcess): Promise<Ended> {
  return new Promise((resolve) => {
    let [stdout, stderr] = ['', ''];
    child.stdout?.on('data', (data: Buffer) => (stdout += data.toString()));
    child.stderr?.on('data', (data: Buffer) => (stderr += data.toString()));
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });
}

/** A state root of its own: what one machine knows. */
export interface Machine {
  readonly root: string;
  /** Ends well, or throws with the output. */
  run(...args: readonly string[]): Promise<Ended>;
  start(...args: readonly string[]): ChildProcess;
}

/** With `commands`, `run` is carried out by them; what runs beside something else is for `start`. */
export function machine(space: Workspace, name: string, commands?: Commands): Machine {
  const root = join(space.directory, name);
  const start = (...args: readonly string[]): ChildProcess => space.start(args, { TSBUILD_ROOT: root });
  return {
    root,
    start,
    async run(...args) {
      if (commands !== undefined)
        return commands.ok(args, space.directory, { ...space.env, TSBUILD_ROOT: root });
      const done = await ended(start(...args));
      if (done.code !== 0)
        throw new Error(`tsbuild ${args.join(' ')} ended with ${done.code}:\n${done.stderr}`);
      return done;
    },
  };
}

/** `(2 executed, 4 cached, 1 skipped)` of a build's last line. */
export function countsOf({ stderr }: Ended): string {
  return /\((\d+ executed, \d+ cached(?:, \d+ skipped)?)\)/.exec(stderr)?.[1] ?? stderr;
}

/** A busybox image in a registry, so that machines have a base image to share. */
export function pushBase(space: Workspace, host: string): string {
  const name = `${host}/base/bb:1`;
  space.ok(['tag', 'bb:1', name]);
  space.ok(['push', '-q', name]);
  return name;
}

export function inspectRaw(
  host: string,
  name: string,
): { readonly layers: readonly { readonly digest: string }[] } {
  const text = execFileSync(
    'skopeo',
    ['inspect', '--raw', '--tls-verify=false', `docker://${host}/${name}`],
    {
      encoding: 'utf8',
    },
  );
  return JSON.parse(text) as { readonly layers: readonly { readonly digest: string }[] };
}
