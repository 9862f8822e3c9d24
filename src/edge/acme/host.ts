import type { Standing } from "../certificates.ts";
import type { Held } from "./held.ts";
import type { Word } from "./renewal-info.ts";
import { fractionOf, renewalAt, type Window } from "./schedule.ts";
import type { Tries } from "./store.ts";

/** Keeps how it stands with the certificate of one host. Times are milliseconds since 1970. */
export class Host {
  /** What is served; `null`: nothing yet. */
  held: Held | null = null;
  /** False while it serves one that another authority gave. */
  isOwn = false;
  tries: Tries | null = null;
  /** What the authority said last about the renewal of what is served. */
  word: Word | null = null;
  /** When the authority is asked again. */
  askAt = 0;
  /** True while it is ordered, or asked about. */
  isBusy = false;
  /** Why it could not be stored, since when, and when that is tried again; `null`: it is stored. */
  unsaved: { readonly why: string; readonly since: number; readonly nextAt: number } | null = null;
  /** The time before which it is not ordered: another process has the turn, or it was ordered a moment ago. */
  notBefore = 0;
  /** When it is renewed, as the instance says that orders; `null`: this one orders. */
  toldRenewal: number | null = null;

  constructor(readonly name: string) {}

  /** Gives the time at which it is ordered next. */
  get dueAt(): number {
    return Math.max(this.notBefore, this.tries?.nextAt ?? this.renewsAt);
  }

  private get renewsAt(): number {
    if (this.held === null || !this.isOwn) return 0;
    return renewalAt(this.held, this.word?.window ?? null, fractionOf(this.held.print));
  }

  /** Gives what is wrong; `null`: all is well. */
  get trouble(): string | null {
    return this.tries?.why ?? this.unsaved?.why ?? null;
  }

  /** Describes it for people. */
  get standing(): AcmeStanding {
    const { name, held, tries, unsaved, word, toldRenewal, dueAt, trouble } = this;
    return {
      ...{ place: name, source: "acme", names: held?.names ?? [], endsAt: held?.endsAt ?? null, trouble },
      renewsAt: toldRenewal ?? (held === null && tries === null ? null : dueAt),
      troubledSince: tries?.since ?? unsaved?.since ?? null,
      failures: tries?.failures ?? 0,
      window: word?.window ?? null,
      explanation: word?.explanation ?? null,
    };
  }
}

/** Says how it stands with the certificate of a host. */
export interface AcmeStanding extends Standing {
  /** Failures in a row. */
  readonly failures: number;
  /** When the authority wishes it to be renewed, and where it says why; `null`: it says nothing. */
  readonly window: Window | null;
  readonly explanation: string | null;
}
