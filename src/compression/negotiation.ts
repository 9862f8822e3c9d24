import type { Coding } from "./settings.ts";

/** One element of Accept-Encoding: a coding, and how much it is liked, from 0 to 1 (RFC 9110 §12.5.3). */
const ELEMENT = /^\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*)?$/i;

/**
 * Chooses the coding of a response by the request's Accept-Encoding: the one that the caller likes best, and of several the first of
 * `offered`. Gives `null` where the response goes out as it is: the field is missing, takes none of them, or prefers `identity`.
 *
 * @example
 * codingFor("gzip, br;q=0.9", ["zstd", "br", "gzip"]); // "gzip"
 */
export function codingFor(accepted: string | null, offered: readonly Coding[]): Coding | null {
  if (accepted === null || accepted === "") return null;
  const likes = likesOf(accepted);
  const others = likes.get("*") ?? 0;
  let best: Coding | null = null;
  let most = 0;
  for (const coding of offered) {
    const like = likes.get(coding) ?? others;
    if (like <= most) continue;
    best = coding;
    most = like;
  }
  return (likes.get("identity") ?? 0) > most ? null : best;
}

/** Reads how much each coding is liked. What can't be read is left out: that caller gets no such coding. */
function likesOf(accepted: string): Map<string, number> {
  const likes = new Map<string, number>();
  for (const element of accepted.split(",")) {
    const [, name, q] = ELEMENT.exec(element) ?? [];
    if (name === undefined) continue;
    const lower = name.toLowerCase();
    // An old name for the same (RFC 9110 §8.4.1.3).
    likes.set(lower === "x-gzip" ? "gzip" : lower, q === undefined ? 1 : Number(q));
  }
  return likes;
}
