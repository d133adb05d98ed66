/** The end of a bench: its directory, and what the host has of state roots that lay there. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Bridges stay until another state root finds that theirs is gone. */
export function removePlace(directory: string, cli: string): void {
  rmSync(directory, { recursive: true, force: true });
  const root = mkdtempSync(join(tmpdir(), 'tsbuild-bench-'));
  spawnSync(cli, ['--root', root, 'system', 'check'], { stdio: 'ignore' });
  rmSync(root, { recursive: true, force: true });
}
