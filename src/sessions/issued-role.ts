import type { Role } from "../admin/rights.ts";
import { claimAt } from "../issuers/claims.ts";
import { type Claims, textOf } from "../issuers/token.ts";

/** Says which role each value of an issuer's claim gives. */
export interface RoleRules {
  /** The claim; dots lead inwards. */
  readonly claim: string;
  readonly map: Readonly<Record<string, Role>>;
}

/** The most values of a claim that are looked at. */
const MAX_VALUES = 1000;

/** Gives those values of the claim that give a role: it is a list, or one value. */
export function valuesWithRole(claims: Claims, { claim, map }: RoleRules): string[] {
  const found = claimAt(claims, claim);
  const values = (Array.isArray(found) ? found.slice(0, MAX_VALUES) : [found]).map(textOf);
  return [...new Set(values.filter((value) => value !== null))].filter((value) => Object.hasOwn(map, value));
}

/** Gives the role with the most rights that these values give, `roles` in their order; `null`: they give none. */
export function roleOfValues(values: readonly string[], { map }: RoleRules, roles: readonly Role[]): Role | null {
  const given = new Set(values.filter((value) => Object.hasOwn(map, value)).map((value) => map[value]));
  return roles.findLast((role) => given.has(role)) ?? null;
}
