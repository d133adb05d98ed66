/** A token server as docker-registry wants it: JSON web tokens, RS256, the certificate in the header. */
import { createSign, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface TokenServerOptions {
  readonly key: string;
  /** PEM file; the registry's `rootcertbundle`. */
  readonly cert: string;
  readonly service: string;
  readonly issuer: string;
  readonly users: Readonly<Record<string, string>>;
  /** Seconds. */
  readonly life?: number;
  /** Which actions of a scope somebody gets; undefined is nobody in particular. */
  readonly allow: (user: string | undefined, repository: string, action: string) => boolean;
}

export interface RunningTokenServer extends AsyncDisposable {
  readonly realm: string;
  readonly issued: string[];
}

const b64 = (value: string | Buffer): string => Buffer.from(value).toString('base64url');

export async function startTokenServer(options: TokenServerOptions): Promise<RunningTokenServer> {
  const issued: string[] = [];
  const x5c = [readFileSync(options.cert, 'utf8').replace(/-----[^-]+-----|\s/g, '')];
  const server = createServer((request, response) => {
    const query = new URL(request.url ?? '', 'http://x').searchParams;
    const pair = /^Basic (.*)$/.exec(request.headers.authorization ?? '')?.[1];
    const [user = '', ...rest] =
      pair === undefined ? [] : Buffer.from(pair, 'base64').toString('utf8').split(':');
    if (pair !== undefined && options.users[user] !== rest.join(':'))
      return void response.writeHead(401).end('{"details":"incorrect username or password"}');
    const access = query.getAll('scope').map((scope) => {
      const [type = '', name = '', actions = ''] = /^([^:]+):(.+):([^:]*)$/.exec(scope)?.slice(1) ?? [];
      const allowed = actions
        .split(',')
        .filter((action) => options.allow(pair === undefined ? undefined : user, name, action));
      return { type, name, actions: allowed };
    });
    const now = Math.floor(Date.now() / 1000);
    const claims = {
      iss: options.issuer,
      sub: user,
      aud: options.service,
      exp: now + (options.life ?? 300),
      nbf: now - 10,
      iat: now,
      jti: randomUUID(),
      access,
    };
    const signed = `${b64(JSON.stringify({ typ: 'JWT', alg: 'RS256', x5c }))}.${b64(JSON.stringify(claims))}`;
    const token = `${signed}.${b64(createSign('sha256').update(signed).sign(readFileSync(options.key)))}`;
    issued.push(query.getAll('scope').join(' '));
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(
      JSON.stringify({ token, expires_in: options.life ?? 300, issued_at: new Date().toISOString() }),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    realm: `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`,
    issued,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}
