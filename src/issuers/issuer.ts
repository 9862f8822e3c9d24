import type { Clock } from "../values/clock.ts";
import { parseDuration } from "../values/units.ts";
import type { Refuses } from "./ask.ts";
import { type Bearer, bearerOf } from "./claims.ts";
import { invalid, isFault, type TokenFault, unjudged } from "./faults.ts";
import { Introspection } from "./introspection.ts";
import { type FoundKeys, KeySet } from "./key-set.ts";
import { sourceOf } from "./key-source.ts";
import type { IssuerConfig } from "./settings.ts";
import type { Claims, Token } from "./token.ts";
import { claimsFault, compileRules, type Demand, demandOf, endOf, signatureFault, type TokenRules } from "./verify.ts";

/** Says that a token is good, and who shows it. */
export interface Proven {
  readonly bearer: Bearer;
  /** The time until which the token is good, in milliseconds since 1970; may be infinite. */
  readonly endsAt: number;
}

/** What became of tokens: `remembered` were proven before, `proven` now. */
export const OUTCOMES = ["remembered", "proven", "tokenInvalid", "tokenExpired", "issuerUnavailable"] as const;
export type TokenOutcome = (typeof OUTCOMES)[number];

/** Says for whom an ID token is to be. */
export interface IdTokenFor {
  readonly clientId: string;
  readonly nonce: string;
}

export interface IssuerDeps {
  readonly clock: Clock;
  /** Learns that the issuer gives no answer and why, or does again (`null`). */
  readonly onChange: (issuer: string, trouble: string | null) => void;
  /** Says why this issuer may not be asked at a URL; `null`: it may. */
  readonly refuses: (issuer: string, url: string) => string | null;
}

/** Holds one issuer: its rules, and what it has said. */
export class Issuer {
  /** Counts its tokens by what became of them. */
  readonly counts = Object.fromEntries(OUTCOMES.map((outcome) => [outcome, 0])) as Record<TokenOutcome, number>;
  readonly rules: TokenRules;
  readonly introspection: Introspection | null;
  /** Milliseconds for which the answers of its introspection hold. */
  readonly cacheFor: number;
  /** What checks the tokens: the keys that the issuer publishes, or the secret. */
  private readonly by: KeySet | Uint8Array;
  private holds = true;
  /** Why its introspection gives no answer. */
  private trouble: string | null = null;
  private isToldAway: boolean;

  /** `before`: the issuer whose place this one takes, and whose keys it keeps where they come from the same place. */
  constructor(
    readonly name: string,
    readonly config: IssuerConfig,
    private readonly deps: IssuerDeps,
    before: Issuer | null = null,
  ) {
    const { secret, introspection } = config;
    this.rules = compileRules(config);
    const refuses: Refuses = (url) => deps.refuses(name, url);
    if (secret !== null) this.by = Buffer.from(secret);
    else {
      const known = before?.keys ?? null;
      this.by =
        before !== null && known !== null && hasSameKeys(before.config, config)
          ? known
          : new KeySet({ source: sourceOf(config, refuses), clock: deps.clock });
      this.by.onChange = () => this.tell();
    }
    this.cacheFor = introspection === null ? 0 : parseDuration(introspection.cacheFor);
    this.introspection =
      introspection === null
        ? null
        : new Introspection(
            introspection,
            (trouble) => {
              this.trouble = trouble;
              this.tell();
            },
            refuses,
          );
    // What the keys are short of was told when they were the other's.
    this.isToldAway = this.whyAway !== null;
    if (before !== null) Object.assign(this.counts, before.counts);
  }

  /** The keys that the issuer publishes; `null`: a secret checks the tokens. */
  get keys(): KeySet | null {
    return this.by instanceof KeySet ? this.by : null;
  }

  /** False when another configuration has taken its place: what it has proven holds no more. */
  get isInForce(): boolean {
    return this.holds;
  }

  /** Says why it can't judge tokens, or not all of them; `null` while it can. */
  get whyAway(): string | null {
    return this.keys?.trouble ?? this.trouble;
  }

  /** Fetches keys in the background where that is due; for the start and a timer. */
  look(): void {
    // One that is asked about each token need not publish keys.
    if (this.introspection === null || this.config.jwks !== null) this.keys?.look();
  }

  /** Tells whether a JWT is good, and who shows it. `now` in milliseconds since 1970. */
  async judge(token: Token, now: number): Promise<Proven | TokenFault> {
    return (await this.faultOf(token, this.rules, now)) ?? this.proven(token.claims);
  }

