import type { Config } from "../config/schema.ts";
import type { Guard } from "../guard/guard.ts";
import { ownCookie, SIGN_IN_COOKIE } from "../http/own-cookies.ts";
import { ipBlocked } from "../http/problem.ts";
import { Refused } from "../http/refused.ts";
import { IssuerTrouble } from "../issuers/ask.ts";
import { type Client, type CodeFlow, newAttempt } from "../issuers/code-flow.ts";
import type { Issuer } from "../issuers/issuer.ts";
import { roleOfValues, valuesWithRole } from "../sessions/issued-role.ts";
import type { Session } from "../sessions/sessions.ts";
import type { Clock } from "../values/clock.ts";
import { ATTEMPT_LASTS, type Attempts } from "./attempts.ts";
import { isAtLeast, ROLES, type Role } from "./rights.ts";
import { SESSION_LASTS, type SignIn, sessionCookie } from "./sign-in.ts";
import type { Visit } from "./visits.ts";

/** Where people come back to, and where they go on. */
const CALLBACK = "/admin/session/callback";
const CONSOLE = "/console";
/** Milliseconds between two times that it is told what kept somebody from being signed in: anybody may try. */
const TOLD_EVERY = 10_000;
/** What a token endpoint answers to a code that is not good, or to a client that is not (RFC 6749, section 5.2). */
const REFUSALS: readonly (number | null)[] = [400, 401];

/** The form of a subject: it stands in the audit. */
const SUBJECT = /^[!-~]{1,255}$/;
/** The form of an issuer's word for why it signs nobody in (RFC 6749, section 4.1.2.1). */
const REASON = /^[a-z_]{1,64}$/;

export interface IssuerSignInDeps {
  readonly settings: () => Config["admin"];
  readonly issuerOf: (name: string) => Issuer | null;
  readonly flow: CodeFlow;
  readonly signIn: SignIn;
  readonly attempts: Attempts;
  readonly guard: Pick<Guard, "blockedFor" | "strike">;
  readonly clock: Clock;
  /**
   * Learns why an issuer could not be asked, or what of its answer was not good: once in 10 seconds at most. `untold`: how often it was so
   * since the last time, besides.
   */
  readonly onTrouble: (issuer: string, why: string, untold: number) => void;
}

/** What the issuer has sent a browser back with. */
export interface CameBack {
  readonly code?: string | undefined;
  readonly state?: string | undefined;
  readonly iss?: string | undefined;
  readonly error?: string | undefined;
}

/** Says where a browser goes next, and which cookies it keeps. */
export interface Onward {
  readonly status: 302 | 303;
  readonly location: string;
  readonly cookies: readonly string[];
}

/** Holds what a sign-in needs of the configuration. */
interface SetUp {
  readonly issuer: Issuer;
  readonly client: Client;
  readonly roles: NonNullable<Config["admin"]["roles"]>;
}

const STALE = "This sign-in was begun in another browser, or too long ago: begin again.";
const NOT_SET = "Nobody can sign in by an issuer here: use an admin token.";
const NO_ADDRESS = "The gateway can't tell its own address: open the console by the name that the issuer knows it by.";

/** Signs people in to the console by the issuer that the configuration names. What is under way is kept in the browser's own cookie. */
export class IssuerSignIn {
  private toldAt = Number.NEGATIVE_INFINITY;
  private untold = 0;

  constructor(private readonly deps: IssuerSignInDeps) {}

  /** The name of the issuer; `null`: there is none, or it is gone. */
  get issuerName(): string | null {
    const { issuer } = this.deps.settings();
    return issuer === null || this.deps.issuerOf(issuer) === null ? null : issuer;
  }

  /** Sends somebody to the issuer. Throws `Refused` for a blocked address. */
  async begin(visit: Visit): Promise<Onward> {
    this.refuseBlocked(visit);
    const setUp = this.setUp(visit);
    if (typeof setUp === "string") return failed(setUp, visit);
    const { flow, attempts } = this.deps;
    const attempt = newAttempt();
    try {
      const location = await flow.begin(setUp.issuer, setUp.client, attempt);
      return { status: 302, location, cookies: [attemptCookie(attempts.kept(attempt), visit)] };
    } catch (error) {
      return this.troubled(setUp.issuer, error, visit);
    }
  }

