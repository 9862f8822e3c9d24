import { readFileSync } from "node:fs";
import type { AcmeConfig } from "../settings.ts";
import { AcmeClient } from "./client.ts";
import { accountKeyOf, keyText, newKey } from "./jws.ts";
import type { AcmeShare } from "./share.ts";
import type { Account, AcmeStore } from "./store.ts";
import { AcmeTrouble } from "./trouble.ts";

/** Holds an account with an authority that is ready to order. */
export interface Session {
  readonly client: AcmeClient;
  /** The account's URL. */
  readonly account: string;
}

export interface SessionDeps {
  readonly settings: AcmeConfig;
  readonly store: AcmeStore;
  readonly share: AcmeShare | null;
  readonly signal: AbortSignal;
}

/** Opens the account, which is made where there is none. Rejects with `AcmeTrouble`, and with what keeps the account from being stored. */
export async function openSession({ settings, store, share, signal }: SessionDeps): Promise<Session> {
  const { directory, ca, email, eab } = settings;
  const stored = store.account();
  const own = stored !== null && isKey(stored.key) ? stored : { key: keyText(newKey()), url: null, email: null };
  const kept = share === null ? own : await share.account(own);
  const client = new AcmeClient({ directory, ca: ca === null ? null : authoritiesIn(ca), account: accountKeyOf(kept.key), signal });
  // Stored before it is used: an account whose key is lost is lost as well.
  if (kept !== stored) store.keepAccount(kept);
  let account = kept.url;
  if (account === null) account = await client.register(email, eab);
  else if (kept.email !== email) await client.rename(account, email);
  if (kept.url !== account || kept.email !== email) await keep({ key: kept.key, url: account, email }, store, share);
  return { client, account };
}

/** Forgets what the authority called the account: it says that there is none. */
export async function forgetAccount({ store, share }: Pick<SessionDeps, "store" | "share">): Promise<void> {
  const stored = store.account();
  if (stored !== null) await keep({ ...stored, url: null }, store, share);
}

async function keep(account: Account, store: AcmeStore, share: AcmeShare | null): Promise<void> {
  store.keepAccount(account);
  await share?.keepAccount(account);
}

function isKey(pem: string): boolean {
  try {
    accountKeyOf(pem);
    return true;
  } catch {
    // The file was damaged: another account serves as well.
    return false;
  }
}

function authoritiesIn(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new AcmeTrouble(`server.tls.acme.ca can't be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}