  /**
   * Gives what is wrong with an ID token (OpenID Connect Core 1.0, section 3.1.3.7) that was made for a client and for the sign-in with this
   * nonce; `null` when nothing is. `now` in milliseconds since 1970.
   */
  async idTokenFault(token: Token, { clientId, nonce }: IdTokenFor, now: number): Promise<TokenFault | null> {
    const { iss, azp } = token.claims;
    if (iss !== this.rules.issuer) return invalid("The ID token is of another issuer");
    if (azp !== undefined && azp !== clientId) return invalid("The ID token is for another client");
    const rules: TokenRules = { ...this.rules, audience: [clientId], type: null, requiredClaims: ["sub", "aud", "exp", "iat"] };
    const fault = await this.faultOf(token, rules, now);
    return fault ?? (token.claims.nonce === nonce ? null : invalid("The ID token is of another sign-in"));
  }

  /** Says why the issuer may not be asked at a URL; `null`: it may. */
  refuses(url: string): string | null {
    return this.deps.refuses(this.name, url);
  }

  private async faultOf(token: Token, rules: TokenRules, now: number): Promise<TokenFault | null> {
    const demand = demandOf(token, rules);
    if (isFault(demand)) return demand;
    const { by } = this;
    const fault = by instanceof KeySet ? await this.keysFault(by, token, demand) : await signatureFault(token, demand.algorithm, by);
    return fault ?? claimsFault(token.claims, rules, now);
  }

  /** Asks whether a token that is no JWT is good. `hash`: what tells it from others. */
  async ask(token: string, hash: string, now: number): Promise<Proven | TokenFault> {
    const { introspection, rules } = this;
    if (introspection === null) return invalid("The token is not a JWT");
    const answer = await introspection.ask(token, hash);
    if ("trouble" in answer) return unjudged(`issuer ${this.name} was not there to ask: ${answer.trouble}`);
    const claims = answer.claims === null ? null : withSubject(answer.claims);
    if (claims === null) return invalid("The token is not known, or not good any more", `issuer ${this.name} says that it is not active`);
    if (claims.iss !== undefined && claims.iss !== rules.issuer) return invalid("The token is of another issuer");
    // The answer itself says that the token is good now: it need not say until when.
    const required = rules.requiredClaims.filter((claim) => claim !== "exp");
    return claimsFault(claims, { ...rules, requiredClaims: required }, now) ?? this.proven(claims);
  }

  /** Ends: what it proves from now on is not remembered. What is under way goes on, for the requests that wait for it: 5 s at most. */
  retire(): void {
    this.holds = false;
  }

  /** Ends, and gives up what is under way. */
  close(): void {
    this.retire();
    this.introspection?.close();
    this.keys?.close();
  }

  /** Gives the fault of a token that none of the issuer's keys has signed; `null` where one has. */
  private async keysFault(keys: KeySet, token: Token, { algorithm, kid }: Demand): Promise<TokenFault | null> {
    const found = await keys.find(kid, algorithm);
    if (found.kind !== "keys") return this.withoutKeys(found);
    const fault = await signatureFault(token, algorithm, found.keys);
    // Keys without names: that none of them fits may as well mean that there are others by now.
    if (fault === null || kid !== null) return fault;
    const newer = await keys.find(kid, algorithm, found.version);
    return newer.kind === "keys" ? signatureFault(token, algorithm, newer.keys) : fault;
  }

  private withoutKeys(found: Exclude<FoundKeys, { kind: "keys" }>): TokenFault {
    return found.kind === "unavailable"
      ? unjudged(`issuer ${this.name} can't be asked: ${found.why}`)
      : invalid("The token is signed by a key that its issuer does not have", `issuer ${this.name} has no key with its kid`);
  }

  private proven(claims: Claims): Proven | TokenFault {
    const bearer = bearerOf(claims, this.name, this.config);
    if (typeof bearer === "string") return invalid(`The token ${bearer}`);
    return { bearer, endsAt: endOf(claims, this.rules) };
  }

  /** Tells of it when the issuer can't be asked any more, or can again. */
  private tell(): void {
    const { whyAway } = this;
    if (this.isToldAway === (whyAway !== null) || !this.holds) return;
    this.isToldAway = whyAway !== null;
    this.deps.onChange(this.name, whyAway);
  }
}

/** Names a client that has a token for itself as its subject, as JWTs do (RFC 9068, section 2.2): answers to questions may leave that out. */
const withSubject = (claims: Claims): Claims =>
  claims.sub === undefined && typeof claims.client_id === "string" ? { ...claims, sub: claims.client_id } : claims;

const hasSameKeys = (before: IssuerConfig, next: IssuerConfig): boolean => before.issuer === next.issuer && before.jwks === next.jwks;