  /**
   * Signs in whoever comes back from the issuer. `cookie`: the Cookie field. A code that the issuer refuses counts in the guard. Throws
   * `Refused` for a blocked address.
   */
  async finish(cameBack: CameBack, cookie: string | null, visit: Visit): Promise<Onward> {
    this.refuseBlocked(visit);
    const setUp = this.setUp(visit);
    if (typeof setUp === "string") return failed(setUp, visit);
    const { issuer, client, roles } = setUp;
    const { attempts, guard } = this.deps;
    const attempt = attempts.find(cookie, cameBack.state);
    if (attempt === null || (cameBack.iss !== undefined && cameBack.iss !== issuer.config.issuer)) return failed(STALE, visit);
    const { code, error: refusal } = cameBack;
    if (code === undefined)
      return failed(`${issuer.name} did not sign you in: ${REASON.test(refusal ?? "") ? refusal : "it gave no reason"}.`, visit);
    attempts.spend(attempt);
    try {
      const claims = await this.deps.flow.finish(issuer, client, attempt, code, this.deps.clock.wall());
      const { sub } = claims;
      if (typeof sub !== "string" || !SUBJECT.test(sub))
        throw new IssuerTrouble("its subject can't be a name: up to 255 printable characters");
      const values = valuesWithRole(claims, roles);
      const role = roleOfValues(values, roles, ROLES);
      if (role === null) return failed(withoutRole(issuer.name, roles.claim), visit);
      const session = { token: null, actor: `${issuer.name}:${sub}`, role, claims: values };
      const { id } = this.deps.signIn.begin(session, role, "issuer", visit);
      return {
        status: 303,
        location: CONSOLE,
        cookies: [sessionCookie(id, SESSION_LASTS / 1000, visit), attemptCookie(null, visit)],
      };
    } catch (error) {
      if (error instanceof IssuerTrouble && REFUSALS.includes(error.refusal)) guard.strike(visit.ip);
      return this.troubled(issuer, error, visit);
    }
  }

  /** Gives the role that a session has by the word of its issuer: what the configuration in force says, and no more than it had at first. */
  roleOf({ actor, role, claims }: Session): Role | null {
    const { issuer, roles } = this.deps.settings();
    if (issuer === null || roles === null || role === null || claims === null) return null;
    if (actor?.startsWith(`${issuer}:`) !== true || this.deps.issuerOf(issuer) === null) return null;
    const now = roleOfValues(claims, roles, ROLES);
    return now === null || isAtLeast(role, now) ? now : role;
  }

  /** Gives what a sign-in needs, or says why there is none. */
  private setUp({ browser }: Visit): SetUp | string {
    const { issuer: name, clientId, clientSecret, scopes, roles } = this.deps.settings();
    const issuer = name === null ? null : this.deps.issuerOf(name);
    if (issuer === null || clientId === null || roles === null) return NOT_SET;
    const [origin] = browser?.origins ?? [];
    if (origin === undefined) return NO_ADDRESS;
    return { issuer, roles, client: { id: clientId, secret: clientSecret, scopes, redirectUri: origin + CALLBACK } };
  }

  private refuseBlocked({ ip }: Visit): void {
    const blockedFor = this.deps.guard.blockedFor(ip);
    if (blockedFor > 0) throw new Refused(ipBlocked(blockedFor));
  }

  private troubled({ name }: Issuer, error: unknown, visit: Visit): Onward {
    if (!(error instanceof IssuerTrouble)) throw error;
    const now = this.deps.clock.now();
    if (now - this.toldAt < TOLD_EVERY) this.untold++;
    else {
      this.deps.onTrouble(name, error.message, this.untold);
      this.toldAt = now;
      this.untold = 0;
    }
    return failed(`${name} can't be asked at the moment, or its answer is not good here: the gateway's log says why.`, visit);
  }
}

/** Sends a browser back to the console, which shows why nobody was signed in. */
const failed = (why: string, visit: Visit): Onward => ({
  status: 303,
  location: `${CONSOLE}#error=${encodeURIComponent(why)}`,
  cookies: [attemptCookie(null, visit)],
});

const withoutRole = (name: string, claim: string): string =>
  `${name} knows you, but nothing that it says of you gives a role here: ask whoever runs the gateway to name a value of your claim ${claim} in admin.roles.`;

/** Writes the cookie of a sign-in under way; `null` ends it. It comes with the browser's way back from the issuer's pages, as a Strict one would not. */
const attemptCookie = (kept: string | null, { browser }: Visit): string =>
  ownCookie(`${SIGN_IN_COOKIE}=${kept ?? ""}`, "Lax", CALLBACK, kept === null ? 0 : ATTEMPT_LASTS, browser?.isSecure === true);
