/** Instructions that change the image's config and nothing in its files. */
import type { InstructionOf } from '../instructions/instruction.ts';
import { formatDuration } from '../instructions/healthcheck.ts';
import { refAt, syntaxError } from '../parse/source.ts';
import type { Expander } from './expander.ts';
import { remember, setEnv, setVariable, warn, type StageState } from './stage.ts';

const DEFAULT_SHELL = ['/bin/sh', '-c'];

export function shellOf(stage: StageState): readonly string[] {
  return stage.config.Shell ?? DEFAULT_SHELL;
}

export function lowerEnv(
  stage: StageState,
  instruction: InstructionOf<'ENV' | 'LABEL'>,
  expand: Expander,
): void {
  if (instruction.legacy)
    warn(
      stage,
      'LegacyKeyValueFormat',
      `"${instruction.kind} key=value" should be used instead of "${instruction.kind} key value"`,
      refAt(instruction.raw),
    );
  // The whole instruction sees the variables from before it.
  const pairs = instruction.pairs.map(({ name, value }) => ({
    name: expand.word(name),
    value: expand.word(value),
  }));
  if (instruction.kind === 'LABEL') {
    const labels = { ...stage.config.Labels };
    for (const { name, value } of pairs) labels[name] = value;
    stage.config.Labels = labels;
  } else
    for (const { name, value } of pairs) {
      stage.config.Env = setEnv(stage.config.Env ?? [], name, value);
      setVariable(stage, name, value);
    }
  remember(stage, `${instruction.kind} ${pairs.map(({ name, value }) => `${name}=${value}`).join(' ')}`);
}

export function lowerCommand(
  stage: StageState,
  { kind, command }: InstructionOf<'CMD' | 'ENTRYPOINT'>,
): void {
  const args =
    command.form === 'exec' ? command.args : command.text === '' ? [] : [...shellOf(stage), command.text];
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

/** As Go's %q prints a string. */
function goQuote(text: string): string {
  return JSON.stringify(text);
}

export function lowerShell(stage: StageState, { args }: InstructionOf<'SHELL'>): void {
  stage.config.Shell = args;
  remember(stage, `SHELL [${args.join(' ')}]`);
}

export function lowerUser(stage: StageState, text: string): void {
  stage.config.User = text;
  remember(stage, `USER ${text}`);
}

export function lowerVolume(
  stage: StageState,
  { words, raw }: InstructionOf<'EXPOSE' | 'VOLUME'>,
  expand: Expander,
): void {
  const volumes = words.map((word) => expand.word(word).trim());
  if (volumes.includes(''))
    throw syntaxError('INSTRUCTION_INVALID', 'a VOLUME can not be an empty string', refAt(raw));
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
  const number = Number(text);
  const name = text.toUpperCase().replace(/^SIG/, '');
  const isName =
    SIGNALS.has(name) || /^RTMIN\+([1-9]|[12][0-9]|30)$/.test(name) || /^RTMAX-([1-9]|1[0-4])$/.test(name);
  const isNumber = /^\d+$/.test(text) && number >= 1 && number <= 64;
  if (!isName && !isNumber)
    throw syntaxError(
      'INSTRUCTION_INVALID',
      `invalid signal ${JSON.stringify(text)}`,
      refAt(instruction.raw),
      'write e.g. SIGTERM or 15',
    );
  stage.config.StopSignal = text;
  remember(stage, `STOPSIGNAL ${text}`);
}

export function lowerHealthcheck(stage: StageState, { healthcheck }: InstructionOf<'HEALTHCHECK'>): void {
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

const PORT = /^(?:(?:\[[^\]]*\]|[^:]*):)?(?:(\d*(?:-\d+)?):)?(\d+)(?:-(\d+))?(?:\/([a-z]+))?$/i;

export function lowerExpose(
  stage: StageState,
  { words, raw }: InstructionOf<'EXPOSE' | 'VOLUME'>,
  expand: Expander,
): void {
  const expanded = words.flatMap((word) => expand.words(word)).sort();
  const ports = expanded.flatMap((word) =>
    portsOf(word, (message) =>
      syntaxError('INSTRUCTION_INVALID', message, refAt(raw), 'write e.g. 80, 80/udp or 8000-8010'),
    ),
  );
  stage.config.ExposedPorts = {
    ...stage.config.ExposedPorts,
    ...Object.fromEntries(ports.map((port) => [port, {}])),
  };
  remember(stage, `EXPOSE [${ports.join(' ')}]`);
}

function portsOf(word: string, fail: (message: string) => Error): readonly string[] {
  const [, , first, last, proto = 'tcp'] = PORT.exec(word) ?? [];
  const from = Number(first);
  const to = last === undefined ? from : Number(last);
  const protocol = proto.toLowerCase();
  if (first === undefined) throw fail(`invalid port ${JSON.stringify(word)}`);
  if (!['tcp', 'udp', 'sctp'].includes(protocol))
    throw fail(`invalid protocol ${JSON.stringify(proto)} in ${JSON.stringify(word)}`);
  if (from > 65535 || to > 65535 || to < from) throw fail(`invalid port ${JSON.stringify(word)}`);
  return Array.from({ length: to - from + 1 }, (_, index) => `${from + index}/${protocol}`);
}
