import { Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import type { Answer } from "../exchange/answer.ts";
import type { Exchange } from "../exchange/exchange.ts";
import { HAND_OUT_NAME } from "../exchange/own-paths.ts";
import { collect } from "../http/body.ts";
import { type Problem, poolExhausted, problem } from "../http/problem.ts";
import { invalid, Refused } from "../http/refused.ts";
import { jsonReply } from "../http/reply.ts";
import { type Entrance, keyMissing } from "../identity/gate.ts";
import { nearest, schemaFaults } from "../schema/faults.ts";
import type { Pools } from "./pools.ts";

const MAX_BODY = 65_536;

const Asked = Type.Object(
  { type: Type.String({ minLength: 1, maxLength: 128 }), pool: Type.Optional(Type.String({ minLength: 1, maxLength: 128 })) },
  { additionalProperties: false },
);

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
   * pools.
   */
  async answer(exchange: Exchange): Promise<Answer> {
    try {
      const granted = await this.grant(exchange);
      if ("code" in granted) return { kind: "problem", problem: granted };
      return { kind: "reply", reply: jsonReply(200, { api_key: granted.key }, "Cache-Control: no-store\r\n") };
    } catch (error) {
      if (error instanceof Refused) return { kind: "problem", problem: error.problem };
      throw error;
    }
  }

  private async grant(exchange: Exchange): Promise<{ key: string } | Problem> {
    const { pools } = this.deps;
    const { type, pool: name } = await this.read(exchange);
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
    return poolExhausted(given.retryIn, pool.policy.services.get(type) ?? 0);
  }

  private async read(exchange: Exchange): Promise<{ type: string; pool?: string }> {
    const { body } = exchange.incoming;
    const bytes = body === null ? new Uint8Array() : await collect(body, MAX_BODY);
    let value: unknown;
    try {
      value = JSON.parse(Buffer.from(bytes).toString());
    } catch {
      throw new Refused(problem("badRequest", 'The body is not JSON: send { "type": "SERVICE" }.'));
    }
    if (!Value.Check(Asked, value)) throw invalid(schemaFaults(Asked, value));
    return value as { type: string; pool?: string };
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
