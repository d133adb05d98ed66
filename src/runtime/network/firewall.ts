/**
 * Other firewalls of the host: a packet that our chains accept is lost all the same if another chain of the same
 * hook drops it. docker sets the policy of iptables' FORWARD to DROP; ufw does; firewalld rejects in its zones.
 *
 * Where iptables(8) is there, it is told to let our bridges pass (what may pass them, our own rules decide).
 * Otherwise the user is told.
 */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { BRIDGE_PREFIX } from './interface-names.ts';
import { readChains, type ForeignChain } from './nft/messages.ts';
import { TABLE } from './nft/base-table.ts';

type Outcome =
  | { readonly ok: true; readonly output: string }
  | { readonly ok: false; readonly missing: boolean };
type Run = (program: string, args: readonly string[]) => Promise<Outcome>;

/** Chains as `dumpChains` answers. Returns what was changed, or what the user must do. */
export async function passFirewalls(chains: readonly Buffer[], bridge: string): Promise<readonly string[]> {
  const all = readChains(chains).filter(({ table }) => table !== TABLE);
  const notes: string[] = [];
  for (const chain of all.filter(({ drops }) => drops)) notes.push(...(await passChain(chain)));
  for (const program of ['iptables-legacy', 'ip6tables-legacy']) notes.push(...(await passLegacy(program)));
  if (all.some(({ table }) => table === 'firewalld'))
    notes.push(
      `firewalld is active; if containers reach nothing: firewall-cmd --zone=trusted --change-interface=${bridge}`,
    );
  return notes;
}

const IPTABLES: Readonly<Record<number, string>> = { 2: 'iptables', 10: 'ip6tables' };

async function passChain({ family, table, chain }: ForeignChain): Promise<readonly string[]> {
  const program = IPTABLES[family];
  if (program !== undefined && table === 'filter' && chain === 'FORWARD') {
    const note = await letPass(program, run);
    if (note !== 'missing') return note;
  }
  return [
    `the chain ${JSON.stringify(chain)} of table ${JSON.stringify(table)} drops what is forwarded; ` +
      `let interfaces named ${BRIDGE_PREFIX}* pass it, or containers reach nothing outside`,
  ];
}

/** Rules of the old interface are invisible to nf_tables. */
async function passLegacy(program: string): Promise<readonly string[]> {
  const file = program.startsWith('ip6') ? '/proc/net/ip6_tables_names' : '/proc/net/ip_tables_names';
  if (!read(file).split('\n').includes('filter')) return [];
  const policy = await run(program, ['-w', '-S', 'FORWARD']);
  if (!policy.ok || !policy.output.startsWith('-P FORWARD DROP')) return [];
  const note = await letPass(program, run);
  return note === 'missing' ? [] : note;
}

async function letPass(program: string, call: Run): Promise<readonly string[] | 'missing'> {
  const user = await call(program, ['-w', '-S', 'DOCKER-USER']);
  if (!user.ok && user.missing) return 'missing';
  const chain = user.ok ? 'DOCKER-USER' : 'FORWARD';
  let added = false;
  for (const direction of ['-i', '-o']) {
    const rule = [direction, `${BRIDGE_PREFIX}+`, '-m', 'comment', '--comment', 'tsbuild', '-j', 'ACCEPT'];
    if ((await call(program, ['-w', '-C', chain, ...rule])).ok) continue;
    const inserted = await call(program, ['-w', '-I', chain, '1', ...rule]);
    if (!inserted.ok)
      return [
        `${program} drops what is forwarded and refused a rule for ${BRIDGE_PREFIX}+ in its chain ${chain}`,
      ];
    added = true;
  }
  return added ? [`told ${program} to let interfaces named ${BRIDGE_PREFIX}* pass its chain ${chain}`] : [];
}

function run(program: string, args: readonly string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile(program, args, { timeout: 10_000 }, (error, output) => {
      if (error === null) resolve({ ok: true, output });
      else resolve({ ok: false, missing: error.code === 'ENOENT' });
    });
  });
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
