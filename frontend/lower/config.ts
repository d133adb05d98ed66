/** Instructions that change the image's config and nothing in its files. */
import { narrow, type SourceRef } from '../../src/base/errors.ts';
import { suggest } from '../../src/base/suggest.ts';
import type { InstructionOf } from '../instructions/instruction.ts';
import { formatDuration } from '../instructions/healthcheck.ts';
import { refAt, syntaxError } from '../parse/source.ts';
import type { Expander } from './expander.ts';
import { looksSecret } from '../lint/secret-names.ts';
import { goQuote } from '../go-quote.ts';
import { parsePort } from './ports.ts';
import { noteSetting, remember, setEnv, setVariable, usedOnce, type StageState } from './stage.ts';

/** Every port of every protocol. */
const MAX_PORTS = 3 * 65536;
const DEFAULT_SHELL = ['/bin/sh', '-c'];

export function shellOf(stage: StageState): readonly string[] {
  return stage.config.Shell ?? DEFAULT_SHELL;
}

export function lowerEnv(
  stage: StageState,
  instruction: InstructionOf<'ENV' | 'LABEL'>,
  expand: Expander,
): void {
  const at = refAt(instruction.raw);
  if (instruction.legacy)
    stage.linter.report(
      'LegacyKeyValueFormat',
      `write "${instruction.raw.keywordText} NAME=VALUE" instead of "${instruction.raw.keywordText} NAME VALUE"`,
      at,
    );
  // The whole instruction sees the variables from before it.
  const pairs = instruction.pairs.map(({ name, value }) => ({
    name: expand.word(name),
    value: expand.word(value),
    written: value,
  }));
  if (instruction.kind === 'LABEL') {
    // why: by entries, an assignment would lose a label that is called __proto__.
    stage.config.Labels = Object.fromEntries([
      ...Object.entries(stage.config.Labels ?? {}),
      ...pairs.map(({ name, value }) => [name, value] as const),
    ]);
  } else
    for (const { name, value, written } of pairs) {
      reportSecret(stage, 'ENV', name, at);
      stage.config.Env = setEnv(stage.config.Env ?? [], name, value);
      setVariable(stage, name, value, written);
    }
  remember(stage, `${instruction.kind} ${pairs.map(({ name, value }) => `${name}=${value}`).join(' ')}`);
}

/** ARG and ENV can be read from every image. */
export function reportSecret(stage: StageState, kind: 'ARG' | 'ENV', name: string, at: SourceRef): void {
  if (looksSecret(name))
    stage.linter.report(
      'SecretsUsedInArgOrEnv',
      `${kind} ${JSON.stringify(name)} looks like a secret, and stays readable in the image: use RUN --mount=type=secret`,
      at,
    );
}

export function lowerCommand(
  stage: StageState,
  { kind, command, raw }: InstructionOf<'CMD' | 'ENTRYPOINT'>,
): void {
  usedOnce(stage, kind, refAt(raw));
  const args = command.form === 'exec' ? command.args : [...shellOf(stage), command.text];
  if (command.form === 'shell' && stage.config.Shell === undefined)
    stage.linter.report(
      'JSONArgsRecommended',
      `${kind} in shell form does not hand on signals: write ${kind} ["program", "argument"]`,
      refAt(raw),
    );
  if (kind === 'CMD') {
    stage.config.Cmd = args;
    stage.config.ArgsEscaped = true;
    stage.cmdSet = true;
  } else {
    stage.config.Entrypoint = args;
    // A new entry point does not fit what the base wanted it to be called with.
    if (!stage.cmdSet) delete stage.config.Cmd;
  }
  remember(stage, `${kind} [${args.map((arg) => goQuote(arg)).join(' ')}]`);
}

export function lowerShell(stage: StageState, { args }: InstructionOf<'SHELL'>): void {
  stage.config.Shell = args;
  stage.inherited.delete('SHELL');
  remember(stage, `SHELL [${args.join(' ')}]`);
}

