import type { Arrival, Exchange } from "../exchange/exchange.ts";
import type { Guard } from "../guard/guard.ts";
import { parameter, withoutParameter } from "../http/path.ts";
import { KEYS_UNAVAILABLE, READABLE_AGAIN } from "../http/problem.ts";
import type { KeyEntry, KeyRefusal, KeyRegistry } from "../keys/registry.ts";
import { isMade, isPlausible } from "../values/key-format.ts";
import type { Finder, Refused } from "./finder.ts";
import type { IdentitySettings } from "./settings.ts";

/** Milliseconds before a key's end from which on callers are told of it: seven days. */
const EXPIRES_SOON = 7 * 86_400_000;

/** How keys are refused, by why. */
export const REFUSED_KEYS: Readonly<Record<KeyRefusal, Refused>> = {
  keyMalformed: {
    code: "keyMalformed",
    detail: "This is not a whole API key: it is mistyped or cut off. Copy it again.",
    why: "the key can't be one: its form or its checksum is wrong",
    isGuess: false,
    isKnown: false,
  },
  keyInvalid: {
    code: "keyInvalid",
    detail: "This API key is not known; check it for typing errors.",
    why: "the key is not known",
    isGuess: true,
    isKnown: false,
  },
  keyExpired: {
    code: "keyExpired",
    detail: "This API key has expired; ask for a new one.",
    why: "the key has expired",
    isGuess: false,
    isKnown: true,
  },
  keyRevoked: {
    code: "keyRevoked",
    detail: "This API key is revoked or disabled; ask for a new one.",
    why: "the key is revoked or disabled, or its consumer is disabled",
    isGuess: false,
    isKnown: true,
  },
  keysUnavailable: {
    code: "keysUnavailable",
    detail: String(KEYS_UNAVAILABLE.members.detail),
    why: "the key is not in use so far, and the database can't be read",
    isGuess: false,
    isKnown: false,
    retryAfter: READABLE_AGAIN,
  },
};

/** Identifies callers by Sluice's own API keys. */
export class ApiKeyFinder implements Finder {
  readonly name = "key";

  constructor(
    private readonly keys: KeyRegistry,
    private readonly guard: Guard,
    /** Tells whether a bearer token is for others to judge: it is left where it is. */
    private readonly isOthers: (bearer: string) => boolean,
    /**
     * Takes over what another process has changed a moment ago, and tells whether there was something: so a key that was made by way of one worker is known to
     * all at once, and is no guess. `null`: there is no other.
     */
    private readonly catchUp: (() => boolean) | null = null,
  ) {}

  fields({ header }: IdentitySettings): readonly string[] {
    return [header];
  }

  /**
   * Takes every key of Sluice's out of the request. The one that counts comes from the first place that holds one: the header, the bearer
   * token, the query parameter. A bearer token that is not asked for, or is a second one, is the backend's own unless Sluice knows it.
   */
  take(exchange: Exchange<Arrival>, isAsked: boolean): string | null {
    const { identity } = exchange.snapshot;
    const { fields } = exchange.incoming.head;
    let secret: string | null = null;
    const header = fields.joined(identity.header);
    if (header !== null && header !== "") {
      exchange.carriedIn = identity.header;
      secret = header;
    }
    if (identity.bearer || identity.basic) {
      const authorization = fields.get("authorization");
      const shown = authorization === null ? null : shownIn(authorization, identity);
      if (shown !== null && !(isBearer(authorization) && this.isOthers(shown))) {
        if (secret === null && isAsked) {
          exchange.carriedIn = "authorization";
          secret = shown;
          exchange.dropsAuthorization = true;
        } else exchange.dropsAuthorization ||= isMade(shown) || (isPlausible(shown) && this.keys.knows(shown));
      }
    }
    if (identity.query !== null && exchange.query !== "") {
      const value = parameter(exchange.query, identity.query);
      if (value !== null) {
        exchange.query = withoutParameter(exchange.query, identity.query);
        secret ??= value;
      }
    }
    return secret;
  }

  find(secret: string, now: number): KeyEntry | Refused {
    let found = this.keys.find(secret, now);
    if (found === "keyInvalid" && this.catchUp?.() === true) found = this.keys.find(secret, now);
    return typeof found === "string" ? REFUSED_KEYS[found] : found;
  }

  holderOf(secret: string): KeyEntry | null {
    return this.keys.known(secret);
  }

  accepted(key: KeyEntry, exchange: Exchange<Arrival>, secret: string, now: number): void {
    if (key.expiresAt - now < EXPIRES_SOON) exchange.routeHead += `X-Key-Expires: ${new Date(key.expiresAt).toISOString()}\r\n`;
    exchange.secret = secret;
    this.keys.touch(key, now);
    this.guard.accepted(exchange.ip, secret, key, now);
  }
}

/** Tells whether an Authorization field has the scheme Bearer (RFC 6750), or another of six letters: nearly none is. */
const isBearer = (authorization: string | null): boolean => authorization?.charCodeAt(6) === 0x20;

/**
 * Gives the part of an Authorization field that may be a key: the bearer token, or the password (RFC 7617) of any user; `null` when there
 * is none.
 */
function shownIn(authorization: string, { bearer, basic }: IdentitySettings): string | null {
  const space = authorization.indexOf(" ");
  // Nearly every scheme is neither: no need to look closer.
  if (space !== 6 && space !== 5) return null;
  const scheme = authorization.slice(0, space).toLowerCase();
  const rest = authorization.slice(space + 1).trim();
  if (bearer && scheme === "bearer") return rest === "" ? null : rest;
  if (!basic || scheme !== "basic") return null;
  const pair = Buffer.from(rest, "base64").toString("latin1");
  const colon = pair.indexOf(":");
  return colon < 0 || colon === pair.length - 1 ? null : pair.slice(colon + 1);
}
