import type { ConsumerEntry, KeyRegistry } from "../keys/registry.ts";
import type { Emit } from "../telemetry/occurrences.ts";
import type { Clock } from "../values/clock.ts";
import { beginsLikeMade, hashKey } from "../values/key-format.ts";
import { TokenCaller } from "./caller.ts";
import { invalid, isFault, MALFORMED, type TokenFault, UNKNOWN_ISSUER } from "./faults.ts";
import { Issuer, type IssuerDeps, type Proven } from "./issuer.ts";
import { Remembered } from "./remembered.ts";
import { type IssuerConfig, MAX_CACHED } from "./settings.ts";
import { isJwt, readToken } from "./token.ts";

/** The most tokens that are remembered as good. */
const MAX_REMEMBERED = 10_000;
/** The most tokens of which is remembered that an issuer does not know them. */
const MAX_REFUSED = 1000;
/** The form of bearer tokens (RFC 6750, section 2.1). An issuer is not asked about anything else: many answer it with an error. */
const OPAQUE = /^[A-Za-z0-9._~+/-]+=*$/;

export interface IssuersDeps {
  readonly clock: Clock;
  /** Knows the records that bring limits to callers with tokens. */
  readonly keys: Pick<KeyRegistry, "consumer" | "knows">;
  readonly emit: Emit;
  /** Says why an issuer may not be asked at a URL; `null`: it may. Left out: every one may. */
  readonly refuses?: IssuerDeps["refuses"];
}

/** Holds a token that is to be judged. */
interface Shown {
  readonly token: string;
  readonly hash: string;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** False where somebody only asks about it. */
  readonly isShown: boolean;
}

interface Known {
  readonly issuer: Issuer;
  readonly caller: TokenCaller;
}

/** Tells who calls by tokens that others have signed. */
export class Issuers {
  /** Counts tokens that no issuer was found for. */
  readonly strangers = { tokenInvalid: 0, issuerUnknown: 0 };
  private byName = new Map<string, Issuer>();
  private byIss = new Map<string, Issuer>();
  /** Those that are asked about tokens which are no JWTs. */
  private asked: readonly Issuer[] = [];
  private readonly remembered = new Remembered<Known>(MAX_REMEMBERED);
  private readonly refused = new Remembered<TokenFault>(MAX_REFUSED);
  /** The callers that were seen lately, by their ids: for people who ask about them. */
  private readonly callers = new Remembered<Known>(MAX_REMEMBERED);
  private readonly underWay = new Map<string, Promise<Known | TokenFault>>();

  constructor(private readonly deps: IssuersDeps) {}

  /** Puts these issuers in force. Keys and proven tokens of those that stay as they are stay as well. Their `issuer`s must differ. */
  configure(list: Iterable<readonly [name: string, config: IssuerConfig]>): void {
    const before = this.byName;
    const { clock, emit, refuses = () => null } = this.deps;
    const onChange = (issuer: string, why: string | null) => emit({ type: "issuer", issuer, why });
    this.byName = new Map(
      [...list].map(([name, config]) => {
        const known = before.get(name) ?? null;
        return [
          name,
          known !== null && Bun.deepEquals(known.config, config) ? known : new Issuer(name, config, { clock, onChange, refuses }, known),
        ];
      }),
    );
    this.byIss = new Map([...this.byName.values()].map((issuer) => [issuer.config.issuer, issuer]));
    this.asked = [...this.byName.values()].filter(({ introspection }) => introspection !== null);
    for (const [name, issuer] of before) {
      const next = this.byName.get(name) ?? null;
      if (next === issuer) continue;
      if (next === null) issuer.close();
      else issuer.retire();
      // What was wrong with it is not so any more, as far as anybody knows.
      if (issuer.whyAway !== null && next?.whyAway == null) onChange(name, null);
    }
    for (const each of [this.remembered, this.callers]) each.forget(({ issuer }) => !issuer.isInForce);
    // An answer of one issuer may be another's to give now, and what is judged by those before is for requests of before.
    this.refused.forget(() => true);
    this.underWay.clear();
    this.look();
  }

  get isEmpty(): boolean {
    return this.byName.size === 0;
  }

  /** The number of tokens that are remembered as good. */
  get rememberedTokens(): number {
    return this.remembered.size;
  }

  all(): readonly Issuer[] {
    return [...this.byName.values()];
  }

  get(name: string): Issuer | null {
    return this.byName.get(name) ?? null;
  }

  /**
   * Gives the lower-case names of the fields in which backends are told claims of callers with tokens of these issuers; without names, of
   * all.
   */
  claimFields(names: readonly string[]): string[] {
    return this.meant(names).flatMap(({ config }) => Object.keys(config.headers).map((name) => name.toLowerCase()));
  }

  private meant(names: readonly string[]): readonly Issuer[] {
    return names.length === 0 ? this.all() : this.all().filter(({ name }) => names.includes(name));
  }

  /** Gives the `issuer` of each of these issuers; without names, of all. */
  namesOf(names: readonly string[]): string[] {
    return this.meant(names).map(({ config }) => config.issuer);
  }

  /** Gives the caller of this id whose token was proven last, as long as it is good; `null` where none is known. */
  callerOf(id: string): TokenCaller | null {
    return this.callers.get(id, this.deps.clock.wall())?.caller ?? null;
  }

  /** Fetches keys in the background where that is due; for a timer. */
  look(): void {
    for (const issuer of this.byName.values()) issuer.look();
  }

  close(): void {
    for (const issuer of this.byName.values()) issuer.close();
  }

