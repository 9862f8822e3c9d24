import { commonNames } from "../values/name-patterns.ts";
import type { KeyEntry } from "./registry.ts";

/**
 * Gives a key that its holder made, with no more than the key has from which it was made: its scopes, routes, addresses and models as far
 * as both have them, its limits, its time. Limits count both as one. Without that key, or where they have nothing in common, it is no good.
 */
export function narrowed(key: KeyEntry, from: KeyEntry | null): KeyEntry {
  if (from === null || from.madeFrom !== null || from.consumer.id !== key.consumer.id) return { ...key, off: "revoked" };
  const routes = bothOf(key.routes, from.routes);
  const models = commonNames(key.models, from.models);
  const ips = key.ips === null || from.ips === null ? (key.ips ?? from.ips) : key.ips.common(from.ips);
  return {
    ...key,
    countedAs: from.id,
    scopes: key.scopes.filter((scope) => from.scopes.includes(scope)),
    routes: routes ?? [],
    ips,
    models,
    // Under one id there is one count: with limits of its own it would count by them on what that key has used.
    limits: from.limits,
    quota: from.quota,
    expiresAt: Math.min(key.expiresAt, from.expiresAt),
    off: key.off ?? from.off ?? (routes === null || ips?.isEmpty === true || models?.list.length === 0 ? "disabled" : null),
  };
}

/** Tells whether a key may have others made from it: it is no such one itself, and good. `now` in milliseconds since 1970. */
export const isOrigin = ({ madeFrom, off, expiresAt }: Pick<KeyEntry, "madeFrom" | "off" | "expiresAt">, now: number): boolean =>
  madeFrom === null && off === null && expiresAt > now;

/** Gives the names that are in both lists, of which an empty one has all; `null` where there are none. */
export function bothOf(some: readonly string[], others: readonly string[]): readonly string[] | null {
  if (some.length === 0) return others;
  if (others.length === 0) return some;
  const both = some.filter((name) => others.includes(name));
  return both.length === 0 ? null : both;
}
