/** Where the console is served. */
export const BASE = "/console";

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
