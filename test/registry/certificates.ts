/** Certificates of an authority that nobody trusts, made by openssl. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Pair {
  /** Paths of PEM files. */
  readonly cert: string;
  readonly key: string;
}

export interface Authority {
  readonly ca: string;
  /** `extension` is openssl's: `subjectAltName=IP:127.0.0.1`. */
  issue(name: string, extension: string, days?: number): Pair;
}

function openssl(directory: string, ...args: readonly string[]): void {
  execFileSync('openssl', args, { cwd: directory, stdio: 'pipe' });
}

export function createAuthority(directory: string): Authority {
  const subject = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl(
    directory,
    'req',
    '-x509',
    ...subject,
    '-days',
    '3',
    '-subj',
    '/CN=test authority',
    '-keyout',
    'ca.key',
    '-out',
    'ca.pem',
  );
  return {
    ca: join(directory, 'ca.pem'),
    issue(name, extension, days = 2) {
      openssl(
        directory,
        'req',
        ...subject,
        '-subj',
        `/CN=${name}`,
        '-keyout',
        `${name}.key`,
        '-out',
        `${name}.csr`,
      );
      writeFileSync(join(directory, `${name}.ext`), `${extension}\n`);
      const life = ['-days', `${days}`];
      openssl(
        directory,
        'x509',
        '-req',
        '-in',
        `${name}.csr`,
        '-CA',
        'ca.pem',
        '-CAkey',
        'ca.key',
        '-CAcreateserial',
        ...life,
        '-extfile',
        `${name}.ext`,
        '-out',
        `${name}.pem`,
      );
      return { cert: join(directory, `${name}.pem`), key: join(directory, `${name}.key`) };
    },
  };
}

export function readPair({ cert, key }: Pair): { readonly cert: Buffer; readonly key: Buffer } {
  return { cert: readFileSync(cert), key: readFileSync(key) };
}
