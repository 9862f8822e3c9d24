import { isObject } from "../values/json.ts";
import type { IssuerConfig } from "./settings.ts";
import { type Claims, textOf } from "./token.ts";

/** Says who calls, by the claims of a token that is proven. */
export interface Bearer {
  /** The consumer's id: the issuer's name and the claim's value, or the value alone. */
  readonly id: string;
  readonly tier: string;
  readonly scopes: readonly string[];
  /** Header lines for the backend, each ended by CRLF; "" for none. */
  readonly lines: string;
}

/** What says which claims make a caller. */
export type ClaimRules = Pick<IssuerConfig, "consumer" | "trustNames" | "tier" | "scopes" | "headers">;

/** The characters of a caller's name: it stands in a header, in subjects of limits and in addresses of the admin API. */
const VALUE = /^[!#-[\]-~]{1,128}$/;
/** The same where the value is a consumer's id by itself: nothing that could pass for an address or a list among the subjects. */
const IDENTIFIER = /^[A-Za-z0-9][A-Za-z0-9._@:-]{0,127}$/;
const SCOPE = /^[!#-[\]-~]{1,128}$/;
const MAX_SCOPES = 256;
const MAX_HEADER = 1024;
/** Control characters, also those of Latin-1 and the line separators that some programs take for line breaks. */
const CONTROL = /[\x00-\x1f\x7f-\x9f\u2028\u2029]/;

/**
 * Gives the claim at a path in which dots lead inwards; `undefined` where there is none. A claim whose name holds the dots comes first, as
 * in `https://example.com/plan`.
 */
export function claimAt(claims: Claims, path: string): unknown {
  if (Object.hasOwn(claims, path)) return claims[path];
  if (!path.includes(".")) return undefined;
  let here: unknown = claims;
  for (const step of path.split(".")) {
    if (!isObject(here) || !Object.hasOwn(here, step)) return undefined;
    here = here[step];
  }
  return here;
}

/** Gives who calls, or what is wrong with the claim that should say it. `issuer`: the issuer's name. */
export function bearerOf(claims: Claims, issuer: string, rules: ClaimRules): Bearer | string {
  const named = claimAt(claims, rules.consumer);
  if (named === undefined || named === null) return `has no claim ${rules.consumer}, which names the caller`;
  const value = typeof named === "boolean" ? null : textOf(named);
  if (value === null) return `has a claim ${rules.consumer} that is neither text nor a number`;
  if (!(rules.trustNames ? IDENTIFIER : VALUE).test(value))
    return `has a claim ${rules.consumer} that can't be a name: up to 128 printable characters without spaces`;
  return {
    id: rules.trustNames ? value : `${issuer}:${value}`,
    tier: tierOf(claims, rules.tier),
    scopes: rules.scopes === null ? [] : scopesOf(claimAt(claims, rules.scopes)),
    lines: linesOf(claims, rules.headers),
  };
}

function tierOf(claims: Claims, { claim, map, default: otherwise }: ClaimRules["tier"]): string {
  const value = claim === null ? null : textOf(claimAt(claims, claim));
  return value !== null && Object.hasOwn(map, value) ? (map[value] as string) : otherwise;
}

/** Gives scopes that stand in a text, with spaces between them, or in a list. What can't be a scope is left out. */
function scopesOf(claim: unknown): string[] {
  const list = typeof claim === "string" ? claim.split(" ") : Array.isArray(claim) ? claim : [];
  return list.filter((scope): scope is string => typeof scope === "string" && SCOPE.test(scope)).slice(0, MAX_SCOPES);
}

function linesOf(claims: Claims, headers: ClaimRules["headers"]): string {
  let lines = "";
  for (const [name, path] of Object.entries(headers)) {
    const text = textOf(claimAt(claims, path));
    if (text === null || CONTROL.test(text)) continue;
    // Heads are written byte by byte: other alphabets go in UTF-8.
    const bytes = Buffer.from(text);
    if (bytes.length <= MAX_HEADER) lines += `${name}: ${bytes.toString("latin1")}\r\n`;
  }
  return lines;
}
