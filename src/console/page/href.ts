/** Where the console is served. */
export const BASE = "/console";

/** Gives the values that an address holds of these names; `null` for what is not there. */
export const valuesOf = (query: URLSearchParams, names: readonly string[]): Readonly<Record<string, string | null>> =>
  Object.fromEntries(names.map((name) => [name, query.get(name)]));

/**
 * Writes the address of a place in the console.
 *
 * @example
 * hrefTo(["consumers", "acme"]); // "/console/consumers/acme"
 */
export function hrefTo(parts: readonly string[], query: Readonly<Record<string, string | null>> = {}): string {
  const set = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== null && value !== "") set.set(name, value);
  const path = [BASE, ...parts.filter(Boolean).map(encodeURIComponent)].join("/");
  return set.size === 0 ? path : `${path}?${set}`;
}
