import { Type } from "@sinclair/typebox";
import type { Audit } from "../audit/audit.ts";
import type { Answer } from "../exchange/answer.ts";
import type { Exchange } from "../exchange/exchange.ts";
import { readJson } from "../http/json-body.ts";
import { type Problem, passing } from "../http/problem.ts";
import { refused } from "../http/refused.ts";
import { jsonReply } from "../http/reply.ts";
import type { Keys } from "../keys/keys.ts";

/** Milliseconds for which the secret before stays good: time to change over, and not for ever. */
const GRACE = 3_600_000;

/** Describes the body, which may be left out: there is nothing to choose, or a caller would get more than an operator gave. */
const BODY = { schema: Type.Object({}, { additionalProperties: false }), max: 4096, advice: "send none, or {}", empty: {} };

export interface RotationDeps {
  readonly keys: Keys;
  readonly audit: Audit;
  /** Tells whether callers of a tier may rotate their keys. */
  readonly mayRotate: (tier: string) => boolean;
  /** Takes over what other processes on the same database have changed. */
  readonly catchUp: () => void;
  /** Runs a change of records so that all instances that share them agree; `null` where there is one alone. */
  readonly write: ((work: () => Promise<Answer>) => Promise<Answer>) | null;
  /** Gives what an error means to whoever asked for a change; `null` for a fault of Sluice's own. */
  readonly refusalOf: (error: unknown) => Problem | null;
}

/** Answers `POST /api/v1/me/rotate`: gives the caller's key a new secret, which is in this answer and nowhere else. */
export class Rotation {
  constructor(private readonly deps: RotationDeps) {}

  async answer(exchange: Exchange): Promise<Answer> {
    const { write, catchUp, refusalOf } = this.deps;
    try {
      await readJson(exchange.incoming.body, BODY);
      catchUp();
      const work = async (): Promise<Answer> => this.rotate(exchange);
      return await (write === null ? work() : write(work));
    } catch (error) {
      const refusal = refusalOf(error);
      if (refusal === null) throw error;
      return { kind: "problem", problem: forCallers(refusal) };
    }
  }

  private rotate({ caller, ip, id: requestId }: Exchange): Answer {
    const { keys, audit, mayRotate } = this.deps;
    if (caller.via !== "key")
      throw refused("forbidden", "You call without a key of this gateway: whoever gave you your credential renews it.");
    if (!mayRotate(caller.consumer.tier))
      throw refused("forbidden", "Keys of your tier are not rotated by their holders: ask whoever runs the API.");
    // No admin token can have a name with a space.
    const actor = { name: `consumer ${caller.consumer.id}`, ip, requestId };
    const { record, secret } = audit.as(actor, () => keys.rotateOwn(caller.id, GRACE));
    const { id, start, end, expiresAt, previousExpiresAt } = record;
    const made = { id, key: secret, start, end, expiresAt, previousExpiresAt };
    return { kind: "reply", reply: jsonReply(200, made, "Cache-Control: no-store\r\n") };
  }
}

/** Words what keeps changes from being stored for callers, who can do nothing about it and need not know what there is behind. */
const forCallers = (refusal: Problem): Problem =>
  refusal.status !== 503
    ? refusal
    : passing(
        refusal.code,
        "Your key was not rotated: nothing can be changed at the moment. Try again later.",
        Number(refusal.members.retryAfter ?? 1),
      );
