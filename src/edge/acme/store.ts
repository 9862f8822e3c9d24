import { createHash } from "node:crypto";
import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Holds how the tries for a host have gone since its last certificate. */
export interface Tries {
  /** Failures in a row. */
  readonly failures: number;
  /** When the first of them was, in milliseconds since 1970. */
  readonly since: number;
  /** Why the last one failed. */
  readonly why: string;
  /** Milliseconds since 1970. */
  readonly failedAt: number;
  readonly nextAt: number;
}

/** Holds an account with an authority. */
export interface Account {
  /** Its key, PEM. */
  readonly key: string;
  /** What the authority calls it; `null`: it has not been made, or that was lost. */
  readonly url: string | null;
  readonly email: string | null;
}

/** Keeps what must outlive the process. What can't be read is not there; what can't be written throws. */
export interface AcmeStore {
  /** Gives the certificate of a host with its key, PEM; `null`: there is none. */
  certificate(host: string): string | null;
  /** Gives those that other authorities gave: one may serve until this one's is there. */
  others(host: string): readonly string[];
  keepCertificate(host: string, pem: string): void;
  tries(host: string): Tries | null;
  /** `null`: all is well. */
  keepTries(host: string, tries: Tries | null): void;
  account(): Account | null;
  keepAccount(account: Account): void;
  /** Gives the answer to a challenge that another process on this folder shows. */
  proof(token: string): string | null;
  keepProof(token: string, answer: string | null): void;
  /** Takes the turn to order for a while, of which one process on this folder has it; `null`: another has it. */
  turn(): { close(): void } | null;
}

/** Gives the name of an authority's folder, which says to people which one it is. */
export const authorityName = (directory: string): string =>
  directory
    .replace(/^https:\/\//, "")
    .replace(/[^A-Za-z0-9.-]+/g, "-")
    .replace(/^[.-]+|-+$/g, "")
    .slice(0, 200);

/** Gives the name of a host's files. File systems bear 255 bytes, with the ends of the name. */
const fileOf = (host: string): string =>
  host.length > 200 ? `${host.slice(0, 150)}-${createHash("sha256").update(host).digest("hex").slice(0, 32)}` : host.replaceAll(":", "_");

/** No authority's folder begins like this. */
const PROOFS = ".challenges";

/**
 * Keeps everything in files that only their owner may read: `FOLDER/AUTHORITY/HOST.pem` with key and chain, `HOST.failed.json`, `account.json`. A file is
 * written beside and put in its place at once, so that nobody ever sees a half.
 */
export class FolderStore implements AcmeStore {
  private readonly own: string;
  private readonly proofs: string;

  constructor(
    private readonly folder: string,
    directory: string,
    private readonly lock: (path: string) => { close(): void } | null,
  ) {
    this.own = join(folder, authorityName(directory));
    this.proofs = join(folder, PROOFS);
    this.clear();
  }

  /** Removes what a process that was killed has left. */
  private clear(): void {
    try {
      const turn = this.turn();
      if (turn !== null) rmSync(this.proofs, { recursive: true, force: true });
      turn?.close();
    } catch {
      // The folder can't be written: it is told when there is something to store.
    }
  }

  certificate(host: string): string | null {
    return textIn(join(this.own, `${fileOf(host)}.pem`));
  }

  others(host: string): readonly string[] {
    return foldersBeside(this.folder, this.own).flatMap((folder) => textIn(join(folder, `${fileOf(host)}.pem`)) ?? []);
  }

  keepCertificate(host: string, pem: string): void {
    writeWhole(this.own, `${fileOf(host)}.pem`, pem);
  }

  tries(host: string): Tries | null {
    const tries = jsonIn<Tries>(join(this.own, `${fileOf(host)}.failed.json`));
    if (tries === null) return null;
    const { failures, since, why, failedAt, nextAt } = tries;
    return [failures, since, failedAt, nextAt].every(Number.isFinite) && typeof why === "string" ? (tries as Tries) : null;
  }

  keepTries(host: string, tries: Tries | null): void {
    const file = `${fileOf(host)}.failed.json`;
    if (tries === null) rmSync(join(this.own, file), { force: true });
    else writeWhole(this.own, file, JSON.stringify(tries));
  }

  account(): Account | null {
    const account = jsonIn<Account>(join(this.own, "account.json"));
    if (typeof account?.key !== "string") return null;
    return { key: account.key, url: account.url ?? null, email: account.email ?? null };
  }

  keepAccount(account: Account): void {
    writeWhole(this.own, "account.json", JSON.stringify(account));
  }

  proof(token: string): string | null {
    return textIn(join(this.proofs, token));
  }

  keepProof(token: string, answer: string | null): void {
    if (answer === null) rmSync(join(this.proofs, token), { force: true });
    else writeWhole(this.proofs, token, answer);
  }

  turn(): { close(): void } | null {
    mkdirSync(this.folder, { recursive: true, mode: 0o700 });
    return this.lock(join(this.folder, "lock"));
  }
}

/** Keeps everything in memory, for a gateway without a data folder. */
export class MemoryStore implements AcmeStore {
  private readonly pems = new Map<string, string>();
  private kept: Account | null = null;

  certificate(host: string): string | null {
    return this.pems.get(host) ?? null;
  }

  others(): readonly string[] {
    return [];
  }

  keepCertificate(host: string, pem: string): void {
    this.pems.set(host, pem);
  }

  tries(): null {
    return null;
  }

  keepTries(): void {}

  account(): Account | null {
    return this.kept;
  }

  keepAccount(account: Account): void {
    this.kept = account;
  }

  proof(): null {
    return null;
  }

  keepProof(): void {}

  turn(): { close(): void } {
    return { close: () => {} };
  }
}

/** Gives the folders of other authorities. */
function foldersBeside(folder: string, own: string): readonly string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && entry.name !== PROOFS)
      .map(({ name }) => join(folder, name))
      .filter((path) => path !== own);
  } catch {
    return [];
  }
}

function textIn(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // It was never written, or is not ours to read: it is made anew.
    return null;
  }
}

function jsonIn<T>(path: string): Partial<T> | null {
  try {
    const value: unknown = JSON.parse(readFileSync(path, "utf8"));
    return typeof value === "object" && value !== null ? (value as Partial<T>) : null;
  } catch {
    return null;
  }
}

/** Writes a file for its owner alone, whole or not at all, also where the power fails. */
function writeWhole(folder: string, name: string, text: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, name);
  const unfinished = `${path}.${process.pid}.new`;
  try {
    rmSync(unfinished, { force: true });
    const file = openSync(unfinished, "wx", 0o600);
    try {
      writeFileSync(file, text);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(unfinished, path);
  } catch (error) {
    rmSync(unfinished, { force: true });
    throw error;
  }
  syncFolder(folder);
}

function syncFolder(folder: string): void {
  const descriptor = openSync(folder, "r");
  try {
    fsyncSync(descriptor);
  } catch {
    // Not every file system can: the file itself is there.
  } finally {
    closeSync(descriptor);
  }
}