  /**
   * Tells whether a bearer token is for issuers to judge: a JWT, or one that is no key where an issuer is asked about such. Without issuers
   * none is.
   */
  takes(token: string): boolean {
    if (this.byName.size === 0) return false;
    return isJwt(token) || (this.asked.length > 0 && OPAQUE.test(token) && !beginsLikeMade(token) && !this.deps.keys.knows(token));
  }

  /**
   * Gives the caller who shows a token, at once where it was proven before, or why it is refused. It must be one that `takes` takes. `now`
   * in milliseconds since 1970. `isShown`: false where somebody only asks about it, so that nothing is counted or remembered.
   */
  find(token: string, now: number, isShown = true): TokenCaller | TokenFault | Promise<TokenCaller | TokenFault> {
    const hash = hashKey(token);
    const known = this.remembered.get(hash, now);
    if (known !== null) {
      if (isShown) known.issuer.counts.remembered++;
      return this.admitted(known.caller);
    }
    const underWay = this.underWay.get(hash) ?? (isShown ? this.judge(token, hash, now) : this.judged({ token, hash, now, isShown }));
    return underWay.then((found) => (isFault(found) ? found : this.admitted(found.caller)));
  }

  /** Gives the caller of a token that was proven before, whether they may come in or not; `null` where nobody is known. */
  holderOf(token: string): TokenCaller | null {
    return this.remembered.get(hashKey(token), this.deps.clock.wall())?.caller ?? null;
  }

  /** Gives the issuer whose token this claims to be, and which may be none. */
  issuerOf(token: string): Issuer | null {
    const read = readToken(token);
    return read !== null && typeof read.claims.iss === "string" ? (this.byIss.get(read.claims.iss) ?? null) : null;
  }

  /** Gives the caller with what its record says now, or the refusal of one whose record is disabled. */
  private admitted(caller: TokenCaller): TokenCaller | TokenFault {
    let record: ConsumerEntry | null;
    try {
      record = this.deps.keys.consumer(caller.id) ?? null;
    } catch {
      return UNREADABLE;
    }
    caller.consumer.record = record;
    return record === null || record.enabled ? caller : disabled(caller.id);
  }

  /** Judges a token for all who show it meanwhile. */
  private judge(token: string, hash: string, now: number): Promise<Known | TokenFault> {
    const judged = this.judged({ token, hash, now, isShown: true }).finally(() => {
      // Another configuration may have begun to judge it anew.
      if (this.underWay.get(hash) === judged) this.underWay.delete(hash);
    });
    this.underWay.set(hash, judged);
    return judged;
  }

  private judged(shown: Shown): Promise<Known | TokenFault> {
    return isJwt(shown.token) ? this.judgeJwt(shown) : this.askAbout(shown);
  }

  private async judgeJwt(shown: Shown): Promise<Known | TokenFault> {
    const token = readToken(shown.token);
    if (token === null) return this.stranger("tokenInvalid", MALFORMED, shown);
    const { iss } = token.claims;
    const issuer = typeof iss === "string" ? this.byIss.get(iss) : undefined;
    if (issuer === undefined) return this.stranger("issuerUnknown", UNKNOWN_ISSUER, shown);
    return this.settled(issuer, await issuer.judge(token, shown.now), shown, MAX_CACHED);
  }

  /** Asks the issuers about a token that is no JWT, one after the other, until one knows it. */
  private async askAbout(shown: Shown): Promise<Known | TokenFault> {
    const { token, hash, now, isShown } = shown;
    const refused = this.refused.get(hash, now);
    if (refused !== null) return refused;
    const { asked } = this;
    let said: TokenFault = invalid("The token is not known");
    let isJudged = true;
    let shortest = MAX_CACHED;
    for (const issuer of asked) {
      const found = await issuer.ask(token, hash, now);
      const known = this.settled(issuer, found, shown, issuer.cacheFor);
      if (!isFault(known)) return known;
      shortest = Math.min(shortest, issuer.cacheFor);
      // Who was not there might have known it.
      if (isJudged) said = known;
      isJudged &&= known.code !== "issuerUnavailable";
    }
    // Another configuration may have come while it was asked about, whose issuers know it.
    if (isJudged && isShown && asked === this.asked) this.refused.put(hash, said, now + shortest, now);
    return said;
  }

  private stranger(outcome: keyof Issuers["strangers"], fault: TokenFault, { isShown }: Shown): TokenFault {
    if (isShown) this.strangers[outcome]++;
    return fault;
  }

  private settled(issuer: Issuer, found: Proven | TokenFault, { hash, now, isShown }: Shown, keepFor: number): Known | TokenFault {
    const { counts } = issuer;
    if (isFault(found)) {
      if (isShown && found.code !== "issuerUnknown") counts[found.code]++;
      return found;
    }
    const known: Known = { issuer, caller: new TokenCaller(found, issuer.name) };
    if (!isShown) return known;
    counts.proven++;
    // Another configuration may have come while it was judged.
    if (issuer.isInForce) {
      this.remembered.put(hash, known, Math.min(now + keepFor, found.endsAt), now);
      this.callers.put(known.caller.id, known, found.endsAt, now);
    }
    return known;
  }
}

/** Says that nobody knows whether the caller is disabled. */
const UNREADABLE: TokenFault = {
  code: "issuerUnavailable",
  says: "The token can not be checked at the moment, since the record of its consumer can not be read",
  why: "the database can't be read, where the record of the token's consumer may be",
  isGuess: false,
};

const disabled = (id: string): TokenFault => ({
  ...invalid("The consumer of the token is disabled", `the record of consumer ${id} is disabled`),
  isKnown: true,
});
