import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, lstatSync, mkdirSync, readFileSync, readlinkSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ServerError } from './server-error';

/**
 * Postgres refuses to run as root, and root is common in containers. It then runs as another user, which may not enter
 * every directory that root may (a checkout below /root, mode 0700). What it cannot reach moves here.
 */
const SYSTEM_DIR = '/var/lib/dippy-studio';

/** `nobody` of every Linux distribution, when the distribution's `postgres` user does not exist. */
const NOBODY = { uid: 65534, gid: 65534 };

export interface User {
  uid: number;
  gid: number;
}

export function runningAsRoot(): boolean {
  return process.getuid?.() === 0;
}

/** The user for a server whose data lies (or will lie) in `dir`: the owner of the data, else `postgres`, else nobody. */
export function unprivilegedUser(dir: string): User {
  const owner = statSync(dir, { throwIfNoEntry: false });
  if (owner && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid };
  const entry = /^postgres:[^:]*:(\d+):(\d+):/m.exec(readFileSync('/etc/passwd', 'utf8'));
  return entry ? { uid: Number(entry[1]), gid: Number(entry[2]) } : NOBODY;
}

/** Whether `user` may read and enter `path`, asked of the kernel: modes alone do not tell (lists, mounts). */
export function canRead(path: string, user: User): boolean {
  try {
    execFileSync('/bin/sh', ['-c', 'test -r "$0" && test -x "$0"', path], { ...user, cwd: '/', stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** A directory that every user may enter, with a name derived from the one it stands for. */
export function systemDirFor(path: string, label: string): string {
  const digest = createHash('sha256').update(path).digest('hex').slice(0, 12);
  const dir = join(SYSTEM_DIR, `${label}-${digest}`);
  mkdirSync(dirname(dir), { recursive: true, mode: 0o755 });
  return dir;
}

/**
 * Where data named `path` really lies for `user`: there, or, when the user cannot reach it, in a system directory to
 * which `path` then is a link. The link is the truth: without it, data found at its end is of a deleted checkout.
 */
export function reachableDataDir(path: string, user: User): string {
  const entry = lstatSync(path, { throwIfNoEntry: false });
  if (entry?.isSymbolicLink()) return readlinkSync(path);
  if (canRead(dirname(path), user)) return path;
  if (entry) {
    throw new ServerError('wrong-data', `${path} cannot be entered by user ${user.uid}, which Postgres has to run as`);
  }
  const dir = systemDirFor(path, 'data');
  rmSync(dir, { recursive: true, force: true });
  symlinkSync(dir, path);
  return dir;
}

/** Removes data with whatever lies at the end of its link. */
export function removeData(path: string): void {
  const entry = lstatSync(path, { throwIfNoEntry: false });
  if (entry?.isSymbolicLink() && existsSync(path)) rmSync(readlinkSync(path), { recursive: true, force: true });
  rmSync(path, { recursive: true, force: true });
}
