import type { Held } from "./held.ts";
import type { Proofs } from "./order.ts";
import type { Account, Tries } from "./store.ts";

/** Tells other instances how it stands with a host. */
export interface HostWord {
  readonly tries: Tries | null;
  /** Milliseconds since 1970. */
  readonly renewsAt: number;
}

/** Holds what other instances know that this one does not. */
export interface News {
  /** Certificates that are newer than ours. */
  readonly certificates: readonly Held[];
  /** How it stands with each host, as the one that orders says; nothing in that one itself. */
  readonly words: ReadonlyMap<string, HostWord>;
  /** Why a certificate of another instance can't be taken, by its host. */
  readonly refused: ReadonlyMap<string, string>;
}

/** Joins instances that are reached by the same names: one of them orders, all of them answer challenges and serve what was ordered. */
export interface AcmeShare extends Proofs {
  /** True while this instance is the one that orders. */
  readonly isOrderer: boolean;
  /** Exchanges certificates with the others, and says whether this one orders. Rejects while the others can't be reached. */
  look(own: readonly Held[], words: ReadonlyMap<string, HostWord>): Promise<News>;
  /** Gives the answer to a challenge that another instance shows; `null`: none does, or it can't be found out. */
  proof(token: string): Promise<string | null>;
  /** Gives the account that all use: that of the first one which had any. */
  account(own: Account): Promise<Account>;
  keepAccount(account: Account): Promise<void>;
  /** Leaves the ordering to another one. */
  leave(): Promise<void>;
}
