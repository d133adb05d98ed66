/**
 * The checks: names as BuildKit's, so that `# check=skip=…` lines of existing Dockerfiles keep their meaning.
 *
 * Each has a page, docs/rules/<name in kebab case>.md.
 */

export interface Rule {
  readonly summary: string;
  /** Runs only where it is asked for. */
  readonly experimental?: true;
}

export const RULES = {
  ConsistentInstructionCasing: { summary: 'keywords of a file are all upper-case or all lower-case' },
  CopyIgnoredFile: {
    summary: 'COPY and ADD do not name what the ignore file leaves out',
    experimental: true,
  },
  DuplicateStageName: { summary: 'every stage has a name of its own' },
  ExposeInvalidFormat: { summary: 'EXPOSE names container ports alone: no addresses, no host ports' },
  ExposeProtoCasing: { summary: 'protocols in EXPOSE are lower-case' },
  FromAsCasing: { summary: 'AS is written in the case of FROM' },
  FromPlatformFlagConstDisallowed: { summary: 'FROM --platform takes a variable, not a constant' },
  InvalidBaseImagePlatform: { summary: 'a base image is for the platform that is built' },
  InvalidDefaultArgInFrom: { summary: 'FROM names an image also where every ARG has its default' },
  InvalidDefinitionDescription: {
    summary: 'the comment above an ARG or a named FROM begins with its name',
    experimental: true,
  },
  JSONArgsRecommended: { summary: 'CMD and ENTRYPOINT are written as JSON, so that signals arrive' },
  LegacyKeyValueFormat: { summary: 'ENV and LABEL are written as NAME=VALUE' },
  MaintainerDeprecated: { summary: 'authors are named by a LABEL, not by MAINTAINER' },
  MultipleInstructionsDisallowed: { summary: 'a stage has one CMD, one ENTRYPOINT and one HEALTHCHECK' },
  NoEmptyContinuation: { summary: 'no empty lines within an instruction' },
  RedundantTargetPlatform: { summary: 'FROM --platform=$TARGETPLATFORM says what is the default' },
  ReservedStageName: { summary: 'no stage is called scratch or context' },
  SecretsUsedInArgOrEnv: { summary: 'ARG and ENV hold no secrets: both can be read from the image' },
  StageNameCasing: { summary: 'names of stages are lower-case' },
  UndefinedArgInFrom: { summary: 'variables in FROM are declared by an ARG before the first FROM' },
  UndefinedVar: { summary: 'variables are defined before they are used' },
  WorkdirRelativePath: { summary: 'the first WORKDIR of a stage is absolute' },
} as const satisfies Readonly<Record<string, Rule>>;

export type RuleName = keyof typeof RULES;

export function isRuleName(name: string): name is RuleName {
  return Object.hasOwn(RULES, name);
}

export function ruleOf(name: RuleName): Rule {
  return RULES[name];
}

/** Where a rule is explained, relative to the repository. */
export function rulePage(name: RuleName): string {
  const words = name.replace(/([a-z])([A-Z])/g, '$1-$2').replace(/([A-Z]+)([A-Z][a-z])/g, '$1-$2');
  return `docs/rules/${words.toLowerCase()}.md`;
}
