import type { Caller } from "../exchange/caller.ts";
import { bothOf } from "../keys/narrowed.ts";
import type { Fault } from "../schema/faults.ts";
import type { SelfServiceRules } from "../tiers/settings.ts";
import { parseTime } from "../values/units.ts";

/** Says what a key is to do; what is left out is what the key from which it is made allows. */
export interface Wish {
  readonly scopes?: readonly string[];
  readonly routes?: readonly string[];
  readonly ips?: readonly string[];
  readonly models?: readonly string[];
  /** RFC 3339. */
  readonly expiresAt?: string;
}

/** Says what a key may do, in the fields of the admin API; an empty list of routes, addresses or models means all. */
export interface Grant {
  readonly scopes: string[];
  readonly routes: string[];
  readonly ips: string[];
  readonly models: string[];
  readonly expiresAt?: string;
}

/** Holds what a tier lets keys do that callers make. */
export type Allowed = Pick<SelfServiceRules, "scopes" | "routes">;

/**
 * Gives what a key may do that its holder makes from another: what is wished for, or all that both the key and the tier allow. Wishing for
 * more is a fault. `now` in milliseconds since 1970.
 */
export function grantFrom(
  key: Pick<Caller, "scopes" | "routes" | "ips" | "models" | "expiresAt">,
  tier: Allowed,
  wish: Wish,
  now: number,
): { readonly grant: Grant | null; readonly faults: readonly Fault[] } {
  const faults: Fault[] = [];
  const scopes = key.scopes.filter((scope) => tier.scopes.includes(scope));
  for (const [i, scope] of (wish.scopes ?? []).entries())
    if (!scopes.includes(scope)) faults.push({ path: ["scopes", i], message: `can't be given: ${offer("scopes", scopes)}` });
  const routes = bothOf(key.routes, tier.routes);
  if (routes === null)
    faults.push({ path: ["routes"], message: "have no name: your key may use no route that your tier lets such keys use" });
  else if (routes.length > 0)
    for (const [i, route] of (wish.routes ?? []).entries())
      if (!routes.includes(route)) faults.push({ path: ["routes", i], message: `can't be given: ${offer("routes", routes)}` });
  const { ips, models } = key;
  if (ips !== null)
    for (const [i, ip] of (wish.ips ?? []).entries())
      if (!ips.covers(ip)) faults.push({ path: ["ips", i], message: `can't be given: ${offer("addresses", ips.list)}` });
  if (models !== null)
    for (const [i, model] of (wish.models ?? []).entries())
      if (!models.covers(model)) faults.push({ path: ["models", i], message: `can't be given: ${offer("models", models.list)}` });
  const until = wish.expiresAt === undefined ? null : parseTime(wish.expiresAt);
  if (wish.expiresAt !== undefined && until === null)
    faults.push({ path: ["expiresAt"], message: 'must be an RFC 3339 time such as "2027-01-31T00:00:00Z"' });
  if (until !== null && until <= now) faults.push({ path: ["expiresAt"], message: "is over already" });
  if (until !== null && until > key.expiresAt)
    faults.push({
      path: ["expiresAt"],
      message: `is later than the end of the key from which it is made, ${new Date(key.expiresAt).toISOString()}`,
    });
  if (routes === null || faults.length > 0) return { grant: null, faults };
  const end = until ?? (key.expiresAt === Number.POSITIVE_INFINITY ? null : key.expiresAt);
  return {
    grant: {
      scopes: [...new Set(wish.scopes ?? scopes)],
      // None named means all: a wish for none at all is one for what may be had.
      routes: [...new Set(nonEmpty(wish.routes) ?? routes)],
      ips: [...new Set(nonEmpty(wish.ips) ?? ips?.list ?? [])],
      models: [...new Set(nonEmpty(wish.models) ?? models?.list ?? [])],
      ...(end === null ? {} : { expiresAt: new Date(end).toISOString() }),
    },
    faults,
  };
}

const nonEmpty = (list: readonly string[] | undefined): readonly string[] | null => (list === undefined || list.length === 0 ? null : list);

const offer = (what: string, those: readonly string[]): string =>
  those.length === 0 ? `a key made from yours has no ${what}` : `the ${what} that a key made from yours may have are ${those.join(", ")}`;
