import type { Caller } from "../exchange/caller.ts";
import type { Arrival, Exchange } from "../exchange/exchange.ts";
import type { ProblemCode } from "../http/problem.ts";
import type { IdentitySettings } from "./settings.ts";

/** Says why a credential does not tell who calls. */
export interface Refused {
  readonly code: ProblemCode;
  /** For the caller: how to put it right. */
  readonly detail: string;
  /** For `explain`: what is wrong. */
  readonly why: string;
  /** True when the credential may be a guess, which the guard counts. */
  readonly isGuess: boolean;
  /** True when it is known whose it was: `holderOf` can tell. What can be nobody's is never looked up. */
  readonly isKnown: boolean;
  /** What the challenge says of it (RFC 6750, section 3), as `error="…"`; left out: nothing. */
  readonly challenge?: string;
  /** Seconds after which it may be judged, where it could not be now: then it is no refusal of the credential. Left out: it was judged. */
  readonly retryAfter?: number;
}

/**
 * Identifies callers by one kind of credential. All finders take what is theirs out of a request, for none of it is the backend's
 * business; the first that finds something decides who calls.
 *
 * @example
 * const byTicket: Finder = { name: "ticket", fields: () => ["x-ticket"], take: (exchange) => exchange.incoming.head.fields.get("x-ticket"), find: (ticket) => tickets.get(ticket) ?? UNKNOWN, … };
 */
export interface Finder {
  readonly name: string;
  /** Gives the lower-case names of the fields that carry nothing but its credential: they are never forwarded. */
  fields(settings: IdentitySettings): readonly string[];
  /**
   * Takes the credential out of the request and gives it; `null` where there is none. `isAsked`: whether something that may as well be the
   * backend's own counts as a credential. It is false where the route looks at none, or another finder has found something.
   */
  take(exchange: Exchange<Arrival>, isAsked: boolean): string | null;
  /**
   * Tells who shows this credential, or why it is refused. `now` in milliseconds since 1970. It gives a promise only where somebody else has
   * to be asked. `isShown`: false where somebody only asks what would become of it, so that nothing is counted or kept.
   */
  find(secret: string, now: number, isShown: boolean, exchange: Exchange<Arrival>): Caller | Refused | Promise<Caller | Refused>;
  /** Gives the caller whom a refused credential belongs to, for the log; `null` where nobody is known. */
  holderOf(secret: string, exchange: Exchange<Arrival>): Caller | null;
  /** Learns that the caller was found good, at `now` (milliseconds since 1970). */
  accepted(caller: Caller, exchange: Exchange<Arrival>, secret: string, now: number): void;
}
