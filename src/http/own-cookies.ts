import type { Fields } from "./fields.ts";

/**
 * The cookie of the console's sessions, that of a sign-in by an issuer that is under way, and that of the page for consumers. No backend
 * gets them, and none may set them.
 */
export const SESSION_COOKIE = "sluice_session";
export const SIGN_IN_COOKIE = "sluice_sign_in";
export const MY_COOKIE = "sluice_my";

const NAMES: readonly string[] = [SESSION_COOKIE, SIGN_IN_COOKIE, MY_COOKIE];
const OWN = `(?:${NAMES.join("|")})`;
// What a browser sends for a cookie without a name looks like one with a name (RFC 6265 §5.4).
const SETS_OWN = new RegExp(`^[ \\t]*=?[ \\t]*${OWN}[ \\t]*(?:[=;]|$)`);
const IS_OWN = new RegExp(`^[ \\t]*${OWN}[ \\t]*(?:=|$)`);

/** Tells whether the value of a Cookie field may hold a cookie of Sluice's own; one that does is never missed. */
export const mayHoldOwnCookie = (value: string): boolean => value.includes("sluice_") && NAMES.some((name) => value.includes(name));

/** Tells whether the value of a Set-Cookie field sets a cookie of Sluice's own. */
export const setsOwnCookie = (value: string): boolean => SETS_OWN.test(value);

/** Gives the value of a Cookie field without Sluice's own cookies, the others as they are; `null`: there are no others. */
export function withoutOwnCookies(value: string): string | null {
  const pairs = value.split(";");
  const others = pairs.filter((pair) => !IS_OWN.test(pair));
  if (others.length === pairs.length) return value;
  const text = others.join(";");
  // The space behind a semicolon that is gone.
  const left = others[0] === pairs[0] ? text : text.replace(/^[ \t]+/, "");
  return left.trim() === "" ? null : left;
}

/** Takes Sluice's own cookies out of a request's fields, which nobody else reads meanwhile. */
export const dropOwnCookies = (fields: Fields): void => fields.replace("cookie", withoutOwnCookies);

/**
 * Writes the Set-Cookie field of a cookie of Sluice's own, which no script can read. `pair`: its name and value; `maxAge` in seconds, of
 * which 0 takes it away.
 */
export const ownCookie = (pair: string, sameSite: "Strict" | "Lax", path: string, maxAge: number, isSecure: boolean): string =>
  `${pair}; HttpOnly; SameSite=${sameSite}; Path=${path}; Max-Age=${maxAge}${isSecure ? "; Secure" : ""}`;

/**
 * Gives what all Cookie fields of a request say, as one (RFC 9113 §8.2.3): browsers send one field over HTTP/1.1, others on the way may
 * send more. `null`: there is none.
 */
export function cookieText({ lower, values }: Fields): string | null {
  const shown = values.filter((_, i) => lower[i] === "cookie");
  return shown.length === 0 ? null : shown.join("; ");
}

/** Cookies of one name that are looked up: a browser has one, unless somebody sets others for other paths. */
export const MAX_COOKIES = 4;

/** Gives the values that a Cookie field shows of the cookie of this name, in their order. Browsers send several where paths differ. */
export function cookiesIn(value: string | null, name: string): string[] {
  if (value === null || !value.includes(name)) return [];
  return value.split(";").flatMap((pair) => {
    const at = pair.indexOf("=");
    return at > 0 && pair.slice(0, at).trim() === name ? [pair.slice(at + 1).trim()] : [];
  });
}
