import type { Caller } from "../exchange/caller.ts";
import type { Arrival, Exchange } from "../exchange/exchange.ts";
import type { Guard } from "../guard/guard.ts";
import type { Fields } from "../http/fields.ts";
import { TokenCaller } from "../issuers/caller.ts";
import { isFault, type TokenFault } from "../issuers/faults.ts";
import type { Issuers } from "../issuers/issuers.ts";
import type { Finder, Refused } from "./finder.ts";

/** Seconds after which a caller may come again whose token could not be judged: the issuer is asked each 5 s while it is away. */
const COME_AGAIN = 5;

/** Identifies callers by tokens of issuers, as `Authorization: Bearer` (RFC 6750). */
export class TokenFinder implements Finder {
  readonly name = "token";

  constructor(
    private readonly issuers: Issuers,
    private readonly guard: Guard,
  ) {}

  /** Gives none: Authorization carries other things as well. */
  fields(): readonly string[] {
    return [];
  }

  /** Takes a bearer token that issuers judge. One that is not asked for is the backend's own. */
  take(exchange: Exchange<Arrival>, isAsked: boolean): string | null {
    if (!isAsked || this.issuers.isEmpty) return null;
    const authorization = exchange.incoming.head.fields.get("authorization");
    const token = authorization === null ? null : bearerOf(authorization);
    if (token === null || !this.issuers.takes(token)) return null;
    exchange.carriedIn = "authorization";
    exchange.dropsAuthorization = true;
    return token;
  }

  find(token: string, now: number, isShown: boolean): Caller | Refused | Promise<Caller | Refused> {
    const found = this.issuers.find(token, now, isShown);
    return found instanceof Promise ? found.then(decided) : decided(found);
  }

  holderOf(token: string): Caller | null {
    return this.issuers.holderOf(token);
  }

  accepted(caller: Caller, exchange: Exchange<Arrival>, token: string, now: number): void {
    if (!(caller instanceof TokenCaller)) return;
    // Of several fields one was checked, and the backend may read another: none goes on.
    if (this.issuers.get(caller.issuer)?.config.forward === true && !hasSeveral(exchange.incoming.head.fields)) {
      exchange.dropsAuthorization = false;
      // Answers may be for this token, not for whoever has it.
      exchange.carriedIn = "";
    }
    this.guard.accepted(exchange.ip, token, caller, now);
  }
}

const hasSeveral = ({ lower }: Fields): boolean => lower.indexOf("authorization") !== lower.lastIndexOf("authorization");

/** Gives the token of an Authorization field; `null` where it holds none. */
function bearerOf(authorization: string): string | null {
  if (authorization.charCodeAt(6) !== 0x20 || authorization.slice(0, 6).toLowerCase() !== "bearer") return null;
  const token = authorization.slice(7).trim();
  return token === "" ? null : token;
}

const decided = (found: TokenCaller | TokenFault): Caller | Refused => (isFault(found) ? refusedBy(found) : found);

/** Gives a token's refusal as callers are told of it. */
function refusedBy({ code, says, why, isGuess, isKnown = false }: TokenFault): Refused {
  const refused = { code, why, isGuess, isKnown };
  if (code === "issuerUnavailable") return { ...refused, detail: `${says}; try again in ${COME_AGAIN} seconds.`, retryAfter: COME_AGAIN };
  // What stands within the quotes of a challenge has none itself (RFC 6750, section 3).
  const description = says.replace(/["\\]/g, "'");
  return { ...refused, detail: `${says}; get another one.`, challenge: `error="invalid_token", error_description="${description}"` };
}