export function lowerUser(stage: StageState, text: string, written: string): void {
  noteSetting(stage, 'USER', written);
  stage.config.User = text;
  remember(stage, `USER ${text}`);
}

export function lowerVolume(
  stage: StageState,
  { words, raw }: InstructionOf<'EXPOSE' | 'VOLUME'>,
  expand: Expander,
): void {
  const volumes = words.map((word) => {
    const volume = expand.word(word);
    if (volume === '')
      throw syntaxError(
        'INSTRUCTION_INVALID',
        `the VOLUME ${JSON.stringify(word)} is empty after expansion`,
        narrow(refAt(raw), word),
        'write the path of a directory',
      );
    return volume;
  });
  stage.config.Volumes = {
    ...stage.config.Volumes,
    ...Object.fromEntries(volumes.map((volume) => [volume, {}])),
  };
  remember(stage, `VOLUME [${volumes.join(' ')}]`);
}

const SIGNALS = new Set(
  `ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP TSTP
TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX`.split(/\s+/),
);

export function lowerStopSignal(
  stage: StageState,
  text: string,
  instruction: InstructionOf<'STOPSIGNAL'>,
): void {
  const name = text.toUpperCase().replace(/^SIG/, '');
  const isName =
    SIGNALS.has(name) || /^RTMIN\+([1-9]|1[0-5])$/.test(name) || /^RTMAX-([1-9]|1[0-4])$/.test(name);
  // Whether there is such a number is for the machine to say that runs the image.
  const isNumber = /^[+-]?\d+$/.test(text);
  const near = isNumber ? undefined : suggest(name, SIGNALS);
  if (!isName && (!isNumber || Number(text) === 0))
    throw syntaxError(
      'INSTRUCTION_INVALID',
      `invalid signal ${JSON.stringify(text)}`,
      narrow(refAt(instruction.raw), instruction.text),
      near === undefined ? 'write e.g. SIGTERM or 15' : `did you mean SIG${near}?`,
    );
  stage.config.StopSignal = text;
  remember(stage, `STOPSIGNAL ${text}`);
}

export function lowerHealthcheck(
  stage: StageState,
  { healthcheck, raw }: InstructionOf<'HEALTHCHECK'>,
): void {
  usedOnce(stage, 'HEALTHCHECK', refAt(raw));
  stage.config.Healthcheck = healthcheck;
  const {
    Test = [],
    Interval = 0,
    Timeout = 0,
    StartPeriod = 0,
    StartInterval = 0,
    Retries = 0,
  } = healthcheck;
  const times = `Interval:${formatDuration(Interval)} Timeout:${formatDuration(Timeout)} StartPeriod:${formatDuration(StartPeriod)} StartInterval:${formatDuration(StartInterval)}`;
  remember(stage, `HEALTHCHECK {Test:[${Test.join(' ')}] ${times} Retries:${Retries}}`);
}

export function lowerExpose(
  stage: StageState,
  { words, raw }: InstructionOf<'EXPOSE' | 'VOLUME'>,
  expand: Expander,
): void {
  const at = refAt(raw);
  // Words are sorted as they are written, so a variable comes before every number.
  const expanded = words
    .toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0))
    .flatMap((word) => expand.words(word).map((text) => ({ text, at: narrow(at, word) })));
  const ports: string[] = [];
  for (const word of expanded) {
    for (const port of parsePort(word.text, word.at, stage.linter)) ports.push(port);
    if (ports.length > MAX_PORTS)
      throw syntaxError('INSTRUCTION_INVALID', `more than ${MAX_PORTS} ports are exposed`, at);
  }
  const before = stage.config.ExposedPorts ?? {};
  const added = ports.filter((port) => !Object.hasOwn(before, port));
  if (added.length > 0)
    stage.config.ExposedPorts = { ...before, ...Object.fromEntries(added.map((port) => [port, {}])) };
  remember(stage, `EXPOSE [${ports.join(' ')}]`);
}
