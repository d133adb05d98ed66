/** Files of a directory over HTTP on the loopback, with the Last-Modified that a cache would ask about. */
import { readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { join, normalize } from 'node:path';

export interface FileServer extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`. */
  readonly address: string;
}

export async function serveFiles(directory: string): Promise<FileServer> {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    const file = join(directory, normalize(decodeURIComponent(pathname)));
    try {
      const content = readFileSync(file);
      response.setHeader('Last-Modified', statSync(file).mtime.toUTCString());
      response.setHeader('Content-Length', content.length);
      response.end(request.method === 'HEAD' ? undefined : content);
    } catch {
      response.statusCode = 404;
      response.end('no such file\n');
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    address: `http://127.0.0.1:${address.port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
