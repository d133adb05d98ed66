/** `tsbuild login` and `logout`: credentials are checked before they are kept. */
import { TsbuildError } from '../../base/errors.ts';
import type { Notice } from '../../content/roles.ts';
import { storeCredentials } from '../../registry/keychain.ts';
import type { ParsedFlags } from '../flags.ts';
import type { Session } from '../session.ts';
import { askTerminal } from './ask-terminal.ts';

export async function runLogin(flags: ParsedFlags, session: Session): Promise<number> {
  const registry = registryOf(flags);
  const client = await session.engine().registry();
  const warn = ({ kind, ...notice }: Notice): void => {
    if (kind === 'warning' && 'text' in notice) session.stderr.write(`WARN: ${notice.text}\n`);
  };
  const io = { signal: session.signal, onNotice: warn };
  if (flags.boolean('check')) {
    const from = await client.checkLogin(registry, undefined, io);
    session.stdout.write(
      from === undefined
        ? `${registry} lets us in without credentials\n`
        : `${registry} takes the credentials of ${from}\n`,
    );
    return 0;
  }
  const fromStdin = flags.boolean('password-stdin');
  const ask = (question: string, isSecret: boolean): Promise<string> | undefined =>
    session.stdin.isTTY && !fromStdin ? askTerminal(session, question, isSecret) : undefined;
  const username = flags.text('username') ?? (await ask('Username: ', false));
  if (username === undefined || username === '')
    throw new TsbuildError('USAGE', 'login needs a user name', { hint: 'give it with -u NAME' });
  const password = fromStdin
    ? await readPassword(session)
    : (flags.text('password') ?? (await ask('Password: ', true)));
  if (password === undefined || password === '')
    throw new TsbuildError('USAGE', 'login needs a password', { hint: 'give it with --password-stdin' });
  await client.checkLogin(registry, { username, password }, io);
  await storeCredentials(await configFile(session), registry, { username, password }, session.host);
  session.stdout.write('Login Succeeded\n');
  return 0;
}

export async function runLogout(flags: ParsedFlags, session: Session): Promise<number> {
  const registry = registryOf(flags);
  const removed = await storeCredentials(await configFile(session), registry, undefined, session.host);
  session.stdout.write(
    removed ? `Removing login credentials for ${registry}\n` : `Not logged in to ${registry}\n`,
  );
  return 0;
}

function registryOf(flags: ParsedFlags): string {
  return (flags.words[0] ?? 'docker.io').replace(/^https?:\/\//, '').replace(/\/.*$/, '');
}

async function configFile({ registrySettings }: Session): Promise<string> {
  const [file] = (await registrySettings()).configFiles;
  if (file === undefined)
    throw new TsbuildError('CONFIG_INVALID', 'there is no place to keep credentials in');
  return file;
}

/** One trailing line break does not belong to it, nor does a byte order mark. */
async function readPassword({ stdin }: Session): Promise<string> {
  let text = '';
  for await (const chunk of stdin) text += String(chunk);
  return text.replace(/^\uFEFF/, '').replace(/\r?\n$/, '');
}
