/**
 * A value for a cgroup file, as data: where it comes from in the config, and which controller holds the file; whether
 * that one is v1 or v2 is the machine's affair.
 */
export interface FileValue {
  /** As in `linux.resources`: `memory.limit`. */
  readonly subject: string;
  /** By its v1 name. */
  readonly controller: string;
  /** File and value; the first whose file is there counts. */
  readonly choices: readonly (readonly [file: string, value: string])[];
  /** Lost without harm where the kernel has no such file. */
  readonly optional?: boolean;
}

export type VersionOf = (controller: string) => 1 | 2 | undefined;

export function value(
  subject: string,
  controller: string,
  ...choices: readonly (readonly [string, string | number])[]
): FileValue {
  return { subject, controller, choices: choices.map(([file, text]) => [file, `${text}`] as const) };
}
