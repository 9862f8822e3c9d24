import type { Guard } from "../guard/guard.ts";
import { isLook } from "../http/methods.ts";
import { cookiesIn, MAX_COOKIES, SESSION_COOKIE } from "../http/own-cookies.ts";
import { ipBlocked, type Problem, problem } from "../http/problem.ts";
import { TOKEN_MISSING, TOKEN_UNKNOWN } from "../http/refused.ts";
import { type Browser, isOfOwnPage } from "../sessions/browser.ts";
import type { Session, Sessions } from "../sessions/sessions.ts";
import type { Role } from "./rights.ts";
import { type AdminToken, type AdminTokens, bearerOf } from "./tokens.ts";

/** Says who may use the admin API, and by what. */
export interface Holder {
  /** The actor's name in the audit. */
  readonly name: string;
  /** The role that it has now. */
  readonly role: Role;
  /** The text that was shown: nobody else has it. */
  readonly shown: string;
  readonly via: "token" | "session";
  /** The time when the session ends, in milliseconds since 1970; `null` for a token. */
  readonly expiresAt: number | null;
  /** The token that was shown; `null` for a session. */
  readonly token: AdminToken | null;
}

export interface HoldersDeps {
  readonly tokens: AdminTokens;
  readonly sessions: Sessions;
  readonly guard: Guard;
  /** Gives the role that a session has by its issuer's word, as the configuration in force reads it; `null`: none any more. */
  readonly issuedRole: (session: Session) => Role | null;
}

/** The refusal of a change that may be another page's. It is for whoever writes a page or a script. */
const NOT_FROM_CONSOLE = problem(
  "forbidden",
  "A request with the console's cookie that changes something needs the header X-Sluice-Console and an Origin that is the gateway's own address. Outside of the console show an admin token as Authorization: Bearer TOKEN.",
);

/** Gives the token that a text is, or why it is refused. Who holds one may always come in: somebody has to lift a block. */
export function tokenOfText(
  { tokens, guard }: Pick<HoldersDeps, "tokens" | "guard">,
  text: string | null,
  ip: string,
): AdminToken | Problem {
  const found = text === null ? null : tokens.find(text);
  if (found !== null) return found;
  const blockedFor = guard.blockedFor(ip);
  if (blockedFor > 0) return ipBlocked(blockedFor);
  if (text === null) return TOKEN_MISSING;
  guard.strike(ip);
  return TOKEN_UNKNOWN;
}

/** Gives the token that an Authorization field shows, or why it is refused. */
export const tokenOf = (deps: Pick<HoldersDeps, "tokens" | "guard">, authorization: string | null, ip: string): AdminToken | Problem =>
  tokenOfText(deps, bearerOf(authorization), ip);

/** Knows who may use the admin API: whoever shows an admin token, or the cookie of a session where the console is served. */
export class Holders {
  constructor(private readonly deps: HoldersDeps) {}

  /** Gives who sends a request, or why it is refused. Where an Authorization field is sent, no cookie is looked at. */
  of({ headers }: Pick<Request, "headers">, ip: string, browser: Browser | null): Holder | Problem {
    const authorization = headers.get("authorization");
    const holder = authorization === null && browser !== null ? this.bySession(headers.get("cookie")) : null;
    if (holder !== null) return browser?.refusal ?? holder;
    const token = tokenOf(this.deps, authorization, ip);
    if ("code" in token) return token;
    return { name: token.name, role: token.role, shown: bearerOf(authorization) ?? "", via: "token", expiresAt: null, token };
  }

  /** Tells whether a request is of somebody who may use the admin API. Nothing is counted. */
  isKnown(authorization: string | null, cookie: string | null, browser: Browser | null): boolean {
    if (authorization !== null) return this.deps.tokens.isShownIn(authorization);
    return browser !== null && browser.refusal === null && this.bySession(cookie) !== null;
  }

  /** Gives whose session a Cookie field shows; `null`: it shows none that holds. */
  bySession(cookie: string | null): Holder | null {
    for (const shown of cookiesIn(cookie, SESSION_COOKIE).slice(0, MAX_COOKIES)) {
      const session = this.deps.sessions.find(shown, "console");
      const role = session === null ? null : this.roleOf(session);
      if (session === null || role === null) continue;
      return { name: session.actor ?? "", role, shown, via: "session", expiresAt: session.expiresAt, token: null };
    }
    return null;
  }

  /** Gives the role that a session has now; `null`: the token that it was made with is gone, or its issuer gives none any more. */
  roleOf(session: Session): Role | null {
    const { tokens, issuedRole } = this.deps;
    return session.token === null ? issuedRole(session) : (tokens.byMark(session.token)?.role ?? null);
  }
}

/** Says why a request by cookie may not do what it asks for; `null`: it may. */
export function foreignRefusal({ via }: Holder, { method, headers }: Request, browser: Browser | null): Problem | null {
  return via !== "session" || isLook(method) || isOfOwnPage(headers, browser) ? null : NOT_FROM_CONSOLE;
}
