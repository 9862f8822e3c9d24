import { type Static, Type } from "@sinclair/typebox";
import type { Route } from "../exchange/route.ts";
import { invalid, notFound } from "../http/refused.ts";
import type { ClientCertificates } from "../identity/client-certificates.ts";
import { isFault, type TokenFault } from "../issuers/faults.ts";
import type { Issuers } from "../issuers/issuers.ts";
import type { Keys } from "../keys/keys.ts";
import type { KeyRegistry } from "../keys/registry.ts";
import type { Clock } from "../values/clock.ts";
import { normaliseIp } from "../values/ip.ts";
import type { Situation } from "./explain.ts";

export interface SituationDeps {
  readonly registry: KeyRegistry;
  readonly keys: Keys;
  /** Gives the route of this name, or the one that takes this path; `null` when there is none. */
  readonly routeOf: (nameOrPath: string) => Route | null;
  readonly issuers: Issuers;
  readonly certificates: Pick<ClientCertificates, "callerOf">;
  readonly clock: Clock;
}

export interface AskedSituation extends Situation {
  /** Keys of the consumer that have limits of their own, where none of its keys is meant. */
  readonly others: readonly string[];
  /** The judgement of a token; `null`: none was asked about. */
  readonly judged: JudgedToken | null;
}

/** Says what became of a token that was asked about. */
export interface JudgedToken {
  /** The name of the issuer that its `iss` names; `null`: none. */
  readonly issuer: string | null;
  /** The check that failed; `null`: the token is good. */
  readonly fault: TokenFault | null;
}

/** The query of `GET /admin/explain`. */
export const SituationQuery = Type.Object({
  consumer: Type.Optional(Type.String({ description: "The consumer's id.", examples: ["acme"] })),
  key: Type.Optional(Type.String({ description: "A key's id, where keys have limits of their own." })),
  token: Type.Optional(
    Type.String({
      maxLength: 65_536,
      description: "A token that a caller shows, in place of the consumer: `token` and `refusal` then say which check failed.",
      secret: true,
    }),
  ),
  route: Type.Optional(Type.String({ description: "The route's name, or a path that it takes." })),
  ip: Type.Optional(
    Type.String({
      description: "The caller's address, for callers without a key and for limits by address.",
      examples: ["203.0.113.9"],
      shown: { anyOf: [{ format: "ipv4" }, { format: "ipv6" }] },
    }),
  ),
  model: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 256,
      description: "The model that the request names, for limits by model.",
      examples: ["gpt-5"],
    }),
  ),
  tool: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 256,
      description: "The tool that the request calls by MCP, for limits by tool, and for routes that let callers call some.",
      examples: ["search"],
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
export async function situationOf(query: Static<typeof SituationQuery>, deps: SituationDeps): Promise<AskedSituation> {
  const { routeOf } = deps;
  if ([query.consumer, query.key, query.token, query.route, query.ip].every((each) => each === undefined))
    throw invalid([{ path: [], message: "must name a consumer, a key, a token, a route or an ip, or several of them" }]);
  const ip = query.ip === undefined ? null : normaliseIp(query.ip);
  if (query.ip !== undefined && ip === null) throw invalid([{ path: ["ip"], message: "must be an IPv4 or IPv6 address" }]);
  const route = query.route === undefined ? null : routeOf(query.route);
  if (query.route !== undefined && route === null) throw notFound("route", query.route);
  const fields = fieldsOf(query.header);
  const header = (name: string): string | null => fields.get(name.toLowerCase()) ?? null;
  const nobody: AskedSituation = {
    ...{ consumer: null, key: null, caller: null, keys: [], route, ip, header, others: [], judged: null },
    ...{ model: query.model ?? null, tool: query.tool ?? null },
  };
  if (query.token !== undefined) return { ...nobody, ...(await judged(query.token, query, deps)) };
  return { ...nobody, ...whoIs(query, deps) };
}

/** Judges a token as if it were shown. Throws 422. */
async function judged(
  token: string,
  { consumer, key }: Static<typeof SituationQuery>,
  { issuers, clock }: SituationDeps,
): Promise<Pick<AskedSituation, "judged" | "caller" | "consumer">> {
  if (consumer !== undefined || key !== undefined)
    throw invalid([{ path: ["token"], message: "says who calls by itself: name no consumer and no key" }]);
  if (!issuers.takes(token)) throw invalid([{ path: ["token"], message: NO_TOKEN }]);
  const issuer = issuers.issuerOf(token)?.name ?? null;
  const found = await issuers.find(token, clock.wall(), false);
  if (isFault(found)) return { judged: { issuer, fault: found }, caller: null, consumer: null };
  return { judged: { issuer: found.issuer, fault: null }, caller: found, consumer: found.consumer };
}

const NO_TOKEN =
  "is none that issuers judge: it is no JWT, and no issuer is asked about others (introspection), or there is no issuer, or it is a key";

/** Finds the consumer and the key that a query names. Throws 404 and 422. */
function whoIs(
  query: Static<typeof SituationQuery>,
  { registry, keys, issuers, certificates }: SituationDeps,
): Partial<Pick<AskedSituation, "consumer" | "key" | "keys" | "caller" | "others">> {
  const owner = query.key === undefined ? query.consumer : keys.get(query.key).record.consumer;
  if (query.consumer !== undefined && query.consumer !== owner)
    throw invalid([{ path: ["key"], message: `is a key of ${JSON.stringify(owner)}` }]);
  if (owner === undefined) return {};
  const consumer = registry.consumer(owner);
  const entries = keys.entriesOf(owner);
  // Who has shown a token lately, or may show a certificate, and can show nothing else.
  const caller = entries.length === 0 ? (issuers.callerOf(owner) ?? certificates.callerOf(owner)) : null;
  if (caller !== null && consumer?.enabled !== false) return { caller, consumer: caller.consumer };
  if (consumer === undefined) throw notFound("consumer", owner);
  const isSpecial = (entry: (typeof entries)[number]): boolean => (entry.limits ?? []).length > 0 || (entry.quota ?? []).length > 0;
  const key =
    query.key === undefined ? (entries.length === 1 ? (entries[0] ?? null) : null) : (entries.find(({ id }) => id === query.key) ?? null);
  // A revoked key has no limits any more.
  if (query.key !== undefined && key === null) throw notFound("key in use", query.key);
  return { consumer, key, keys: entries, others: key === null ? entries.filter(isSpecial).map(({ id }) => id) : [] };
}
