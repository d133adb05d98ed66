/**
 * Users and groups by name, from an image's own passwd and group: USER, COPY --chown, WORKDIR.
 *
 * The files are hostile: lines that do not parse are skipped, numbers are bounded, nothing is followed.
 *
 * Source: OCI image-spec v1.1.1, config.md, "User"; passwd(5), group(5).
 */
import { TsbuildError } from '../base/errors.ts';
import { suggest } from '../base/suggest.ts';

export interface OwnerFileTexts {
  readonly passwd?: string;
  readonly group?: string;
}

export interface ResolvedRunUser {
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids: readonly number[];
  /** Of passwd; `/` where the user is not in it. */
  readonly home: string;
}

interface PasswdEntry {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

interface GroupEntry {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

const MAX_ID = 0xfffffffe;

function parseId(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,10}$/.test(text)) return undefined;
  const id = Number(text);
  return id <= MAX_ID ? id : undefined;
}

function parsePasswd(text: string | undefined): readonly PasswdEntry[] {
  return (text ?? '').split('\n').flatMap((line) => {
    const [name, , uidText, gidText, , home] = line.split(':');
    const [uid, gid] = [parseId(uidText), parseId(gidText)];
    return name === undefined || name === '' || uid === undefined || gid === undefined
      ? []
      : [{ name, uid, gid, home: home ?? '' }];
  });
}

function parseGroup(text: string | undefined): readonly GroupEntry[] {
  return (text ?? '').split('\n').flatMap((line) => {
    const [name, , gidText, members] = line.split(':');
    const gid = parseId(gidText);
    if (name === undefined || name === '' || gid === undefined) return [];
    return [{ name, gid, members: (members ?? '').split(',').filter((member) => member !== '') }];
  });
}

/** Who a process runs as. Throws USER_NOT_FOUND for a name that the image does not know. */
export function resolveRunUser(text: string, files: OwnerFileTexts): ResolvedRunUser {
  const [userText = '', groupText] = text.split(':', 2);
  const passwd = parsePasswd(files.passwd);
  const id = userText === '' ? 0 : parseId(userText);
  const entry = passwd.find((each) => each.name === userText) ?? passwd.find((each) => each.uid === id);
  if (entry === undefined && id === undefined)
    throw new TsbuildError(
      'USER_NOT_FOUND',
      `unable to find user ${JSON.stringify(userText)}: no matching entries in passwd file`,
      {
        hint: createHint('useradd (adduser)', userText, passwd),
      },
    );
  const groups = parseGroup(files.group);
  const uid = entry?.uid ?? id ?? 0;
  const home = entry === undefined ? (uid === 0 ? '/root' : '/') : entry.home === '' ? '/' : entry.home;
  if (groupText !== undefined && groupText !== '') {
    const gid = requireGroup(groupText, groups);
    return { uid, gid, additionalGids: [gid], home };
  }
  const additionalGids =
    entry === undefined
      ? []
      : groups.filter((each) => each.members.includes(entry.name)).map((each) => each.gid);
  // why: without its own group among them, a process could escape a group's "no" by setgroups (CVE-2023-25173).
  const gid = entry?.gid ?? 0;
  return { uid, gid, additionalGids: [...new Set([gid, ...additionalGids])], home };
}

/** Further groups by name or number (`--group-add`). Throws USER_NOT_FOUND. */
export function resolveGroups(names: readonly string[], files: OwnerFileTexts): readonly number[] {
  const groups = parseGroup(files.group);
  return names.map((name) => requireGroup(name, groups));
}

function createHint(command: string, name: string, known: readonly { readonly name: string }[]): string {
  const near = suggest(
    name,
    known.map((each) => each.name),
  );
  if (near !== undefined) return `did you mean ${JSON.stringify(near)}?`;
  return `create it with RUN ${command} before USER, or use a number`;
}

function requireGroup(text: string, groups: readonly GroupEntry[]): number {
  const gid = groups.find((each) => each.name === text)?.gid ?? parseId(text);
  if (gid !== undefined) return gid;
  throw new TsbuildError(
    'USER_NOT_FOUND',
    `unable to find group ${JSON.stringify(text)}: no matching entries in group file`,
    {
      hint: createHint('groupadd (addgroup)', text, groups),
    },
  );
}

export interface Ownership {
  readonly uid: number;
  readonly gid: number;
}

/**
 * Owner of copied files (`--chown=user[:group]`). Names that the image does not know become 0, and `unknown` is
 * told of each; without any passwd a name is an error (COPY_OWNER_UNKNOWN), as there is nothing to look it up in.
 */
export function resolveOwner(
  owner: { readonly user: string; readonly group?: string },
  files: OwnerFileTexts,
  unknown: (kind: 'user' | 'group', name: string) => void,
): Ownership {
  const passwd = parsePasswd(files.passwd);
  const groups = parseGroup(files.group);
  const id = owner.user === '' ? 0 : parseId(owner.user);
  const entry = passwd.find((each) => each.name === owner.user);
  if (id === undefined && entry === undefined) {
    if (files.passwd === undefined && owner.user !== 'root')
      throw new TsbuildError(
        'COPY_OWNER_UNKNOWN',
        `cannot look up user ${JSON.stringify(owner.user)}: the image has no /etc/passwd`,
        {
          hint: 'use numbers, e.g. --chown=1000:1000',
          word: owner.user,
        },
      );
    if (owner.user !== 'root') unknown('user', owner.user);
  }
  const uid = id ?? entry?.uid ?? 0;
  if (owner.group === undefined) return { uid, gid: entry?.gid ?? id ?? 0 };
  if (owner.group === '') return { uid, gid: 0 };
  const gid = parseId(owner.group) ?? groups.find((each) => each.name === owner.group)?.gid;
  if (gid === undefined && owner.group !== 'root') {
    if (files.group === undefined)
      throw new TsbuildError(
        'COPY_OWNER_UNKNOWN',
        `cannot look up group ${JSON.stringify(owner.group)}: the image has no /etc/group`,
        {
          hint: 'use numbers, e.g. --chown=1000:1000',
          word: `${owner.user}:${owner.group}`,
        },
      );
    unknown('group', owner.group);
  }
  return { uid, gid: gid ?? 0 };
}

/** Owner of the directories that WORKDIR makes: the current USER; names that are not known mean root. */
export function resolveWorkdirUser(
  text: string,
  files: OwnerFileTexts,
  unknown: (name: string) => void,
): Ownership {
  try {
    const { uid, gid } = resolveRunUser(text, files);
    return { uid, gid };
  } catch {
    unknown(text);
    return { uid: 0, gid: 0 };
  }
}
