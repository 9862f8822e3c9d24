import { createHmac, hkdfSync, randomBytes, timingSafeEqual } from "node:crypto";
import { cookiesIn, SIGN_IN_COOKIE } from "../http/own-cookies.ts";
import type { Attempt } from "../issuers/code-flow.ts";
import type { Clock } from "../values/clock.ts";

/** Seconds that somebody may take to sign in at the issuer. */
export const ATTEMPT_LASTS = 600;
/** Attempts that came back and are remembered until their time is over; the oldest go. Each takes a request to begin it. */
const MAX_SPENT = 10_000;

/** The form of what the cookie of a sign-in under way holds: what it is known by, when its time is over, and the signature of both. */
const KEPT = /^(([0-9A-Za-z]{32})\.([0-9A-Za-z]{32})\.([0-9A-Za-z]{64})\.([0-9]{1,15}))\.([0-9a-f]{64})$/;

export interface AttemptsDeps {
  readonly clock: Clock;
  /** Gives what instances share and nobody else knows: SLUICE_SECRET, and the secret of the client at the issuer; "" for what there is not. */
  readonly secrets: () => readonly string[];
}

/**
 * Keeps sign-ins by an issuer that are under way, in the browser's own cookie. It is signed, so that nobody who has not begun one makes the
 * gateway ask the issuer.
 */
export class Attempts {
  /** Signs where there is no secret that others share: such an attempt ends in the process where it began. */
  private readonly own = randomBytes(32);
  /** The states of those that came back, and when their time is over, in milliseconds since 1970. */
  private readonly spent = new Map<string, number>();

  constructor(private readonly deps: AttemptsDeps) {}

  /** Gives what the cookie of an attempt that begins now holds. */
  kept({ state, nonce, verifier }: Attempt): string {
    const text = `${state}.${nonce}.${verifier}.${this.deps.clock.wall() + ATTEMPT_LASTS * 1000}`;
    return `${text}.${this.signatureOf(text).toString("hex")}`;
  }

  /** Gives the sign-in that a Cookie field and the issuer's answer both tell of; `null`: there is none, or not any more. */
  find(cookie: string | null, came: string | undefined): Attempt | null {
    for (const kept of cookiesIn(cookie, SIGN_IN_COOKIE)) {
      const [, text = "", state = "", nonce = "", verifier = "", until = "", signature = ""] = KEPT.exec(kept) ?? [];
      if (state === "" || state !== came || Number(until) <= this.deps.clock.wall() || this.spent.has(state)) continue;
      if (timingSafeEqual(Buffer.from(signature, "hex"), this.signatureOf(text))) return { state, nonce, verifier };
    }
    return null;
  }

  /** Notes that an attempt has come back with a code: it does so once. */
  spend({ state }: Attempt): void {
    const now = this.deps.clock.wall();
    for (const [oldest, until] of this.spent) {
      if (until > now && this.spent.size < MAX_SPENT) break;
      this.spent.delete(oldest);
    }
    this.spent.set(state, now + ATTEMPT_LASTS * 1000);
  }

  private signatureOf(text: string): Buffer {
    const secrets = this.deps.secrets();
    const isShared = secrets.some((secret) => secret !== "");
    const from = isShared ? JSON.stringify(secrets) : this.own;
    return createHmac("sha256", Buffer.from(hkdfSync("sha256", from, "", "sluice sign-in attempt", 32)))
      .update(text)
      .digest();
  }
}
