import { compactVerify, errors } from "jose";
import { parseDuration } from "../values/units.ts";
import { claimAt } from "./claims.ts";
import { invalid, type TokenFault, WRONG_SIGNATURE } from "./faults.ts";
import { type Algorithm, algorithmsOf, type IssuerConfig } from "./settings.ts";
import { type Claims, numberOf, type Token } from "./token.ts";
import type { VerificationKey } from "./verification-keys.ts";

/** Holds an issuer's rules for tokens, made ready. Times in milliseconds. */
export interface TokenRules {
  readonly issuer: string;
  readonly audience: readonly string[];
  readonly algorithms: readonly Algorithm[];
  /** The `typ` that a token must have, as it is compared; `null`: any. */
  readonly type: string | null;
  readonly tolerance: number;
  readonly maxAge: number | null;
  readonly requiredClaims: readonly string[];
}

export const compileRules = (config: IssuerConfig): TokenRules => ({
  issuer: config.issuer,
  audience: config.audience,
  algorithms: algorithmsOf(config),
  type: config.type === null ? null : mediaTypeOf(config.type),
  tolerance: parseDuration(config.clockTolerance),
  maxAge: config.maxAge === null ? null : parseDuration(config.maxAge),
  requiredClaims: config.requiredClaims,
});

/** Gives a `typ` as it is compared (RFC 7515, section 4.1.9): in small letters, and without `application/`. */
const mediaTypeOf = (type: string): string => type.toLowerCase().replace(/^application\/(?=[^/]*$)/, "");

/** Says what a token asks to be checked by. */
export interface Demand {
  readonly algorithm: Algorithm;
  /** The name of the key; `null` where it names none. */
  readonly kid: string | null;
}

/** Gives by what a token has to be checked, or why it is refused without that: its header alone decides. */
export function demandOf({ header }: Token, rules: TokenRules): Demand | TokenFault {
  const { alg, kid, crit, typ } = header;
  const algorithm = rules.algorithms.find((each) => each === alg);
  if (algorithm === undefined)
    return invalid(
      "The token is signed by an algorithm that is not taken here",
      `its alg is ${shown(alg)}: taken are ${rules.algorithms.join(", ")}`,
    );
  // Whoever does not know what is critical must refuse it (RFC 7515, section 4.1.11), and nothing is known here.
  if (crit !== undefined) return invalid("The token has a critical header that is not known here", "its header has crit");
  if (kid !== undefined && (typeof kid !== "string" || kid.length > 1024))
    return invalid("The token names its key in a way that is not understood", `its kid is ${shown(kid)}`);
  if (rules.type !== null && (typeof typ !== "string" || mediaTypeOf(typ) !== rules.type))
    return invalid("The token is of another type than is taken here", `its typ is ${shown(typ)}, not ${rules.type}`);
  return { algorithm, kid: kid ?? null };
}

/** Gives the fault of a token that none of these keys has signed, or `null`. Keys are those that fit the algorithm. */
export async function signatureFault(
  { text }: Token,
  algorithm: Algorithm,
  keys: readonly VerificationKey[] | Uint8Array,
): Promise<TokenFault | null> {
  if (keys instanceof Uint8Array) return (await isSigned(text, algorithm, keys)) ? null : WRONG_SIGNATURE;
  if (keys.length === 0)
    return invalid("The token is signed by an algorithm that its key is not for", `the key that it names is not for ${algorithm}`);
  let tried = 0;
  for (const each of keys) {
    const key = await each.ready(algorithm);
    if (key === null) continue;
    tried++;
    if (await isSigned(text, algorithm, key)) return null;
  }
  return tried > 0 ? WRONG_SIGNATURE : invalid("The key of the token can not be used", "the key that it names is malformed, or too short");
}

async function isSigned(text: string, algorithm: Algorithm, key: Parameters<typeof compactVerify>[1]): Promise<boolean> {
  try {
    await compactVerify(text, key, { algorithms: [algorithm] });
    return true;
  } catch (error) {
    if (error instanceof errors.JOSEError || error instanceof TypeError) return false;
    throw error;
  }
}

/** Gives what is wrong with the claims of a token that its issuer has signed; `null` when nothing is. `now` in milliseconds since 1970. */
export function claimsFault(claims: Claims, rules: TokenRules, now: number): TokenFault | null {
  for (const name of rules.requiredClaims) {
    const claim = claimAt(claims, name);
    if (claim === undefined || claim === null) return invalid(`The token lacks the claim ${name}`);
  }
  return audienceFault(claims, rules) ?? timeFault(claims, rules, now);
}

function audienceFault({ aud }: Claims, { audience }: TokenRules): TokenFault | null {
  if (audience.length === 0) return null;
  const named = Array.isArray(aud) ? aud : [aud];
  if (named.some((each) => typeof each === "string" && audience.includes(each))) return null;
  return invalid("The token is for another audience", `its aud is ${shown(aud)}: wanted is any of ${audience.join(", ")}`);
}

/** Gives what is wrong with the times of a token (RFC 7519, sections 4.1.4 to 4.1.6). */
function timeFault(claims: Claims, { tolerance, maxAge }: TokenRules, now: number): TokenFault | null {
  const times: { exp: number | null; nbf: number | null; iat: number | null } = { exp: null, nbf: null, iat: null };
  for (const name of ["exp", "nbf", "iat"] as const) {
    if (claims[name] === undefined) continue;
    const seconds = numberOf(claims[name]);
    if (seconds === null) return invalid(`The claim ${name} of the token is no number`);
    times[name] = seconds * 1000;
  }
  const { exp, nbf, iat } = times;
  if (exp !== null && now >= exp + tolerance) return expired(`its exp was ${ago(now - exp)}`);
  if (nbf !== null && now < nbf - tolerance) return invalid("The token is not valid yet", `its nbf is in ${span(nbf - now)}`);
  if (iat !== null && now < iat - tolerance) return invalid("The token comes from the future", `its iat is in ${span(iat - now)}`);
  if (maxAge === null) return null;
  if (iat === null) return invalid("The token lacks the claim iat");
  return now >= iat + maxAge + tolerance ? expired(`its iat was ${ago(now - iat)}, which is more than maxAge`) : null;
}

const expired = (why: string): TokenFault => ({ code: "tokenExpired", says: "The token has expired", why, isGuess: false });

const span = (milliseconds: number): string => `${Math.ceil(milliseconds / 1000)} s`;
const ago = (milliseconds: number): string => `${span(milliseconds)} ago`;

/** Gives when a token ends, in milliseconds since 1970; infinite where nothing says so. It must have passed `claimsFault`. */
export function endOf({ exp, iat }: Claims, { tolerance, maxAge }: TokenRules): number {
  const end = numberOf(exp);
  const issued = maxAge === null ? null : numberOf(iat);
  return Math.min(
    end === null ? Number.POSITIVE_INFINITY : end * 1000 + tolerance,
    issued === null ? Number.POSITIVE_INFINITY : issued * 1000 + (maxAge ?? 0) + tolerance,
  );
}

/** Shows a value that came with a token, shortened. */
function shown(value: unknown): string {
  if (value === undefined) return "missing";
  const text = JSON.stringify(value) ?? "";
  return text.length > 100 ? `${text.slice(0, 99)}…` : text;
}
