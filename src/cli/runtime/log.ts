/** The log of the OCI command line: to standard error or a file, as text or JSON lines, as engines parse them. */
import { appendFileSync } from 'node:fs';

export type Level = 'debug' | 'info' | 'warning' | 'error';

export interface RuntimeLog {
  write(level: Level, message: string): void;
  /**
   * An error that ends the program: to the log, and to standard error where that is another place. `plain`: it is the
   * program of the container that says so, which writes lines of no log.
   */
  fatal(message: string, how?: { readonly plain: boolean }): void;
}

export interface LogOptions {
  readonly file: string | undefined;
  readonly format: string;
  readonly debug: boolean;
  readonly now: () => string;
  readonly stderr: { write(text: string): unknown };
}

export function openLog({ file, format, debug, now, stderr }: LogOptions): RuntimeLog {
  const toFile = file !== undefined && file !== '' && file !== '/dev/stderr';
  const write = (level: Level, message: string): void => {
    if (level === 'debug' && !debug) return;
    const line =
      format === 'json'
        ? JSON.stringify({ level, msg: message, time: now() })
        : `time="${now()}" level=${level} msg=${JSON.stringify(message)}`;
    if (toFile) appendFileSync(file, `${line}\n`, { mode: 0o644 });
    else stderr.write(`${line}\n`);
  };
  return {
    write,
    fatal(message, how = { plain: false }) {
      if (toFile || !how.plain) write('error', message);
      if (toFile || how.plain) stderr.write(`${message}\n`);
    },
  };
}
