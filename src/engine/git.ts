/**
 * Git repositories by the system's git: a ref becomes a commit, a commit a directory.
 *
 * Objects are kept in one bare repository per remote, so a commit travels once. A checkout is made in a directory
 * of its own and removed by whoever asked for it. The user's git configuration counts (credentials, insteadOf,
 * proxies), hooks do not.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, type Dirent } from 'node:fs';
import { basename, join } from 'node:path';
import { digestOf, hexOf } from '../base/digest.ts';
import { errnoOf, ioError, TsbuildError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import type { Retention } from '../base/retention.ts';
import { removeTree } from '../base/remove-tree.ts';
import type { GitOp } from '../graph/ops.ts';
import type { GitCheckout, GitSources } from '../solver/exec/git.ts';

export interface GitOptions {
  /** Directory of bare repositories and checkouts. */
  readonly root: string;
  readonly host: Host;
  readonly retention: Retention;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly secret: (id: string) => Promise<Uint8Array | undefined>;
}

const COMMIT = /^[0-9a-f]{40}([0-9a-f]{24})?$/;
const MAX_OUTPUT = 4 << 20;
const LOCK_WAIT_MS = 500;

export function createGitSources(options: GitOptions): GitSources {
  const { root, host, retention } = options;
  const resolved = new Map<string, Promise<string>>();
  const turns = new Map<string, Promise<unknown>>();

  async function resolve(op: GitOp, signal: AbortSignal): Promise<string> {
    const { ref, url } = op;
    if (ref !== undefined && COMMIT.test(ref)) return checkCommit(op, ref);
    const key = `${url} ${ref ?? ''}`;
    const known = resolved.get(key) ?? askRemote(op, signal);
    resolved.set(key, known);
    return checkCommit(op, await known);
  }

  async function askRemote(op: GitOp, signal: AbortSignal): Promise<string> {
    const { url, ref } = op;
    const patterns = ref === undefined ? ['HEAD'] : [ref, `${ref}^{}`];
    const output = await git(op, undefined, ['ls-remote', '--', url, ...patterns], signal);
    const found = new Map(
      output.split('\n').flatMap((line): [string, string][] => {
        const [commit = '', name = ''] = line.split('\t');
        return COMMIT.test(commit) ? [[name, commit]] : [];
      }),
    );
    const names =
      ref === undefined
        ? ['HEAD']
        : [`refs/heads/${ref}`, `refs/tags/${ref}^{}`, `refs/tags/${ref}`, `${ref}^{}`, ref, `refs/${ref}`];
    const commit = names.map((name) => found.get(name)).find((each) => each !== undefined);
    if (commit !== undefined) return commit;
    // A commit that was shortened: only the objects know it.
    if (ref !== undefined && /^[0-9a-f]{7,}$/.test(ref)) return expand(op, ref, signal);
    throw new TsbuildError(
      'CONTEXT_NOT_FOUND',
      `the repository ${shown(url)} has no ${ref === undefined ? 'HEAD' : `ref ${JSON.stringify(ref)}`}`,
      { hint: 'name a branch, a tag or a commit after "#"' },
    );
  }

  async function expand(op: GitOp, short: string, signal: AbortSignal): Promise<string> {
    const repository = await bareRepository(op, signal);
    await git(op, repository, ['fetch', '--quiet', '--tags', op.url, '+refs/heads/*:refs/heads/*'], signal);
    const commit = await git(op, repository, ['rev-parse', '--verify', `${short}^{commit}`], signal);
    return commit.trim();
  }

  async function bareRepository(op: GitOp, signal: AbortSignal): Promise<string> {
    const path = join(root, 'repositories', `${hexOf(digestOf(op.url))}.git`);
    retention.hold('repository', basename(path));
    if (existsSync(path)) {
      retention.touch(path);
      return path;
    }
    const temp = `${path}.${host.unique()}`;
    mkdirSync(temp, { recursive: true, mode: 0o700 });
    await git(op, undefined, ['init', '--quiet', '--bare', temp], signal);
    try {
      renameSync(temp, path);
    } catch (error) {
      // Somebody else was faster.
      removeTree(temp);
      if (!existsSync(path)) throw ioError('make a repository', error);
    }
    return path;
  }

  /** One fetch at a time into one repository: git locks its list of shallow commits, and does not wait. */
  function inTurn<T>(repository: string, work: () => Promise<T>): Promise<T> {
    const mine = (turns.get(repository) ?? Promise.resolve()).then(work);
    turns.set(
      repository,
      mine.catch(() => undefined),
    );
    return mine;
  }

  async function fetchCommit(
    op: GitOp,
    repository: string,
    commit: string,
    signal: AbortSignal,
  ): Promise<void> {
    const has = async (): Promise<boolean> =>
      git(op, repository, ['cat-file', '-e', `${commit}^{tree}`], signal).then(
        () => true,
        () => false,
      );
    if (await has()) return;
    const wanted = [commit, ...(op.ref === undefined || COMMIT.test(op.ref) ? [] : [op.ref])];
    let failure = new TsbuildError(
      'CONTEXT_NOT_FOUND',
      `the repository ${shown(op.url)} has no commit ${commit}`,
    );
    // A server may refuse single commits; then the ref, then everything.
    for (const refspecs of [
      ...wanted.map((each) => ['--depth=1', op.url, each]),
      [op.url, '+refs/*:refs/*'],
    ]) {
      try {
        await git(op, repository, ['fetch', '--quiet', '--no-tags', ...refspecs], signal);
        if (await has()) return;
      } catch (error) {
        if (!(error instanceof TsbuildError)) throw error;
        failure = error;
        // Another process may be fetching into the same repository.
        if (/\.lock/.test(error.message)) await new Promise((done) => setTimeout(done, LOCK_WAIT_MS));
      }
    }
    throw failure;
  }

  async function checkout(op: GitOp, commit: string, signal: AbortSignal): Promise<GitCheckout> {
    const repository = await bareRepository(op, signal);
    await inTurn(repository, () => fetchCommit(op, repository, commit, signal));
    const directory = join(root, 'checkouts', host.unique());
    mkdirSync(directory, { recursive: true, mode: 0o755 });
    const remove = (): void => removeTree(directory);
    try {
      const run = (args: readonly string[]): Promise<string> => git(op, directory, args, signal);
      await run(['init', '--quiet']);
      await run(['fetch', '--quiet', '--depth=1', repository, commit]);
      await run(['checkout', '--quiet', '--detach', 'FETCH_HEAD']);
      await run(['remote', 'add', 'origin', withoutPassword(op.url)]);
      if (op.submodules) await run(['submodule', 'update', '--init', '--recursive', '--depth=1', '--quiet']);
      const time = Number((await run(['log', '-1', '--format=%ct', 'FETCH_HEAD'])).trim());
      if (!op.keepGitDir) removeGitDirectories(directory);
      return { directory, time: Number.isSafeInteger(time) ? time : 0, [Symbol.dispose]: remove };
    } catch (error) {
      remove();
      throw error;
    }
  }

  async function git(
    op: GitOp,
    directory: string | undefined,
    args: readonly string[],
    signal: AbortSignal,
  ): Promise<string> {
    const env = { ...options.env, ...(await credentials(op)), GIT_TERMINAL_PROMPT: '0', LC_ALL: 'C' };
    const config = ['-c', 'core.hooksPath=/dev/null', '-c', 'gc.auto=0', '-c', 'advice.detachedHead=false'];
    return runGit([...config, ...args], { env, directory, signal, url: op.url });
  }

  /** GIT_AUTH_TOKEN and GIT_AUTH_HEADER, also for one host; in the environment, where no other user sees them. */
  async function credentials({ url }: GitOp): Promise<Record<string, string>> {
    const host = /^https?:\/\/(?:[^/@]*@)?([^/]+)/.exec(url)?.[1];
    if (host === undefined) return {};
    const read = async (id: string): Promise<string | undefined> => {
      const value = (await options.secret(`${id}.${host}`)) ?? (await options.secret(id));
      return value === undefined ? undefined : Buffer.from(value).toString('utf8').trim();
    };
    const token = await read('GIT_AUTH_TOKEN');
    const header =
      token === undefined
        ? await read('GIT_AUTH_HEADER')
        : `basic ${Buffer.from(`x-access-token:${token}`).toString('base64')}`;
    if (header === undefined) return {};
    const origin = /^https?:\/\/[^/]+/.exec(url)?.[0] ?? url;
    return {
      GIT_CONFIG_COUNT: '1',
      GIT_CONFIG_KEY_0: `http.${origin.replace(/\/\/[^/@]*@/, '//')}/.extraheader`,
      GIT_CONFIG_VALUE_0: `Authorization: ${header}`,
    };
  }

  return { resolve, checkout };
}

