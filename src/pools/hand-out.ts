import { Type } from "@sinclair/typebox";
import type { Answer } from "../exchange/answer.ts";
import type { Exchange } from "../exchange/exchange.ts";
import { HAND_OUT_NAME } from "../exchange/own-paths.ts";
import { readJson } from "../http/json-body.ts";
import { type Problem, poolExhausted } from "../http/problem.ts";
import { invalid } from "../http/refused.ts";
import { jsonReply } from "../http/reply.ts";
import { type Entrance, keyMissing } from "../identity/gate.ts";
import { nearest } from "../schema/faults.ts";
import type { Pools } from "./pools.ts";

const Asked = Type.Object(
  { type: Type.String({ minLength: 1, maxLength: 128 }), pool: Type.Optional(Type.String({ minLength: 1, maxLength: 128 })) },
  { additionalProperties: false },
);
const QUESTION = { schema: Asked, max: 65_536, advice: 'send { "type": "SERVICE" }' };

export interface HandOutDeps {
  readonly pools: Pools;
}

/** Answers `POST /api/v1/api-key { "type", "pool"? }` with a key of the pool whose budget holds what the service costs. */
export class HandOut {
  constructor(private readonly deps: HandOutDeps) {}

  /** The entrance for callers before it is known which pool is meant: where any pool is open to all, those without a key too. */
  readonly entrance: Entrance = entranceOf(() => this.deps.pools.isOpen);

  /**
   * Answers one request, whose caller may come in. The caller is checked before the question is looked at: a stranger learns nothing of the
   * pools. Throws a `Refused` for a question that is none.
   */
  async answer(exchange: Exchange): Promise<Answer> {
    const granted = await this.grant(exchange);
    if ("code" in granted) return { kind: "problem", problem: granted };
    return { kind: "reply", reply: jsonReply(200, { api_key: granted.key }, "Cache-Control: no-store\r\n") };
  }

  private async grant(exchange: Exchange): Promise<{ key: string } | Problem> {
    const { pools } = this.deps;
    const { type, pool: name } = await readJson(exchange.incoming.body, QUESTION);
    const pool = pools.find(name);
    if (pool === null) {
      const hint = name === undefined ? null : nearest(name, pools.names());
      throw invalid([
        {
          path: ["pool"],
          message:
            name === undefined
              ? "is required: there are several pools, and none is called default"
              : `there is no pool ${JSON.stringify(name)}${hint === null ? "" : `, did you mean ${JSON.stringify(hint)}?`}`,
        },
      ]);
    }
    if (pool.auth === "required" && exchange.caller.via === "none") return keyMissing(exchange.snapshot.identity);
    if (!pool.policy.services.has(type)) {
      const known = [...pool.policy.services.keys()];
      throw invalid([{ path: ["type"], message: `there is no service ${JSON.stringify(type)}: it must be one of ${known.join(", ")}` }]);
    }
    const given = await pools.lease(pool, type);
    if (given.granted) return { key: given.grant.key.secret ?? given.grant.key.id };
    return poolExhausted(given.retryIn, pool.policy.services.get(type) ?? 0, null);
  }
}

/** Gives an entrance that asks for a key as long as no pool is open to all. Pools change without the routes. */
const entranceOf = (isOpen: () => boolean): Entrance => ({
  get auth() {
    return isOpen() ? "optional" : "required";
  },
  name: HAND_OUT_NAME,
  issuers: [],
  tiers: [],
  scopes: [],
});
