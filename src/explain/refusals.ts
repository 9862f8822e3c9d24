import { type Static, Type } from "@sinclair/typebox";
import { Since, TextOrNull, timeText } from "../http/conventions.ts";
import { UNIT_SHOWN } from "../limits/admin.ts";
import { addressOf } from "../limits/subject.ts";
import type { CallersDenial, Denial } from "./denials.ts";

/** The most refusals of all callers that one answer shows. */
export const MAX_REFUSALS = 100;

/** What is told of a refusal of somebody who is known from where it stands. */
const OF_CALLER = {
  at: Since("When it was."),
  requestId: Type.String({ description: "As in the log and in X-Request-ID." }),
  route: TextOrNull("The route."),
  status: Type.Integer({ description: "401, 403 or 429." }),
  code: Type.String({ description: "Why.", examples: ["rateLimited"] }),
  detail: Type.String({ description: "What the caller was told." }),
  limits: Type.Array(
    Type.Object({
      name: Type.String({ description: "Its name." }),
      scope: Type.String({ description: "Whose limit it is." }),
      limit: Type.Number({ description: "The number that was in force." }),
      used: Type.Number({ description: "What was used." }),
      asked: Type.Optional(Type.Number({ description: "What the request might have cost, in dollars; of limits in money alone." })),
      unit: UNIT_SHOWN,
      reset: Since("When more was left."),
    }),
    {
      description: "The limits that denied.",
    },
  ),
};
export const DenialShown = Type.Object(OF_CALLER);
export const Refusal = Type.Object({
  ...OF_CALLER,
  consumer: TextOrNull("Who was refused; null: a caller without a key, or with one that nobody has."),
  ip: TextOrNull("The address, where that is all that was known of the caller; of IPv6 the first one of its network."),
});
export type Refusal = Static<typeof Refusal>;

/** Gives a refusal as the answer shows it. */
export const denialShown = ({ at, requestId, route, refusal }: Denial): Static<typeof DenialShown> => ({
  at: timeText(at) ?? "",
  requestId,
  route,
  status: refusal.status,
  code: refusal.code,
  detail: String(refusal.members.detail),
  // Problems have members of any kind; only limits make this one (`violatedPolicies`).
  limits: (refusal.members.violatedPolicies ?? []) as Static<typeof DenialShown>["limits"],
});

/** Gives a refusal with who was refused. */
export function refusalShown(denial: CallersDenial): Refusal {
  const ip = addressOf(denial.caller);
  return { ...denialShown(denial), consumer: ip === null ? denial.caller : null, ip };
}
