/** The command line: parses, runs one command, renders what went wrong. Alone here everything is caught. */
import { TsbuildError } from '../base/errors.ts';
import { suggest } from '../base/suggest.ts';
import { actionsOf, findCommand, type CommandEntry } from './command.ts';
import { COMMANDS } from './commands.ts';
import { compose } from './compose.ts';
import { readConfiguration } from './configuration.ts';
import { helpText, parseFlags } from './flags.ts';
import { BROKEN_PIPE, createOutput, type Output } from './output.ts';

const VERSION = '0.1.0';

function overview(): string {
  const rows = COMMANDS.filter(({ hidden }) => hidden !== true).map(
    ({ spec }) => `  ${spec.name.padEnd(15)} ${spec.summary}`,
  );
  return `Usage: tsbuild [COMMAND] [OPTIONS] …\n\n  tsbuild -t IMAGE .        build the Dockerfile in this directory\n  tsbuild run IMAGE         run the result\n\nCommands:\n${rows.join('\n')}\n\nExit codes: 0 ok, 1 failed, 2 wrong usage, 3 not cached (--assert-cached), 130 interrupted; registries: 10 not allowed, 11 not found,\n  12 not reachable, 13 damaged bytes, 14 refused\n\nsee "tsbuild COMMAND --help"\n`;
}

interface Chosen {
  readonly entry: CommandEntry;
  readonly rest: readonly string[];
}

/** `tsbuild -t img .` is `tsbuild build -t img .`; global flags may stand before the command. */
function choose(argv: readonly string[]): Chosen {
  const build = find('build');
  let at = 0;
  while (argv[at]?.startsWith('-') === true) {
    const word = argv[at] ?? '';
    if (!/^--(root|storage-max|storage-driver|insecure-registry|registry-ca|debug)(=|$)/.test(word))
      return { entry: build, rest: argv };
    at += word.includes('=') || word === '--debug' ? 1 : 2;
  }
  const name = argv[at];
  const found = findCommand(COMMANDS, name, argv[at + 1]);
  if (found !== undefined)
    return { entry: found.entry, rest: [...argv.slice(0, at), ...argv.slice(at + found.words)] };
  const actions = actionsOf(COMMANDS, name);
  if (actions.length > 0)
    throw new TsbuildError('USAGE', `"tsbuild ${name ?? ''}" needs to know what to do`, {
      hint: `use one of ${actions.join(', ')}`,
    });
  // A path is a build context; a bare word that is nearly a command is a typing error.
  const near =
    name === undefined || /[./]/.test(name)
      ? undefined
      : suggest(
          name,
          COMMANDS.map(({ spec }) => spec.name),
        );
  if (near !== undefined)
    throw new TsbuildError('USAGE', `unknown command ${JSON.stringify(name)}`, {
      hint: `did you mean "tsbuild ${near}"?`,
    });
  return { entry: build, rest: argv };
}

function find(name: string): CommandEntry {
  const entry = COMMANDS.find(({ spec }) => spec.name === name);
  if (entry === undefined) throw new RangeError(name);
  return entry;
}

async function main(argv: readonly string[], output: Output): Promise<number> {
  const [first] = argv;
  if (
    first === undefined ||
    first === '--help' ||
    first === '-h' ||
    (first === 'help' && argv[1] === undefined)
  ) {
    output.stdout.write(overview());
    return first === undefined ? 2 : 0;
  }
  if (first === '--version' || first === 'version' || first === '-V') {
    output.stdout.write(`tsbuild ${VERSION}\n`);
    return 0;
  }
  const { entry, rest } =
    first === 'help'
      ? {
          entry: findCommand(COMMANDS, argv[1] ?? 'build', argv[2])?.entry ?? find('build'),
          rest: ['--help'],
        }
      : choose(argv);
  const flags = parseFlags(entry.spec, rest);
  if (flags.has('help')) {
    output.stdout.write(helpText(entry.spec));
    return 0;
  }
  await using composed = compose(flags, VERSION, await readConfiguration(process.env), output);
  return await entry.run(flags, composed.session);
}

/** Carries a command line out; how it ended is the process's exit code. */
export async function program(argv: readonly string[]): Promise<void> {
  const output = createOutput();
  let code: number;
  try {
    code = await main(argv, output);
  } catch (error) {
    code = await fail(error, argv, output);
  }
  process.exitCode = code;
  const broken = (): void => void (process.exitCode = BROKEN_PIPE);
  if (output.isBroken) broken();
  // The last that was written may turn out to be read by nobody only now.
  else output.signal.addEventListener('abort', broken);
}

async function fail(error: unknown, argv: readonly string[], { stderr, isBroken }: Output): Promise<number> {
  const { renderError, exitCodeOf } = await import('./render/error.ts');
  // It ended early for want of a reader.
  if (isBroken) return BROKEN_PIPE;
  const color = stderr.isTTY && process.env['NO_COLOR'] === undefined;
  stderr.write(renderError(error, { color, debug: argv.includes('--debug') }));
  return exitCodeOf(error);
}
