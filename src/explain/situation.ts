import { type Static, Type } from "@sinclair/typebox";
import type { Route } from "../exchange/route.ts";
import { invalid, notFound } from "../http/refused.ts";
import type { Keys } from "../keys/keys.ts";
import type { KeyRegistry } from "../keys/registry.ts";
import { normaliseIp } from "../values/ip.ts";
import type { Situation } from "./explain.ts";

export interface SituationDeps {
  readonly registry: KeyRegistry;
  readonly keys: Keys;
  /** Gives the route of this name, or the one that takes this path; `null` when there is none. */
  readonly routeOf: (nameOrPath: string) => Route | null;
}

export interface AskedSituation extends Situation {
  /** Keys of the consumer that have limits of their own, where none of its keys is meant. */
  readonly others: readonly string[];
}

/** The query of `GET /admin/explain`. */
export const SituationQuery = Type.Object({
  consumer: Type.Optional(Type.String({ description: "The consumer's id.", examples: ["acme"] })),
  key: Type.Optional(Type.String({ description: "A key's id, where keys have limits of their own." })),
  route: Type.Optional(Type.String({ description: "The route's name, or a path that it takes." })),
  ip: Type.Optional(
    Type.String({
      description: "The caller's address, for callers without a key and for limits by address.",
      examples: ["203.0.113.9"],
      shown: { anyOf: [{ format: "ipv4" }, { format: "ipv6" }] },
    }),
  ),
  header: Type.Optional(
    Type.Union([Type.String(), Type.Array(Type.String())], {
      description: "A field of the request, for limits by header; may be given several times.",
      examples: ["X-Tenant: acme"],
      shown: {
        type: undefined,
        anyOf: [
          { type: "string", pattern: "^[A-Za-z0-9-]+:" },
          { type: "array", items: { type: "string", pattern: "^[A-Za-z0-9-]+:" } },
        ],
      },
    }),
  ),
});

/** Gives the fields of a request by their names in small letters. Throws 422. */
function fieldsOf(given: string | string[] | undefined): Map<string, string> {
  const lines = given === undefined ? [] : typeof given === "string" ? [given] : given;
  const fields = new Map<string, string>();
  for (const line of lines) {
    const at = line.indexOf(":");
    if (at < 1) throw invalid([{ path: ["header"], message: 'must be a field, such as "X-Tenant: acme"' }]);
    const name = line.slice(0, at).trim().toLowerCase();
    const before = fields.get(name);
    const value = line.slice(at + 1).trim();
    fields.set(name, before === undefined ? value : `${before}, ${value}`);
  }
  return fields;
}

/** Finds the caller, the route and the address that a query names. Throws 404 and 422. */
export function situationOf(query: Static<typeof SituationQuery>, { registry, keys, routeOf }: SituationDeps): AskedSituation {
  if (query.consumer === undefined && query.key === undefined && query.route === undefined && query.ip === undefined)
    throw invalid([{ path: [], message: "must name a consumer, a key, a route or an ip, or several of them" }]);
  const ip = query.ip === undefined ? null : normaliseIp(query.ip);
  if (query.ip !== undefined && ip === null) throw invalid([{ path: ["ip"], message: "must be an IPv4 or IPv6 address" }]);
  const route = query.route === undefined ? null : routeOf(query.route);
  if (query.route !== undefined && route === null) throw notFound("route", query.route);
  const owner = query.key === undefined ? query.consumer : keys.get(query.key).record.consumer;
  if (query.consumer !== undefined && query.consumer !== owner)
    throw invalid([{ path: ["key"], message: `is a key of ${JSON.stringify(owner)}` }]);
  const fields = fieldsOf(query.header);
  const header = (name: string): string | null => fields.get(name.toLowerCase()) ?? null;
  if (owner === undefined) return { consumer: null, key: null, keys: [], route, ip, header, others: [] };
  const consumer = registry.consumer(owner);
  if (consumer === undefined) throw notFound("consumer", owner);
  const entries = keys.entriesOf(owner);
  const isSpecial = (entry: (typeof entries)[number]): boolean => (entry.limits ?? []).length > 0 || (entry.quota ?? []).length > 0;
  const key =
    query.key === undefined ? (entries.length === 1 ? (entries[0] ?? null) : null) : (entries.find(({ id }) => id === query.key) ?? null);
  // A revoked key has no limits any more.
  if (query.key !== undefined && key === null) throw notFound("key in use", query.key);
  return { consumer, key, keys: entries, route, ip, header, others: key === null ? entries.filter(isSpecial).map(({ id }) => id) : [] };
}