function checkCommit({ checksum, url }: GitOp, commit: string): string {
  if (checksum === undefined || commit.startsWith(checksum)) return commit;
  throw new TsbuildError(
    'DIGEST_MISMATCH',
    `the ref of ${shown(url)} is commit ${commit}, not ${checksum} as the checksum wants`,
  );
}

interface GitRun {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly directory: string | undefined;
  readonly signal: AbortSignal;
  readonly url: string;
}

function runGit(args: readonly string[], { env, directory, signal, url }: GitRun): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn('git', args, {
      env,
      signal,
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(directory === undefined ? {} : { cwd: directory }),
    });
    let [output, errors] = ['', ''];
    const keep = (text: string, chunk: Buffer): string =>
      text.length > MAX_OUTPUT ? text : text + chunk.toString('utf8');
    child.stdout.on('data', (chunk: Buffer) => (output = keep(output, chunk)));
    child.stderr.on('data', (chunk: Buffer) => (errors = keep(errors, chunk)));
    child.on('error', (error) => {
      if (signal.aborted) reject(error);
      else if (errnoOf(error) === 'ENOENT')
        reject(
          new TsbuildError('CONTEXT_NOT_FOUND', 'cannot run git, which git sources need', {
            cause: error,
            hint: 'install the package git',
          }),
        );
      else reject(ioError('run git', error));
    });
    child.on('close', (code) => {
      if (code === 0) resolve(output);
      else
        reject(
          new TsbuildError('CONTEXT_NOT_FOUND', `git cannot read ${shown(url)}: ${lastLine(errors)}`, {
            hint: 'look at the address, the ref and the credentials (--secret id=GIT_AUTH_TOKEN,env=…, or --ssh)',
          }),
        );
    });
  });
}

function lastLine(text: string): string {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  const telling =
    lines.findLast((line) => /^(fatal|error|remote):/.test(line)) ?? lines.at(-1) ?? 'no reason given';
  return telling.replace(/:\/\/[^/@\s]*@/g, '://***@');
}

function withoutPassword(url: string): string {
  return url.replace(/^(https?:\/\/)[^/@]*@/, '$1');
}

function shown(url: string): string {
  return JSON.stringify(url.replace(/:\/\/[^/@]*@/, '://***@'));
}

/** A repository's own, and the marks that its submodules leave. */
function removeGitDirectories(directory: string): void {
  const visit = (path: string, entries: readonly Dirent[]): void => {
    for (const entry of entries) {
      const child = join(path, entry.name);
      if (entry.name === '.git') removeTree(child);
      else if (entry.isDirectory()) visit(child, readdirSync(child, { withFileTypes: true }));
    }
  };
  visit(directory, readdirSync(directory, { withFileTypes: true }));
}
