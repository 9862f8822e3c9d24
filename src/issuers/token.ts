import { shapeFault } from "../http/json-bounds.ts";
import { isObject, parseExactly, type RawNumber, rawJson } from "../values/json.ts";

/** Holds what a token says, of which nothing is proven yet. */
export interface Token {
  readonly text: string;
  readonly header: Readonly<Record<string, unknown>>;
  readonly claims: Claims;
}

/** Holds a token's claims by name. Numbers that JavaScript would change are `RawNumber`. */
export type Claims = Readonly<Record<string, unknown>>;

/** The most characters of a token: no head that is taken by default holds more than a quarter of it. */
const MAX_TOKEN = 65_536;
/** The most values in its header or among its claims. */
const MAX_VALUES = 10_000;

const PARTS = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*$/;

/** Headers that were found to be those of a JWT, or not: all tokens by one key have the same. Cleared when there are too many. */
const MAX_HEADERS = 256;
const headers = new Map<string, boolean>();

/**
 * Tells whether a bearer token is a JWT: three parts between dots, of which the first is a JSON object in base64url. Nothing is checked of
 * the others, so that a JWT with a typing error is still one.
 */
export function isJwt(text: string): boolean {
  // A brace in base64url: nearly nothing else begins like this.
  if (text.charCodeAt(0) !== 0x65) return false;
  const first = text.indexOf(".");
  if (first < 0) return false;
  const second = text.indexOf(".", first + 1);
  if (second < 0 || text.includes(".", second + 1)) return false;
  const header = text.slice(0, first);
  const known = headers.get(header);
  if (known !== undefined) return known;
  const isHeader = header.length <= MAX_TOKEN && decoded(header) !== null;
  // What is kept long stays in memory with the whole head that it was cut from: few characters, and copied.
  if (header.length <= 1024) {
    if (headers.size >= MAX_HEADERS) headers.clear();
    headers.set(Buffer.from(header).toString(), isHeader);
  }
  return isHeader;
}

/** Reads a JWT; `null` when it is malformed, or larger than any token should be. */
export function readToken(text: string): Token | null {
  if (text.length > MAX_TOKEN || !PARTS.test(text)) return null;
  const [first = "", second = ""] = text.split(".");
  const header = decoded(first);
  const claims = decoded(second);
  return header === null || claims === null ? null : { text, header, claims };
}

/** Gives the JSON object in a part of a token, or `null`. */
function decoded(part: string): Record<string, unknown> | null {
  if (part.length % 4 === 1) return null;
  const bytes = Buffer.from(part, "base64url");
  if (bytes[0] !== 0x7b) return null;
  const json = bytes.toString();
  if (shapeFault(json, MAX_VALUES) !== null) return null;
  try {
    const value = parseExactly(json);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

/** Gives a claim's number, or `null` where it is none. */
export function numberOf(claim: unknown): number | null {
  const number = rawJson.isRawJSON(claim) ? Number(claim.rawJSON) : claim;
  return typeof number === "number" && Number.isFinite(number) ? number : null;
}

/** Gives text, a number, or true and false as text; `null` for anything else. */
export function textOf(claim: unknown): string | null {
  if (rawJson.isRawJSON(claim)) return (claim as RawNumber).rawJSON;
  return typeof claim === "string" ? claim : typeof claim === "number" || typeof claim === "boolean" ? String(claim) : null;
}
