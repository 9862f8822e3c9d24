import type { Audit } from "../audit/audit.ts";
import { ownCookie, SESSION_COOKIE } from "../http/own-cookies.ts";
import { ipBlocked, problem } from "../http/problem.ts";
import { Refused, TOKEN_UNKNOWN } from "../http/refused.ts";
import type { NewSession, Sessions } from "../sessions/sessions.ts";
import { type HoldersDeps, tokenOfText } from "./holders.ts";
import type { Role } from "./rights.ts";
import type { Visit } from "./visits.ts";

/** Milliseconds that a session of the console lasts. */
export const SESSION_LASTS = 12 * 3_600_000;
/** Milliseconds in which a first-run link works. */
const LINK_LASTS = 30 * 60_000;

export interface SignInDeps extends Pick<HoldersDeps, "tokens" | "guard"> {
  readonly sessions: Sessions;
  readonly audit: Audit;
  /** Runs a change of records so that all instances that share them agree; `null` where there is one alone. Rejects while Redis is away. */
  readonly write: (<T>(work: () => Promise<T>) => Promise<T>) | null;
}

/** Writes the Set-Cookie field of a session; `maxAge` in seconds. */
export const sessionCookie = (id: string, maxAge: number, { browser }: Pick<Visit, "browser">): string =>
  ownCookie(`${SESSION_COOKIE}=${id}`, "Strict", "/", maxAge, browser?.isSecure === true);

/** Says that somebody is signed in. */
export interface SignedIn {
  /** What the browser keeps as its cookie. */
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

const LINK_GONE = problem(
  "keyInvalid",
  "This link does not work, or not any more: it works once, for 30 minutes. Sign in with an admin token, or start the gateway again for another link.",
  {},
  TOKEN_UNKNOWN.headers,
);

const LINK_UNSAFE = problem(
  "forbidden",
  "A first-run link works on the gateway's own machine, by a Host such as localhost, and over https: here others could read it.",
);

const FOREIGN = problem("forbidden", "This page is not the gateway's own: sign in at the address of the console.");

/** Signs people in to the console, and out. */
export class SignIn {
  constructor(private readonly deps: SignInDeps) {}

  /** Throws `Refused` where the console is not served to whoever sends a request. */
  mustBeServed({ browser }: Visit): void {
    if (browser?.refusal != null) throw new Refused(browser.refusal);
  }

  /** Signs in whoever has an admin token. Throws `Refused`: a wrong one counts in the guard. */
  byToken(text: string, visit: Visit): SignedIn {
    refuseForeign(visit);
    const token = tokenOfText(this.deps, text, visit.ip);
    if ("code" in token) throw new Refused(token);
    this.deps.tokens.touch(token);
    return this.begin({ token: token.mark, actor: token.name, role: null }, token.role, "token", visit);
  }

  /**
   * Signs in whoever has a first-run link. Throws `Refused`: a wrong one counts in the guard, and waits for no turn to change something.
   * Rejects with `RedisDown`.
   */
  async byLink(secret: string, visit: Visit): Promise<SignedIn> {
    refuseForeign(visit);
    const { browser, ip } = visit;
    if (browser !== null && !browser.isSecure && !browser.isLoopbackHost) throw new Refused(LINK_UNSAFE);
    const { guard, sessions, tokens, write } = this.deps;
    const blockedFor = guard.blockedFor(ip);
    if (blockedFor > 0) throw new Refused(ipBlocked(blockedFor));
    const isThere = sessions.find(secret, "consoleLink") !== null;
    const take = async () => sessions.takeLink(secret, "consoleLink");
    const link = !isThere ? null : await (write === null ? take() : write(take));
    const token = link === null || link.token === null ? null : tokens.byMark(link.token);
    if (token !== null) return this.begin({ token: token.mark, actor: token.name, role: null }, token.role, "link", visit);
    guard.strike(ip);
    throw new Refused(LINK_GONE);
  }

  /** Begins a session. `by`: how somebody has signed in, for the audit. */
  begin(
    of: Pick<NewSession, "token" | "actor" | "role" | "claims">,
    role: Role,
    by: "token" | "link" | "issuer",
    { ip, requestId }: Visit,
  ): SignedIn {
    const { audit, sessions } = this.deps;
    const name = of.actor ?? "";
    const { id, expiresAt } = audit.as({ name, ip, requestId, isInConsole: true }, () =>
      audit.change({ action: "session.begin", subject: "console", after: { by, role } }, () =>
        sessions.make({ ...of, use: "console", consumer: null, ttl: SESSION_LASTS }),
      ),
    );
    return { id, name, role, expiresAt };
  }

  /** Ends the session of whoever sends a request by its cookie. */
  end({ holder }: Visit): void {
    const { audit, sessions } = this.deps;
    if (holder?.via === "session") audit.change({ action: "session.end", subject: "console" }, () => sessions.end(holder.shown));
  }

  /**
   * Makes the secret of a link that signs in whoever starts the gateway, as long as no admin token has ever been used; `null` otherwise. It
   * works once, for 30 minutes.
   */
  firstRunLink(): string | null {
    const { tokens, sessions } = this.deps;
    const [token] = tokens.wasEverUsed ? [] : tokens.all();
    if (token === undefined || token.role !== "admin") return null;
    return sessions.make({ use: "consoleLink", token: token.mark, actor: token.name, role: null, consumer: null, ttl: LINK_LASTS }).id;
  }
}

/** Throws for a page of somebody else, which would sign its visitor in as whom it likes. */
function refuseForeign({ browser, origin }: Visit): void {
  if (browser?.refusal != null) throw new Refused(browser.refusal);
  if (origin !== null && browser?.origins.includes(origin) === false) throw new Refused(FOREIGN);
}
