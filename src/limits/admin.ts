import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { Audit } from "../audit/audit.ts";
import { type Caller, countedId } from "../exchange/caller.ts";
import { Time, timeText } from "../http/conventions.ts";
import { notFound } from "../http/refused.ts";
import type { Keys } from "../keys/keys.ts";
import type { KeyRegistry } from "../keys/registry.ts";
import type { Clock } from "../values/clock.ts";
import type { LimitReading, LimitService } from "./limiter.ts";
import { shownAmount, shownUnit } from "./money.ts";
import { type Policy, scopeText } from "./policy.ts";
import { WITHOUT_WINDOW } from "./settings.ts";

export interface LimitsAdminDeps {
  readonly limiter: LimitService;
  readonly registry: KeyRegistry;
  readonly keys: Keys;
  /** Gives the caller of this id who has shown an issuer's token lately, or may show a certificate; `null` where there is none. */
  readonly callerOf: (id: string) => Caller | null;
  /** Gives the routes' own limits. */
  readonly routePolicies: () => Policy[];
  readonly clock: Clock;
  readonly audit: Audit;
}

/** The description of a limit's window in answers. */
export const WINDOW_SHOWN = `The window; null for ${WITHOUT_WINDOW} and for quotas, whose period is in the name.`;

/** The schema of a limit's unit in answers. */
export const UNIT_SHOWN = Type.Union([Type.Literal("requests"), Type.Literal("units"), Type.Literal("usd")], {
  description: "The unit of its numbers: requests by their cost, units that responses report, or dollars.",
});

const Limit = Type.Object({
  name: Type.String({ description: "Its name.", examples: ["per-minute"] }),
  scope: Type.String({ description: "Whose limit it is.", examples: ["tier free"] }),
  algorithm: Type.String({ description: "How it counts." }),
  subject: Type.String({ description: "What it is counted for: the consumer, or one of its keys." }),
  unit: UNIT_SHOWN,
  limit: Type.Number({ description: "The number in force now." }),
  window: Type.Union([Type.String(), Type.Null()], {
    description: WINDOW_SHOWN,
    examples: ["60s"],
  }),
  used: Type.Number({ description: "What is used." }),
  remaining: Type.Number({ description: "What is left." }),
  reset: Time("When more is left; null when nothing is used."),
});
const ByConsumer = Type.Object({ consumer: Type.String({ description: "The consumer's id." }) });

/**
 * Gives the limits of a consumer that are counted for the consumer or for one of its keys, routes' limits among them. Limits by IP, route
 * or header have other subjects.
 */
function countedFor(deps: LimitsAdminDeps, id: string): { policies: Policy[]; subjects: string[] } {
  const consumer = deps.registry.consumer(id);
  const caller = deps.callerOf(id);
  if (consumer === undefined && caller === null) throw notFound("consumer", id);
  const found = new Map<string, [Policy, string]>();
  const add = (policy: Policy, keyId: string | null) => {
    const [by = "consumer", ...more] = policy.by;
    if (more.length > 0) return;
    const subject = by === "consumer" ? id : by === "key" ? keyId : null;
    if (subject !== null) found.set(`${policy.id} ${subject}`, [policy, subject]);
  };
  if (consumer !== undefined) for (const policy of deps.registry.policiesOfConsumer(consumer)) add(policy, null);
  if (caller !== null) for (const policy of deps.registry.policiesFor(caller)) add(policy, caller.id);
  const keys = deps.keys.entriesOf(id);
  for (const key of keys) for (const policy of deps.registry.policiesFor(key)) add(policy, countedId(key));
  for (const policy of deps.routePolicies()) {
    add(policy, caller?.id ?? null);
    for (const key of keys) add(policy, countedId(key));
  }
  const pairs = [...found.values()];
  return { policies: pairs.map(([policy]) => policy), subjects: pairs.map(([, subject]) => subject) };
}

/** Gives a limit's window as text for people; `null` for quotas, and where the algorithm has none. */
export function windowText({ window, calendar }: Policy): string | null {
  if (window === 0 || calendar !== null) return null;
  return window % 1000 === 0 ? `${window / 1000}s` : `${window}ms`;
}

export const limitsAdmin = (deps: LimitsAdminDeps) => {
  const toJson = ({ policy, subject, limit, used, remaining, resetIn }: LimitReading) => ({
    name: policy.name,
    scope: scopeText(policy),
    algorithm: policy.algorithm,
    subject,
    unit: shownUnit(policy),
    limit: shownAmount(policy, limit),
    window: windowText(policy),
    used: shownAmount(policy, used),
    remaining: shownAmount(policy, remaining),
    reset: resetIn === 0 ? null : timeText(deps.clock.wall() + resetIn),
  });
  return new Elysia({ prefix: "/limits", tags: ["limits"], normalize: false })
    .get(
      "/:consumer",
      async ({ params }) => {
        const { policies, subjects } = countedFor(deps, params.consumer);
        const readings = await deps.limiter.inspect(policies, subjects);
        return { consumer: params.consumer, limits: readings.map(toJson) };
      },
      {
        params: ByConsumer,
        response: Type.Object({
          consumer: Type.String({ description: "The consumer's id." }),
          limits: Type.Array(Limit, {
            description:
              "Every limit that is counted for it or for one of its keys. Those that count something else as well (`by`), such as each model or each tool by itself, are not among them, nor are they reset: what is left of them depends on the request, and `explain` tells it.",
          }),
        }),
        detail: { summary: "What a consumer has used of each limit" },
      },
    )
    .delete(
      "/:consumer",
      async ({ params, set }) => {
        const { policies, subjects } = countedFor(deps, params.consumer);
        await deps.limiter.reset(policies, subjects);
        deps.audit.note({ action: "limits.reset", subject: `consumer ${params.consumer}` });
        set.status = 204;
      },
      { params: ByConsumer, detail: { summary: "Reset a consumer's limits" } },
    );
};
