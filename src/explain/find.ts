import { type Static, Type } from "@sinclair/typebox";
import { TextOrNull } from "../http/conventions.ts";
import { REFUSED_KEYS } from "../identity/api-key.ts";
import { normaliseIp } from "../values/ip.ts";
import { beginsLikeMade } from "../values/key-format.ts";
import type { CallersDenial } from "./denials.ts";
import { Refusal, refusalShown } from "./refusals.ts";
import type { SituationDeps } from "./situation.ts";

export const FindQuestion = Type.Object(
  {
    text: Type.String({
      minLength: 1,
      maxLength: 65_536,
      description: "What somebody has at hand: a consumer's id, a key or its id, an address, a token, a route, a request's id.",
      examples: ["acme"],
      secret: true,
    }),
  },
  { additionalProperties: false },
);

const Match = Type.Object({
  kind: Type.Union(
    [
      Type.Literal("consumer"),
      Type.Literal("key"),
      Type.Literal("address"),
      Type.Literal("token"),
      Type.Literal("route"),
      Type.Literal("request"),
    ],
    { description: "What the text is." },
  ),
  id: TextOrNull("Its id or name; null for a token, which is its own, and for a key that nobody has."),
  consumer: TextOrNull("Whose key it is, or who was refused."),
  fault: Type.Union(
    [
      Type.Object({
        code: Type.String({ description: "With which a request with this key is refused.", examples: ["keyRevoked"] }),
        detail: Type.String({ description: "What that means." }),
      }),
      Type.Null(),
    ],
    { description: "Why a key is refused before anything else is looked at; null: it is not." },
  ),
  refusal: Type.Union([Refusal, Type.Null()], { description: "Why the request was refused; null for all but requests." }),
});
export const Found = Type.Object({
  matches: Type.Array(Match, { description: "What the text can be, the likeliest first; empty: nothing that this gateway knows." }),
});
type Match = Static<typeof Match>;

export interface FindDeps extends Pick<SituationDeps, "registry" | "keys" | "issuers" | "certificates" | "routeOf" | "clock"> {
  readonly refusalOf: (requestId: string) => Promise<CallersDenial | null>;
}

const match = (kind: Match["kind"], id: string | null, more: Partial<Match> = {}): Match => ({
  ...{ kind, id, consumer: null, fault: null, refusal: null, ...more },
});

/** Finds out what a text stands for. */
export async function find(text: string, deps: FindDeps): Promise<Static<typeof Found>> {
  const asked = text.trim();
  const { registry, issuers, certificates, routeOf } = deps;
  const matches: Match[] = [];
  const ip = normaliseIp(asked);
  if (ip !== null) matches.push(match("address", ip));
  // Who calls by a token or a certificate has an id that no record has.
  if (registry.consumer(asked) !== undefined || issuers.callerOf(asked) !== null || certificates.callerOf(asked) !== null)
    matches.push(match("consumer", asked));
  const key = keyById(asked, deps) ?? keyBySecret(asked, deps);
  if (key !== null) matches.push(key);
  if (issuers.takes(asked)) matches.push(match("token", null));
  const route = asked.startsWith("/") ? null : routeOf(asked);
  if (route !== null) matches.push(match("route", route.name));
  const denial = await deps.refusalOf(asked);
  if (denial !== null) {
    const refusal = refusalShown(denial);
    matches.push(match("request", asked, { consumer: refusal.consumer, refusal }));
  }
  return { matches };
}

/** Finds a key by its id, whatever became of it; `null`: it is none. */
function keyById(id: string, { keys }: Pick<FindDeps, "keys">): Match | null {
  if (!/^key_[0-9a-f]{16,32}$/.test(id) || !keys.has(id)) return null;
  const { record } = keys.get(id);
  const { consumer, status, revokedAt, expiresAt } = record;
  switch (status) {
    case "active":
      return match("key", id, { consumer });
    case "expired":
      return match("key", id, { consumer, fault: { code: "keyExpired", detail: `This key has expired (${expiresAt}).` } });
    case "revoked":
      return match("key", id, { consumer, fault: { code: "keyRevoked", detail: `This key was revoked (${revokedAt}).` } });
    case "disabled":
      return match("key", id, { consumer, fault: { code: "keyRevoked", detail: "This key is disabled, or its consumer is." } });
  }
}

/** Finds a key by itself; `null`: it is none, and looks like none of Sluice's. */
function keyBySecret(secret: string, deps: FindDeps): Match | null {
  const { registry, clock } = deps;
  const known = registry.known(secret);
  if (known !== null) {
    const found = registry.find(secret, clock.wall());
    const byId = keyById(known.id, deps);
    // The secret before the last rotation is refused where the key is not.
    return byId !== null && (typeof found !== "string" || byId.fault !== null)
      ? byId
      : match("key", known.id, { consumer: known.consumer.id, fault: typeof found === "string" ? faultOf(found) : null });
  }
  if (!beginsLikeMade(secret)) return null;
  const found = registry.find(secret, clock.wall());
  return match("key", null, { fault: typeof found === "string" ? faultOf(found) : null });
}

function faultOf(refusal: keyof typeof REFUSED_KEYS): Match["fault"] {
  const { code, why } = REFUSED_KEYS[refusal];
  return { code, detail: `${why[0]?.toUpperCase()}${why.slice(1)}.` };
}
