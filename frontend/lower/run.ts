/** RUN: what is executed, with which environment, mounts and network. */
import type { SourceRef } from '../../src/base/errors.ts';
import type { Vertex } from '../../src/graph/graph.ts';
import type { RunOp } from '../../src/graph/ops.ts';
import type { InstructionOf } from '../instructions/instruction.ts';
import { heredocText, parseHeredocWord, type Heredoc } from '../parse/lines.ts';
import { syntaxError } from '../parse/source.ts';
import type { CopyInputs } from './copy.ts';
import { shellOf } from './config.ts';
import type { Entitlement } from '../request.ts';
import type { Expander } from './expander.ts';
import { lowerMounts } from './run-mounts.ts';
import { environmentOf, extend, remember, shownText, workdirOf, type StageState } from './stage.ts';

export interface RunDefaults {
  readonly network: 'default' | 'none' | 'host';
  /** Predefined proxy arguments that were given; visible to every RUN without ARG, never part of the key. */
  readonly proxies: ReadonlyMap<string, string>;
  readonly allow: ReadonlySet<Entitlement>;
  /** Begins the ids of cache mounts (BUILDKIT_CACHE_MOUNT_NS). */
  readonly cacheNamespace: string | undefined;
  /** BUILDKIT_SANDBOX_HOSTNAME. */
  readonly hostname: string | undefined;
}

export async function lowerRun(
  stage: StageState,
  instruction: InstructionOf<'RUN'>,
  expand: Expander,
  inputs: CopyInputs,
  defaults: RunDefaults,
): Promise<void> {
  const { raw } = instruction;
  const { args, script } = argsOf(stage, instruction);
  const more: Vertex[] = [];
  const mounts = await lowerMounts(stage, instruction, expand, inputs, more, defaults.cacheNamespace);
  const proxies = [...defaults.proxies].filter(([name]) => !stage.variables.has(name));
  const op: RunOp = {
    kind: 'run',
    args,
    env: [...proxies.map(([name, value]) => `${name}=${value}`), ...environmentOf(stage)],
    volatileEnv: proxies.map(([name]) => name),
    cwd: workdirOf(stage),
    user: stage.config.User ?? '',
    network: networkOf(instruction, defaults),
    security: securityOf(instruction, defaults),
    mounts,
    ...(script === undefined ? {} : { script }),
    ...(defaults.hostname === undefined ? {} : { hostname: defaults.hostname }),
    platform: stage.platform,
  };
  const vertex = extend(stage, op, more, raw, shownText(raw));
  const declared = [...stage.args].map(
    ([name, value]) => `${name}=${stage.variables.get(name) ?? value ?? ''}`,
  );
  const count = declared.length === 0 ? '' : `|${declared.length} ${declared.join(' ')} `;
  remember(stage, `RUN ${count}${args.join(' ')} # buildkit`, vertex);
}

interface RunArgs {
  readonly args: readonly string[];
  readonly script?: { readonly path: string; readonly content: string };
}

function argsOf(stage: StageState, { command, heredocs }: InstructionOf<'RUN'>): RunArgs {
  if (command.form === 'exec') return { args: command.args };
  const shell = shellOf(stage);
  const [only] = heredocs;
  if (only === undefined) return { args: [...shell, command.text] };
  const isAlone = parseHeredocWord(command.text) !== undefined;
  if (!isAlone) return { args: [...shell, `${command.text}\n${heredocs.map(asWritten).join('\n')}`] };
  const content = heredocText(only);
  if (!only.content.startsWith('#!')) return { args: [...shell, content] };
  const path = `/dev/pipes/${only.name}`;
  return { args: [...shell, path], script: { path, content } };
}

/** The shell reads the heredoc itself. */
function asWritten({ content, name }: Heredoc): string {
  return `${content}${name}`;
}

function networkOf({ flags }: InstructionOf<'RUN'>, defaults: RunDefaults): RunOp['network'] {
  const network = flags.text('network');
  if (network === undefined || network === 'default') return defaults.network;
  if (network === 'none') return network;
  if (network === 'host') {
    if (defaults.network !== 'host')
      needEntitlement('network.host', '--network=host', flags.at('network'), defaults);
    return network;
  }
  throw syntaxError(
    'INSTRUCTION_INVALID',
    `invalid network mode ${JSON.stringify(network)}`,
    flags.at('network'),
    'use default, none or host',
  );
}

function securityOf({ flags }: InstructionOf<'RUN'>, defaults: RunDefaults): RunOp['security'] {
  const security = flags.text('security');
  if (security === undefined || security === 'sandbox') return 'sandbox';
  if (security !== 'insecure')
    throw syntaxError(
      'INSTRUCTION_INVALID',
      `invalid security mode ${JSON.stringify(security)}`,
      flags.at('security'),
      'use sandbox or insecure',
    );
  needEntitlement('security.insecure', '--security=insecure', flags.at('security'), defaults);
  return 'insecure';
}

/** What reaches beyond the sandbox is for the user to allow, not for the Dockerfile. */
function needEntitlement(
  entitlement: Entitlement,
  flag: string,
  at: SourceRef,
  { allow }: RunDefaults,
): void {
  if (allow.has(entitlement)) return;
  throw syntaxError(
    'INSTRUCTION_INVALID',
    `RUN ${flag} is not allowed: the entitlement ${entitlement} was not given`,
    at,
    `allow it with --allow ${entitlement}`,
  );
}
