import type { Known } from "../config/section.ts";
import { HAND_OUT_PATH, matchOf } from "../http/path.ts";

const trimmed = (path: string): string => path.replace(/\/$/, "");

/** Tells whether a route's path is the one where keys of pools are handed out. */
export const isHandOut = (path: string): boolean => trimmed(matchOf(path)) === HAND_OUT_PATH;

/** Tells whether a path never comes to the routes. */
export function isOwn(written: string, known: Known): boolean {
  // However it is written: routes are matched by what it means.
  const path = matchOf(written);
  if (known.pools.size > 0 && isHandOut(written)) return true;
  if (/^\/(_?health|ready|_?metrics)\/?$/.test(path)) return true;
  if (known.activities !== null && trimmed(path) === trimmed(matchOf(known.activities))) return true;
  return !known.hasAdminListener && /^\/(admin|swagger)(\/|$)/.test(path);
}
