/** All rules of a machine, in the order in which they count. Missing files say nothing. */
import type { RegistryRule } from '../rules.ts';
import { readDaemonJson } from './daemon-json.ts';
import { readHostsToml } from './hosts-toml.ts';
import { readOwnFile } from './own-file.ts';
import { readRegistriesConf } from './registries-conf.ts';

export interface RuleFiles {
  /** tsbuild's registries.json, the first that exists counts most. */
  readonly own: readonly string[];
  readonly registriesConf: readonly string[];
  /** Directories with HOST/hosts.toml. */
  readonly hostsToml: readonly string[];
  readonly daemonJson: readonly string[];
}

export async function readRules(
  flags: readonly RegistryRule[],
  files: RuleFiles,
): Promise<readonly RegistryRule[]> {
  const rules: RegistryRule[] = mergeFlags(flags);
  for (const path of files.own) rules.push(...readOwnFile(path));
  for (const path of files.registriesConf) {
    const found = await readRegistriesConf(path);
    rules.push(...found);
    // containers reads the user's file instead of the system's.
    if (found.length > 0) break;
  }
  for (const directory of files.hostsToml) rules.push(...(await readHostsToml(directory)));
  for (const path of files.daemonJson) {
    const { rules: mirrors, insecure } = readDaemonJson(path);
    rules.push(...mirrors, ...insecure.filter(isName).map((prefix) => insecureRule(path, prefix)));
  }
  return rules;
}

/** Several mirrors of one registry are one rule. */
function mergeFlags(flags: readonly RegistryRule[]): RegistryRule[] {
  const merged = new Map<string, RegistryRule>();
  for (const rule of flags) {
    const before = merged.get(rule.prefix);
    merged.set(rule.prefix, { ...rule, mirrors: [...(before?.mirrors ?? []), ...rule.mirrors] });
  }
  return [...merged.values()];
}

/** Ranges of addresses go with the flags, see compose. */
function isName(text: string): boolean {
  return !text.includes('/');
}

function insecureRule(path: string, prefix: string): RegistryRule {
  return { origin: `${path} ${prefix}`, prefix, mirrors: [], isInsecure: true };
}
