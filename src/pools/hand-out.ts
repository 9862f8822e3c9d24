import { Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { type Endpoint, Exchange } from "../exchange/exchange.ts";
import { failureOf } from "../exchange/failure.ts";
import { ownHead } from "../exchange/headers.ts";
import { ONLY_POST } from "../exchange/own.ts";
import type { Snapshot } from "../exchange/snapshot.ts";
import type { Guard } from "../guard/guard.ts";
import { collect } from "../http/body.ts";
import { type Problem, poolExhausted, problem } from "../http/problem.ts";
import { invalid, Refused } from "../http/refused.ts";
import { jsonReply, problemReply } from "../http/reply.ts";
import type { Incoming } from "../http/server.ts";
import { type Entrance, identify } from "../identity/identify.ts";
import type { KeyRegistry } from "../keys/registry.ts";
import { nearest, schemaFaults } from "../schema/faults.ts";
import type { Recorder } from "../telemetry/recorder.ts";
import type { Clock } from "../values/clock.ts";
import type { Pools } from "./pools.ts";

/** What this endpoint is called where a key names the routes it is for, and where requests are counted. */
export const HAND_OUT_NAME = "api-key";
const MAX_BODY = 65_536;

const Asked = Type.Object(
  { type: Type.String({ minLength: 1, maxLength: 128 }), pool: Type.Optional(Type.String({ minLength: 1, maxLength: 128 })) },
  { additionalProperties: false },
);

export interface HandOutDeps {
  readonly pools: Pools;
  readonly keys: KeyRegistry;
  readonly guard: Guard;
  readonly clock: Clock;
  readonly recorder: Recorder;
  /** Where its requests are counted. */
  readonly endpoint: Endpoint;
  readonly onFault: (error: unknown, requestId: string) => void;
}

/** `POST /api/v1/api-key { "type", "pool"? }`: a key of the pool whose budget holds what the service costs. */
export class HandOut {
  constructor(private readonly deps: HandOutDeps) {}

  /** Who may come in before it is known which pool is meant. */
  get entrance(): Entrance {
    return { auth: this.deps.pools.isOpen ? "optional" : "required", name: HAND_OUT_NAME, tiers: [], scopes: [] };
  }

  /** Answers one request. */
  handle(incoming: Incoming, snapshot: Snapshot, path: string, query: string): void {
    const { clock } = this.deps;
    const exchange = new Exchange(incoming, snapshot, path, query, clock.now());
    exchange.ownEndpoint = this.deps.endpoint;
    incoming.onEnd = () => {
      if (exchange.status === 0) exchange.status = 499;
      this.deps.recorder.note(exchange, clock.now() - exchange.startedAt);
    };
    const refuse = (refusal: Problem): void => {
      exchange.status = refusal.status;
      exchange.refusal = refusal;
      incoming.reply(problemReply(refusal, exchange.id, ownHead(exchange, clock.now() - exchange.startedAt)));
    };
    this.grant(exchange).then(
      (granted) => {
        if ("code" in granted) refuse(granted);
        else {
          exchange.status = 200;
          incoming.reply(
            jsonReply(200, { api_key: granted.key }, `Cache-Control: no-store\r\n${ownHead(exchange, clock.now() - exchange.startedAt)}`),
          );
        }
      },
      (error: unknown) => {
        if (incoming.isAborted || incoming.isReplied) return;
        if (error instanceof Refused) {
          refuse(error.problem);
          return;
        }
        const { refusal, isFault } = failureOf(error);
        if (isFault) this.deps.onFault(error, exchange.id);
        refuse(refusal);
      },
    );
  }

  private async grant(exchange: Exchange): Promise<{ key: string } | Problem> {
    const { pools, keys, guard, clock } = this.deps;
    const { head } = exchange.incoming;
    if (head.method !== "POST") return ONLY_POST;
    // Who calls comes before what is asked: a stranger learns nothing of the pools. A pool that is open to all is open to those who show no key.
    const refusal = identify(exchange, this.entrance, { keys, guard, clock });
    if (refusal !== null) return refusal;
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
    if (pool.auth === "required" && exchange.key === null)
      return (
        identify(exchange, { auth: "required", name: HAND_OUT_NAME, tiers: [], scopes: [] }, { keys, guard, clock }) ??
        problem("keyMissing", "Send your API key.")
      );
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
